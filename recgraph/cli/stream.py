"""`recgraph stream`: new lists as server-sent events; and how `recgraph serve` keeps one beside it.

The dashboard and the stream find each other by the notes that both leave in the data folder.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import structlog
import typer

from recgraph.cli.base import AsJson, app, err, out
from recgraph.cli.listening import (
    allowed_hosts,
    announced,
    find_running,
    find_stream,
    listening,
    stream_note,
    url_of,
)
from recgraph.config import PREFIX, Settings, load_settings
from recgraph.machine import is_free_port
from recgraph.supervisor import PROGRAM

if TYPE_CHECKING:
    from dashboards.stream.app import StreamParts
    from recgraph.services.connection import Connection

log = structlog.get_logger()

_PATH = "/api/v1/stream"
_ANSWER_S = 5.0
"""Seconds that the store may take to say who somebody is."""
_STOP_S = 10.0
"""Seconds that a stream beside the dashboard has to end."""
_AGAIN_S = 2.0
"""One that ended by itself is started again after this."""
_LOOK_EVERY_S = 1.0


@app.command(rich_help_panel="Dashboard")
def stream(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    descriptor: Annotated[int | None, typer.Option("--fd", hidden=True)] = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Send new lists to whoever listens, as server-sent events under /api/v1/stream.

    `recgraph serve` runs one beside the dashboard; alone it is for machines of its own. It takes
    the dashboard's sessions, and API keys with the scope read. Ctrl-C stops it.
    """
    if parent is not None:
        _end_with(parent)
    settings = load_settings(host=host, stream_port=port)
    if descriptor is not None:  # of a dashboard, which has announced it, and with which it ends
        with socket.socket(fileno=descriptor) as listener:
            _run(settings, listener)
        return
    with (
        _listening(settings, settings.port) as (listener, url),
        announced(stream_note(settings), url),
    ):
        summary = {"url": f"{url}{_PATH}", "pid": os.getpid()}
        if as_json:
            typer.echo(msgspec.json.encode(summary).decode())
        else:
            out.print(f"New lists: {summary['url']}", soft_wrap=True)
        _run(settings, listener)


@contextmanager
def stream_beside(settings: Settings, dashboard_port: int) -> Iterator[None]:
    """Keep a stream running in a process of its own, unless somebody runs one already.

    Its socket stays open while it is started again: whoever listens waits, and comes back.
    """
    if find_stream(settings) is not None:
        yield
        return
    with (
        _listening(settings, dashboard_port) as (listener, url),
        announced(stream_note(settings), url),
        _kept_running(settings, listener),
    ):
        yield


@contextmanager
def _listening(settings: Settings, dashboard_port: int) -> Iterator[tuple[socket.socket, str]]:
    """Give a socket and its address: the port of the settings, else the next, else a free one."""
    port = settings.stream_port
    if port is None:
        next_one = dashboard_port + 1 if 0 < dashboard_port < 65_535 else 0
        port = next_one if is_free_port(next_one, settings.host) else 0
    with listening(settings.host, port, "stream") as listener:
        yield listener, url_of(settings.host, listener.getsockname()[1])


@contextmanager
def _kept_running(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Run `recgraph stream` on a socket, again when it ends, until the block does."""
    own = ["--fd", str(listener.fileno()), "--parent", str(os.getpid())]
    command = [*PROGRAM, "stream", *own, "--host", settings.host]
    path = settings.data_dir / "logs" / "stream.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()

    def start() -> subprocess.Popen[bytes]:
        with path.open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {f"{PREFIX}DATA_DIR": str(settings.data_dir)},
                pass_fds=[listener.fileno()],
            )

    children = [start()]

    def keep() -> None:
        while not stop.is_set():
            children[0].wait()
            if not stop.wait(_AGAIN_S):
                log.warning("the stream ended and is started again", log=str(path))
                children[0] = start()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        children[0].terminate()
        keeper.join(_STOP_S)


def _run(settings: Settings, listener: socket.socket) -> None:
    """Answer on a socket until a signal comes."""
    from prometheus_client import CollectorRegistry

    from dashboards.stream.metrics import StreamCollector
    from dashboards.stream.running import run_stream
    from recgraph.services.connection import open_connection
    from recgraph.services.embedded import ensure_mongo
    from recgraph.services.metrics import answering

    uri, registry = ensure_mongo(settings, notify=err.print), CollectorRegistry()
    # Of a broker that is away the feed says one line; the client would say several a second.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        parts = _parts(settings, connection)
        await run_stream(
            parts, listener, stop, lambda each: registry.register(StreamCollector(each))
        )

    with (
        open_connection(
            uri, settings.mongo_database, longest_s=_ANSWER_S, is_up=False
        ) as connection,
        answering(registry, settings.stream_metrics_port, "STREAM_METRICS_PORT") as metrics,
    ):
        if metrics is not None:
            log.info("Prometheus is answered", url=metrics)
        asyncio.run(run())


def _end_with(parent: int) -> None:
    """End this process once it is no longer a child of ``parent``, however that one went.

    The parent says its own id: one that was killed before this process first looked is missed too.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_S)
        os._exit(1)  # something waits for a service that is away

    threading.Thread(target=look, daemon=True).start()


def _parts(settings: Settings, connection: "Connection") -> "StreamParts":
    from dashboards.auth import read_secret_key
    from dashboards.stream.access import Guard
    from dashboards.stream.app import StreamParts
    from recgraph.services.accounts import MongoAccounts
    from recgraph.services.feed import KafkaFeed
    from recgraph.services.feedback import MongoFeedback

    folder = settings.data_dir / "dashboard"
    hosts = allowed_hosts(settings.host)
    public = urlsplit(settings.public_url or "")
    guard = Guard(
        MongoAccounts(connection),
        read_secret_key(folder / "session.key"),
        [*hosts, public.hostname] if public.hostname else hosts,
        lambda: _origins(settings, hosts),
    )
    feedback = MongoFeedback(connection, folder / "feedback.changed")
    return StreamParts(KafkaFeed(settings), feedback.excluded, guard, settings.stream_clients)


def _origins(settings: Settings, hosts: list[str]) -> set[str]:
    """The origins of the dashboard's pages, by all its names."""
    running = find_running(settings)
    port = settings.port if running is None else urlsplit(running.url).port
    own = {f"http://{host}:{port}" for host in hosts}
    return own | {settings.public_url} if settings.public_url else own
