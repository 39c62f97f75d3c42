"""`recgraph serve` and `recgraph link` as a person runs them: processes of their own."""

import http.client
import http.cookiejar
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from recgraph.cli.listening import allowed_hosts, find_running
from recgraph.config import Settings
from recgraph.services.accounts import MongoAccounts
from recgraph.services.mongo import MongoStore

pytestmark = pytest.mark.services

COMMAND = [sys.executable, "-c", "from recgraph.cli import main; main()"]
PATIENCE_S = 60
"""A dashboard answers once it has imported its pages: seconds of CPU time."""


@pytest.fixture
def environment(settings: Settings, mongo_uri: str, store: MongoStore) -> dict[str, str]:
    return {
        **os.environ,
        "RECGRAPH_DATA_DIR": str(settings.data_dir),
        "RECGRAPH_MONGO_URI": mongo_uri,
        "RECGRAPH_MONGO_DATABASE": store.database.name,
    }


@contextmanager
def serving(
    environment: dict[str, str], log: Path, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give the process and the link that it printed."""
    command = [*COMMAND, "serve", "--port", "0", "--json", *arguments]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield process, json.loads(line)["url"]
        finally:
            process.kill()


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def open_link(link: str) -> int:
    """Open a link as a browser that was not here before; return the status in the end."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    try:
        with urllib.request.build_opener(cookies).open(link) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_serve_prints_a_link_that_works_once(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with serving(environment, log) as (process, link):
        assert link.startswith("http://127.0.0.1:")
        assert (open_link(link), open_link(link)) == (200, 401)
        printed = run(environment, "link")
        (further,) = [line.strip() for line in printed.stdout.splitlines() if "token=" in line]
        assert further != link
        assert (open_link(further), open_link(further)) == (200, 401)
        running = find_running(settings)
        assert running is not None
        assert running.pid == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert find_running(settings) is None
    assert "token" not in log.read_text()
    assert "127.0.0.1:" not in log.read_text()


def ask(url: str, key: str) -> int:
    """Return the status of a list, asked for by a program with a key."""
    asked = urllib.request.Request(f"{url}/api/v1/users/1/recommendations")
    asked.add_header("X-API-Key", key)
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_processes_answer_alike_and_one_that_is_killed_is_replaced(
    environment: dict[str, str], store: MongoStore, tmp_path: Path
) -> None:
    keys = MongoAccounts(store.connection).keys
    key, secret = keys.add("till", ("read",), None)
    environment = environment | {"RECGRAPH_SERVE_METRICS_PORT": "0"}
    with serving(environment, tmp_path / "log", "--workers", "2") as (process, link):
        url = link.split("/sign-in")[0]
        assert {ask(url, secret) for _ in range(20)} == {200}
        parent = psutil.Process(process.pid)  # whose workers are forks, unlike its other children
        workers = [each for each in parent.children() if each.cmdline() == parent.cmdline()]
        assert len(workers) == 2
        for worker in workers:
            worker.kill()
        psutil.wait_procs(workers, timeout=20)
        assert {ask(url, secret) for _ in range(10)} == {200}
        keys.revoke(key.prefix)
        time.sleep(1.1)
        assert {ask(url, secret) for _ in range(10)} == {401}
        process.terminate()
        assert process.wait(timeout=20) == 0
        assert not any(worker.is_running() for worker in workers)


BEFORE_THE_FORK = """
import dashboards.workers, recgraph.passwords
from recgraph.cli import main

def run_workers(*arguments, **named):
    print("threads that hash:", len(recgraph.passwords._ONE_BY_ONE._threads))

dashboards.workers.run_workers = run_workers
main()
"""


def test_no_password_is_hashed_before_the_processes_fork(environment: dict[str, str]) -> None:
    # A fork takes no thread along: whoever signed in would wait for one that is not there.
    command = [sys.executable, "-c", BEFORE_THE_FORK, "serve", "--port", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "threads that hash: 0\n" in done.stdout, done.stderr


@pytest.mark.parametrize("settled", [False, True], ids=["at once", "when all answer"])
def test_killed_dashboard_leaves_no_process_behind(
    environment: dict[str, str], settings: Settings, tmp_path: Path, settled: bool
) -> None:
    with serving(environment, tmp_path / "log", "--workers", "2") as (process, link):
        if settled:
            note = json.loads((settings.data_dir / "dashboard" / "stream.json").read_bytes())
            assert ask(link.split("/sign-in")[0], "no key") == 401
            assert ask_status(f"{note['url']}/api/v1/stream") == 401
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("stream" in child.cmdline() for child in children)
        process.kill()
        _, left = psutil.wait_procs(children, timeout=20)
        assert left == []


def ask_status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def answers_at(address: str, url: str) -> bool:
    """Return whether the port of a URL takes connections at an address."""
    with socket.socket() as connection:
        return connection.connect_ex((address, urlsplit(url).port or 80)) == 0


def test_prometheus_is_answered_for_all_processes_on_a_port_of_its_own(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment = environment | {"RECGRAPH_SERVE_METRICS_PORT": "0"}
    everywhere = ["--host", "0.0.0.0", "--port", "0"]
    command = [*COMMAND, "serve", *everywhere, "--json", "--workers", "2"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            url = said["url"].split("/sign-in")[0]
            assert {ask(url, "no key") for _ in range(6)} == {401}
            assert ask_status(f"{url}/metrics") == 401  # a page that is not there
            assert [answers_at("127.0.0.2", each) for each in (url, said["metrics"])] == [
                True,
                False,
            ]
            with urllib.request.urlopen(said["metrics"], timeout=PATIENCE_S) as answer:
                text = answer.read().decode()
        finally:
            process.terminate()
            process.wait(timeout=20)
    route = 'route="/api/v1/users/<id:user_id>/recommendations",status="401"'
    assert f'recgraph_http_request_seconds_count{{method="GET",{route}}} 6.0' in text


def test_no_request_stops_a_process(
    environment: dict[str, str], store: MongoStore, tmp_path: Path
) -> None:
    _, secret = MongoAccounts(store.connection).keys.add("till", ("read", "write"), None)
    with serving(environment, tmp_path / "log", "--workers", "1", "--no-stream") as (_, link):
        url = link.split("/sign-in")[0]

        def status(method: str, path: str, body: Any = None, **headers: str) -> int:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
            try:
                connection.putrequest(method, path, skip_accept_encoding=True)
                for name, value in headers.items():
                    connection.putheader(name.replace("_", "-"), value)
                connection.endheaders(body, encode_chunked=body is not None)
                return connection.getresponse().status
            except ConnectionError:  # closed while the rest of a body was under way
                return 413
            finally:
                connection.close()

        key = {"X_API_Key": secret}
        bodies = [
            ("/sign-in", "application/x-www-form-urlencoded", 1),  # cut off: no form of ours
            ("/api/v1/baskets/recommendations", "application/json", 1),
            ("/api/v1/events", "application/json", 1),
            ("/api/v1/events", "application/x-ndjson", 9),
        ]
        for path, kind, megabytes in bodies:
            body = (b"x" * 65_536 for _ in range(16 * megabytes))
            headers = {"Transfer_Encoding": "chunked", "Content_Type": kind}
            headers |= key if path.startswith("/api/") else {}
            expected = 413 if path.startswith("/api/") else 400
            assert status("POST", path, body, **headers) == expected
        paths = [
            "/%00",
            "/../../etc/passwd",
            "/assets/..%2f..%2fapp.py",
            "/%FF%FE",
            "//evil.example/",
        ]
        assert {status("GET", path) for path in paths} == {401}
        assert status("GET", "/" + "x" * 9_000) == 414
        assert status("GET", "/api/v1/popular", X_API_Key="x" * 60_000) in (400, 431)
        assert ask(url, secret) == 200


def test_link_without_a_dashboard_says_what_to_run(environment: dict[str, str]) -> None:
    done = run(environment, "link")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "`recgraph serve`" in done.stderr


def test_link_after_a_dashboard_that_was_killed_says_what_to_run(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    with serving(environment, tmp_path / "log") as (process, _):
        process.kill()
        process.wait()
    assert (settings.data_dir / "dashboard" / "running.json").exists()
    assert run(environment, "link").returncode == 1


def test_port_that_is_taken_is_one_clear_line(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(environment, "serve", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port 0" in done.stderr


def test_metrics_port_that_is_taken_names_its_setting(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(environment | {"RECGRAPH_SERVE_METRICS_PORT": port}, "serve", "--port", "0")
    assert done.returncode == 2
    assert "RECGRAPH_SERVE_METRICS_PORT" in done.stderr
    assert done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--port", "-1"], ["--port", "x"], ["--workers", "0"]]
)
def test_port_that_cannot_be_is_refused(environment: dict[str, str], arguments: list[str]) -> None:
    done = run(environment, "serve", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_hosts_are_the_loopback_and_the_one_configured() -> None:
    assert allowed_hosts("127.0.0.1") == ["127.0.0.1", "[::1]", "localhost"]
    assert "shop.example" in allowed_hosts("shop.example")
    assert "[fe80::1]" in allowed_hosts("fe80::1")


def test_server_on_every_address_answers_to_its_own_names_only() -> None:
    hosts: list[Any] = allowed_hosts("0.0.0.0")
    assert socket.gethostname().lower() in hosts
    assert "0.0.0.0" not in hosts
    assert not any("example" in host for host in hosts)
