"""The REST API under load, on data as large as Complete Journey, with the client on this machine.

Run it with ``python -m tests.benchmarks.bench_api``; it prints one JSON object. The embedded
MongoDB server, `recgraph serve` and all data live in a temporary folder.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import psutil
import typer
from pymongo.collection import Collection
from werkzeug.test import EnvironBuilder

from dashboards.auth import Links, read_secret_key
from recgraph.cli.base import err
from recgraph.cli.composing import compose
from recgraph.cli.listening import find_running
from recgraph.config import Settings, load_settings
from recgraph.services.accounts import MongoAccounts
from recgraph.services.connection import Document
from recgraph.services.embedded import ensure_mongo, service_states, stop_all
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import publish
from tests.benchmarks import load
from tests.sample import write_sample_generation

RATES = (500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000)
"""Rates that are tried one after the other, in requests a second."""
STEP_S = 10.0
"""Length of each of those."""
SUSTAINED_P99_MS = 50.0
"""A rate is sustained when all is answered, and 99 % within this."""


def main(
    n_users: int = 2_500,
    n_items: int = 68_000,
    mean_bought: float = 350.0,
    seconds: float = 30.0,
    workers: int = 2,
) -> None:
    """Print latencies at 500 requests a second, the highest sustained rate, and the others'."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=folder, requests_per_minute=10**9)
        err.print("writing and publishing the generation")
        write_sample_generation(
            settings.generations_dir,
            n_users=n_users,
            n_items=n_items,
            mean_bought=mean_bought,
            n_factors=64,
            k=10,
        )
        try:
            with opened(settings) as (store, key):
                found: dict[str, Any] = {"cpu_us": cpu_of_parts(settings, store, key)}
                with serving(settings, workers) as (address, server):
                    pids = {"server": server, "mongodb": _pid_of_mongo(settings)}
                    found |= measure(store, key, address, pids, seconds)
            typer.echo(msgspec.json.encode({"workers": workers, **found}).decode())
        finally:
            stop_all(settings)


def measure(
    store: MongoStore, key: str, address: tuple[str, int], pids: dict[str, int], seconds: float
) -> dict[str, Any]:
    users, items = (
        [each["_id"] for each in _collection(store, kind).find({}, {"_id": 1})]
        for kind in ("users", "items")
    )
    lists = requests_of(key, users, lambda user: ("GET", f"users/{user}/recommendations", None))
    load.run(address, lists, 100, 3)  # both processes have read the pointer and the key
    found: dict[str, Any] = {"load_average": os.getloadavg()[0]}
    before = cpu_s(pids)
    outcome = load.run(address, lists, 500, seconds)
    found["list_500"] = outcome.summary() | {
        "cpu_us_a_request": {
            name: round(1e6 * (spent - before[name]) / len(outcome.latencies_ms))
            for name, spent in cpu_s(pids).items()
        }
    }
    found |= highest(address, lists)
    choose = random.Random(42)
    baskets = [choose.sample(items, 5) for _ in range(200)]
    found["basket_20"] = load.run(
        address,
        requests_of(key, baskets, lambda each: ("POST", "baskets/recommendations", each)),
        20,
        10,
    ).summary()
    pairs = [(user, store.recommendations(user).rows[0].item_id) for user in users[:200]]
    found["because_20"] = load.run(
        address,
        requests_of(
            key, pairs, lambda each: ("GET", f"users/{each[0]}/because?product_id={each[1]}", None)
        ),
        20,
        10,
    ).summary()
    found["health_500"] = load.run(
        address, requests_of(key, [""], lambda _: ("GET", "health", None)), 500, 10
    ).summary()
    found["load_average_after"] = os.getloadavg()[0]
    return found


