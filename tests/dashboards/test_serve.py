"""`recgraph serve` and `recgraph link` as a person runs them: processes of their own."""

import http.cookiejar
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recgraph.cli.serve import allowed_hosts, find_running
from recgraph.config import Settings
from recgraph.services.mongo import MongoStore

pytestmark = pytest.mark.services

COMMAND = [sys.executable, "-c", "from recgraph.cli import main; main()"]


@pytest.fixture
def environment(settings: Settings, mongo_uri: str, store: MongoStore) -> dict[str, str]:
    return {
        **os.environ,
        "RECGRAPH_DATA_DIR": str(settings.data_dir),
        "RECGRAPH_MONGO_URI": mongo_uri,
        "RECGRAPH_MONGO_DATABASE": store.database.name,
    }


@contextmanager
def serving(environment: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give the process and the link that it printed."""
    command = [*COMMAND, "serve", "--port", "0", "--json"]
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


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "-1"], ["--port", "x"]])
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
