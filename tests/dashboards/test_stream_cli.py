"""`recgraph stream` as `recgraph serve` keeps it, and alone: processes of their own."""

import http.client
import json
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from recgraph.cli.listening import find_running, find_stream
from recgraph.config import Settings
from tests.dashboards.test_serve import COMMAND, answers_at, environment, run, serving

__all__ = ["environment"]

pytestmark = pytest.mark.services


def wait_until(is_done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def answers(settings: Settings) -> bool:
    running = find_stream(settings)
    assert running is not None
    connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=60)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 204
    except OSError:
        return False
    finally:
        connection.close()


def stream_of(serve: psutil.Process) -> psutil.Process | None:
    """The stream that a dashboard has started, once it is one."""
    found = [child for child in serve.children() if "stream" in child.cmdline()]
    return found[0] if found else None


def test_stream_comes_back_and_ends_with_the_dashboard(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    with serving(environment | {"RECGRAPH_KAFKA_BOOTSTRAP": "127.0.0.1:9"}, tmp_path / "log") as (
        process,
        _,
    ):
        serve = psutil.Process(process.pid)
        assert answers(settings)
        first = stream_of(serve)
        assert first is not None
        first.kill()
        assert answers(settings)  # whoever comes meanwhile waits
        second = stream_of(serve)
        assert second not in (None, first)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert second is not None
        assert not second.is_running()
    assert find_stream(settings) is None


@pytest.mark.parametrize("is_up", [False, True])
def test_stream_ends_when_the_dashboard_is_killed(
    environment: dict[str, str], settings: Settings, tmp_path: Path, is_up: bool
) -> None:
    with serving(environment | {"RECGRAPH_KAFKA_BOOTSTRAP": "127.0.0.1:9"}, tmp_path / "log") as (
        process,
        _,
    ):
        serve = psutil.Process(process.pid)
        wait_until(lambda: answers(settings) if is_up else stream_of(serve))
        stream = stream_of(serve)
        assert stream is not None
        process.kill()
        stream.wait(60)


def test_stream_alone_says_where_it_is_and_a_dashboard_takes_it(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    command = [*COMMAND, "stream", "--port", "0", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as stream:
        assert stream.stdout is not None
        said = json.loads(stream.stdout.readline())
        running = find_stream(settings)
        assert running is not None
        assert said == {"url": f"{running.url}/api/v1/stream", "pid": stream.pid}
        assert answers(settings)
        with serving(environment, tmp_path / "log") as (process, _):
            assert stream_of(psutil.Process(process.pid)) is None
        stream.send_signal(signal.SIGTERM)
        assert stream.wait(20) == 0
    assert find_stream(settings) is None


def test_port_that_is_taken_is_one_clear_line(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    with serving(environment, tmp_path / "log"):
        taken = str(urlsplit(find_stream(settings).url).port)  # type: ignore[union-attr]
        done = run(environment, "stream", "--port", taken)
    assert done.returncode == 1
    assert "recgraph stream --port" in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_behind_a_proxy_link_cookie_and_stream_go_by_its_name(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    public = "https://shop.example"
    behind = {"RECGRAPH_KAFKA_BOOTSTRAP": "127.0.0.1:9", "RECGRAPH_PUBLIC_URL": public}
    with serving(environment | behind, tmp_path / "log") as (_, link):
        assert answers(settings)
        assert link.startswith(f"{public}/sign-in?token=")
        assert public in run(environment | behind, "link").stdout
        pages, stream = find_running(settings), find_stream(settings)
        assert pages is not None
        assert stream is not None
        proxied = {"Host": "shop.example", "X-Forwarded-Proto": "https"}
        signed_in = ask(pages.url, link.removeprefix(public), proxied)
        cookie = signed_in.headers["Set-Cookie"]
        assert "; Secure" in cookie
        listening = {"Host": "shop.example", "Cookie": cookie.partition(";")[0]}
        own = ask(stream.url, "/api/v1/stream", listening | {"Origin": public})
        assert (own.status, own.headers["Access-Control-Allow-Origin"]) == (200, public)
        foreign = {"Origin": "https://evil.example"}
        assert ask(stream.url, "/api/v1/stream", listening | foreign).status == 403


def ask(url: str, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Return the answer to a request as a proxy passes it on."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def test_stream_is_in_the_status_and_answers_prometheus(
    environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = {"RECGRAPH_KAFKA_BOOTSTRAP": "127.0.0.1:9", "RECGRAPH_STREAM_METRICS_PORT": str(port)}
    variables = environment | away | {"COLUMNS": "200"}
    with serving(variables, tmp_path / "log") as (process, _):
        assert answers(settings)
        running = find_stream(settings)
        assert running is not None
        assert f"recgraph stream runs at {running.url}" in run(variables, "status").stdout
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        assert not answers_at("127.0.0.2", f"http://127.0.0.1:{port}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert "recgraph_stream_clients 0.0" in text
    assert "recgraph_stream_dropped_total 0.0" in text
    assert "recgraph_stream_up 0.0" in text  # there is no broker
    assert "does not run: recgraph stream" in run(variables, "status").stdout