def cpu_s(pids: dict[str, int]) -> dict[str, float]:
    """Return the CPU seconds so far of processes and their children, and of this one."""
    spent = {"client": time.process_time()}
    for name, pid in pids.items():
        process = psutil.Process(pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
        spent[name] = sum(each.user + each.system for each in times)
    return spent


def highest(address: tuple[str, int], request: Callable[[int], bytes]) -> dict[str, Any]:
    """Return the highest rate that is sustained, and what each step gave."""
    best, steps = 0.0, []
    for rate in RATES:
        outcome = load.run(address, request, rate, STEP_S).summary()
        steps.append(outcome)
        is_whole = outcome["statuses"].keys() == {"200"} and not outcome["unanswered"]
        if not is_whole or outcome["p99_ms"] > SUSTAINED_P99_MS:
            break
        best = rate
    return {"highest_sustained_per_s": best, "steps": steps}


def requests_of(
    key: str, of: list[Any], describe: Callable[[Any], tuple[str, str, Any]]
) -> Callable[[int], bytes]:
    """Return a function that gives the bytes of the n-th request."""
    made = [_request(key, *describe(each)) for each in of]
    return lambda n: made[n % len(made)]


def _request(key: str, method: str, path: str, product_ids: Any) -> bytes:
    body = b"" if product_ids is None else json.dumps({"product_ids": product_ids}).encode()
    head = (
        f"{method} /api/v1/{quote(path, safe='/?=')} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def cpu_of_parts(settings: Settings, store: MongoStore, key: str) -> dict[str, float]:
    """Return where the time goes: CPU of this process in one request, without HTTP, in us.

    The CPU of MongoDB and of reading and writing sockets comes on top.
    """
    folder = settings.data_dir / "dashboard"
    app = compose(
        settings,
        store.connection,
        secret_key=read_secret_key(folder / "session.key"),
        links=Links(folder / "links"),
        hosts=["localhost"],
    )
    (user,) = [each["_id"] for each in _collection(store, "users").find({}).skip(20).limit(1)]

    def ask(path: str) -> Callable[[], object]:
        headers = {"Authorization": f"Bearer {key}"}
        environ = EnvironBuilder(path=f"/api/v1/{path}", headers=headers).get_environ()
        return lambda: b"".join(app.wsgi_app(dict(environ), lambda status, headers: None))

    return {
        "flask and headers": cpu_us(ask("health")),
        "and the key, the limit, an empty answer": cpu_us(ask(f"feedback?user_id={user}")),
        "the whole list": cpu_us(ask(f"users/{user}/recommendations")),
        "of which the find, decoded": cpu_us(lambda: store.recommendations(user)),
    }


def cpu_us(do: Callable[[], object], n: int = 1_000) -> float:
    for _ in range(50):
        do()
    started = time.process_time()
    for _ in range(n):
        do()
    return round(1e6 * (time.process_time() - started) / n)


def _collection(store: MongoStore, kind: str) -> Collection[Document]:
    return store.collection(kind, store.current().manifest.id)


def _pid_of_mongo(settings: Settings) -> int:
    (pid,) = [each.pid for each in service_states(settings) if each.name == "mongodb" and each.pid]
    return pid


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[MongoStore, str]]:
    with open_store(ensure_mongo(settings, err.print), settings.mongo_database) as store:
        (folder,) = settings.generations_dir.iterdir()
        publish(store, folder, keep=3)
        _, key = MongoAccounts(store.connection).keys.add("benchmark", ("admin",), None)
        yield store, key


@contextmanager
def serving(settings: Settings, workers: int) -> Iterator[tuple[tuple[str, int], int]]:
    """Give the address of `recgraph serve` in a process of its own, and its pid."""
    command = [sys.executable, "-m", "recgraph.cli", "serve", "--no-stream", "--json"]
    environment = os.environ | {
        "RECGRAPH_DATA_DIR": str(settings.data_dir),
        "RECGRAPH_REQUESTS_PER_MINUTE": str(settings.requests_per_minute),
    }
    if settings.public_url is not None:
        environment["RECGRAPH_PUBLIC_URL"] = settings.public_url
    with subprocess.Popen(
        [*command, "--port", "0", "--workers", str(workers)],
        env=environment,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it is up
            running = find_running(settings)
            assert running is not None
            url = urlsplit(running.url)
            assert url.hostname is not None
            assert url.port is not None
            time.sleep(5)  # the processes make their applications
            yield (url.hostname, url.port), process.pid
        finally:
            process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    typer.run(main)
