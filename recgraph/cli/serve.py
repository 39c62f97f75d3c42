"""`recgraph serve` and `recgraph link`: the dashboard, and one-time links into it.

The composition root of the dashboard: here, and only here, pages meet the store.
"""

import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import msgspec
import psutil
import typer
from rich.text import Text

from recgraph.cli.base import AsJson, app, err, out
from recgraph.config import Settings, load_settings
from recgraph.errors import GenerationError, ServiceError, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from dashboards.auth import Links
    from recgraph.services.mongo import MongoStore

WILDCARDS = {"0.0.0.0", "::", ""}
"""Addresses that mean every address of this machine."""
THREADS = 8
"""Requests that are answered at the same time."""


class Running(msgspec.Struct, frozen=True):
    """A dashboard that runs, as `recgraph link` finds it."""

    pid: int
    url: str


@app.command(rich_help_panel="Dashboard")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the dashboard, and print a link that signs one browser in, once.

    The pages show the current generation: what `recgraph publish` published last. Ctrl-C stops
    it. Whoever signed in stays so over a restart; `recgraph link` prints a further link.
    """
    import waitress

    from dashboards.app import create_app
    from dashboards.auth import read_secret_key

    settings = load_settings(host=host, port=port)
    links, key = _links(settings), read_secret_key(settings.data_dir / "dashboard" / "session.key")
    with _listening(settings) as listener, _opened_store(settings) as store:
        url = _url(settings.host, listener.getsockname()[1])
        hosts = allowed_hosts(settings.host)
        dash = create_app(store, secret_key=key, links=links, hosts=hosts)
        with _announced(settings, url):
            _show(_summary(links, url), as_json=as_json)
            _warn_of_plain_http(settings.host)
            signal.signal(signal.SIGTERM, _stop)
            logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a browser asks in bursts
            waitress.serve(
                dash.server, sockets=[listener], threads=THREADS, ident=None, _quiet=True
            )


@app.command(rich_help_panel="Dashboard")
def link(as_json: AsJson = False) -> None:
    """Print a new one-time link into the dashboard that runs on this machine.

    For another browser, or when the first link was used already. It works once, within a day.
    """
    settings = load_settings()
    running = find_running(settings)
    if running is None:
        message = (
            f"no dashboard runs on {settings.data_dir}. Start one, which prints a link as well: "
            "`recgraph serve`."
        )
        raise ServiceError(message)
    _show(_summary(_links(settings), running.url), as_json=as_json)


def find_running(settings: Settings) -> Running | None:
    """Return the dashboard that runs on this data folder, or None."""
    try:
        running = msgspec.json.decode(_running_path(settings).read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return running if psutil.pid_exists(running.pid) else None


def allowed_hosts(host: str) -> list[str]:
    """Return the names that requests may call a server on ``host`` by.

    A server on every address answers to every address of this machine and to its name: a foreign
    name that was made to point here is still refused.
    """
    names = {"127.0.0.1", "localhost", "[::1]"}
    if host not in WILDCARDS:
        return sorted(names | {_bracketed(host)})
    addresses = [address.address for each in psutil.net_if_addrs().values() for address in each]
    own = {_bracketed(address.partition("%")[0]) for address in addresses if "." in address}
    return sorted(names | own | {socket.gethostname().lower()})


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """Give a socket that listens, so that port 0 and a port that is taken are known at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen()
    except OSError as error:
        listener.close()
        message = (
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. "
            "Choose another port, `recgraph serve --port 8051`, or let it take a free one, "
            "`--port 0`."
        )
        raise ServiceError(message) from None
    with listener:
        yield listener


@contextmanager
def _announced(settings: Settings, url: str) -> Iterator[None]:
    """Leave a note for `recgraph link` as long as the block runs."""
    path = _running_path(settings)
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(Running(os.getpid(), url)))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _opened_store(settings: Settings) -> Iterator["MongoStore"]:
    """Give the store, with what it lost published again."""
    from recgraph.services.embedded import ensure_mongo
    from recgraph.services.mongo import open_store
    from recgraph.services.publish import ensure_published

    uri = ensure_mongo(settings, notify=err.print)
    with open_store(uri, settings.mongo_database) as store:
        try:
            ensure_published(store, settings.generations_dir, keep=settings.keep_generations)
        except StoreUnavailable:
            raise
        except (GenerationError, StoreError) as error:  # no reason not to show what there is
            err.print("warning:", style="yellow", end=" ")
            err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        yield store


def _links(settings: Settings) -> "Links":
    from dashboards.auth import Links

    return Links(settings.data_dir / "dashboard" / "links")


def _running_path(settings: Settings) -> Path:
    return settings.data_dir / "dashboard" / "running.json"


def _summary(links: "Links", url: str) -> dict[str, Any]:
    return {"url": f"{url}/sign-in?token={quote(links.new_token())}", "pid": os.getpid()}


def _show(summary: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
        return
    text = Text.assemble(
        "Open this link; it signs one browser in, once:\n\n  ",
        (str(summary["url"]), "bold cyan"),
        "\n\nFor another browser: ",
        ("recgraph link", "bold"),
    )
    out.print(text, soft_wrap=True)  # a link that is broken over lines cannot be copied


def _url(host: str, port: int) -> str:
    return f"http://{'127.0.0.1' if host in WILDCARDS else _bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _warn_of_plain_http(host: str) -> None:
    if host not in {"127.0.0.1", "localhost", "::1"}:
        err.print(
            "warning: others on the network can reach this address, and read along: the "
            "dashboard speaks plain HTTP. Put a proxy with TLS in front of it.",
            style="yellow",
        )


def _stop(signal_number: int, frame: object) -> None:
    del signal_number, frame
    raise KeyboardInterrupt
