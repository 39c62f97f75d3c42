"""10,000 wrong sign-ins against `recgraph serve`, and what everybody else notices of them.

Run it with ``python -m tests.benchmarks.bench_signin``; it prints one JSON object. The embedded
MongoDB server, `recgraph serve` and all data live in a temporary folder. The server believes the
client to be its proxy, so that each attempt may come from an address of its own.
"""

import re
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import msgspec
import psutil
import typer

from recgraph.cli.base import err
from recgraph.config import load_settings
from recgraph.passwords import hash_password
from recgraph.services.accounts import MongoAccounts
from recgraph.services.embedded import stop_all
from recgraph.services.mongo import MongoStore
from tests.benchmarks import load
from tests.benchmarks.bench_api import opened, serving
from tests.sample import write_sample_generation

PROXY = "https://shop.example"
ATTACKED, OTHER = "ann@example.com", "bob@example.com"
PASSWORD = "nine purple tram stops"
OTHER_RATE = 20.0
"""Requests a second for something else, meanwhile."""
PATIENCE_S = 60.0
"""Seconds in which the owner of an account tries again and again."""


class Visitor:
    """A browser at an address, with the form and the cookie of the sign-in page."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        _, headers, page = self._ask("GET", "", {})
        self._cookie = headers["Set-Cookie"].partition(";")[0]
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found is not None
        self._csrf_token = found[1]

    def attempt(self, email: str, password: str, address: str) -> bytes:
        """Return the bytes of a sign-in."""
        body, headers = self._form(email, password, address)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /sign-in HTTP/1.1\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        return head.encode() + body.encode()

    def sign_in(self, email: str, address: str) -> tuple[int, int | None]:
        """Sign in with the right password; return the status and how long to wait."""
        body, headers = self._form(email, PASSWORD, address)
        status, answer, _ = self._ask("POST", body, headers)
        return status, int(answer["Retry-After"]) if "Retry-After" in answer else None

    def _form(self, email: str, password: str, address: str) -> tuple[str, dict[str, str]]:
        fields = {"csrf_token": self._csrf_token, "email": email, "password": password}
        return urlencode(fields), {
            "Host": "127.0.0.1",
            "Origin": PROXY,
            "Cookie": self._cookie,
            "Content-Type": "application/x-www-form-urlencoded",
            **proxied(address),
        }

    def _ask(self, method: str, body: str, headers: dict[str, str]) -> tuple[int, Any, str]:
        connection = HTTPConnection(*self._server, timeout=30)
        try:
            connection.request(method, "/sign-in", body, proxied("192.0.2.1") | headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()


def proxied(address: str) -> dict[str, str]:
    return {
        "X-Forwarded-For": address,
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "shop.example",
    }


def main(n_attempts: int = 10_000, rate: float = 100.0, workers: int = 2) -> None:
    """Print what became of the attempts, of other requests, of memory and of the right password."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=folder, public_url=PROXY, requests_per_minute=10**9)
        write_sample_generation(settings.generations_dir, n_users=60, n_items=150)
        try:
            with opened(settings) as (store, key):
                add_people(store)
                with serving(settings, workers) as (server, pid):
                    found = measure(server, pid, key, n_attempts, rate)
                documents = store.connection.database["attempts"].estimated_document_count()
            summary = {"workers": workers, **found, "attempts_kept": documents}
            typer.echo(msgspec.json.encode(summary).decode())
        finally:
            stop_all(settings)


def add_people(store: MongoStore) -> None:
    people = MongoAccounts(store.connection).people
    for email in (ATTACKED, OTHER):
        people.add(email, "viewer", hash_password(PASSWORD))


def measure(
    server: tuple[str, int],
    pid: int,
    key: str,
    n_attempts: int,
    rate: float,
    quiet_s: float = 10.0,
) -> dict[str, Any]:
    """Flood one account from one address, then each time another one from another address."""
    visitor, seconds = Visitor(server), n_attempts / 2 / rate
    quiet = load.run(server, lambda n: _list(key), OTHER_RATE, quiet_s).summary()
    found: dict[str, Any] = {"list_when_quiet": quiet, "rss_mb_before": rss_mb(pid)}
    floods = {"one_address": _from_one_address, "many_addresses": _from_many_addresses}
    for name, source_of in floods.items():
        err.print(f"{n_attempts / 2:.0f} attempts, {name}")

        def wrong(n: int, source_of: Any = source_of) -> bytes:
            email, address = source_of(n)
            return visitor.attempt(email, f"wrong {n}", address)

        with ThreadPoolExecutor(2) as others:
            lists = others.submit(load.run, server, lambda n: _list(key), OTHER_RATE, seconds)
            owner = others.submit(until_in, visitor, OTHER, "203.0.113.9")
            flood = load.run(server, wrong, rate, seconds)
            attacked = visitor.sign_in(ATTACKED, "203.0.113.10")  # before its wait is over
        found[name] = {
            "flood": flood.summary(),
            "list_meanwhile": lists.result().summary(),
            "right_password_of_another": owner.result(),
            "right_password_of_the_attacked": attacked,
            "rss_mb": rss_mb(pid),
        }
    return found


def until_in(visitor: Visitor, email: str, address: str) -> dict[str, Any]:
    """Try the right password until it is taken, as somebody does who reads what the page says."""
    time.sleep(2.0)  # the flood has begun
    started, statuses = time.monotonic(), Counter[str]()
    while time.monotonic() < started + PATIENCE_S:
        status, wait_s = visitor.sign_in(email, address)
        statuses[str(status)] += 1
        if status == 302:
            break
        time.sleep(wait_s or 1.0)
    return {"statuses": statuses, "seconds": round(time.monotonic() - started, 2)}


def rss_mb(pid: int) -> float:
    """Return the memory of a server and its workers."""
    parent = psutil.Process(pid)
    processes = (parent, *parent.children(recursive=True))
    return round(sum(each.memory_info().rss for each in processes) / 2**20, 1)


def _from_one_address(n: int) -> tuple[str, str]:
    del n
    return ATTACKED, "198.51.100.7"


def _from_many_addresses(n: int) -> tuple[str, str]:
    return f"user{n}@example.com", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"


def _list(key: str) -> bytes:
    head = "GET /api/v1/users/u20/recommendations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    return f"{head}Authorization: Bearer {key}\r\n\r\n".encode()


if __name__ == "__main__":
    typer.run(main)
