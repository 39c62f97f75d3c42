"""Sockets that the dashboard and the stream listen on, and the notes by which they are found.

Each leaves a note in the data folder as long as it runs: `recgraph link`, `recgraph status` and the
other one read it.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from recgraph.config import Settings
from recgraph.errors import ServiceError

WILDCARDS = {"0.0.0.0", "::", ""}
"""Addresses that mean every address of this machine."""
_BACKLOG = 1_024
"""Connections that wait while all processes are busy."""


class Running(msgspec.Struct, frozen=True):
    """A dashboard or a stream that runs, as others find it."""

    pid: int
    url: str


def find_running(settings: Settings) -> Running | None:
    """Return the dashboard that runs on this data folder, or None."""
    return _read(running_note(settings))


def find_stream(settings: Settings) -> Running | None:
    """Return the stream that runs on this data folder, or None."""
    return _read(stream_note(settings))


@contextmanager
def announced(path: Path, url: str) -> Iterator[None]:
    """Leave a note of where this process answers as long as the block runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(Running(os.getpid(), url)))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_note(settings: Settings) -> Path:
    """Return where the dashboard says where it answers."""
    return settings.data_dir / "dashboard" / "running.json"


def stream_note(settings: Settings) -> Path:
    """Return where the stream says where it answers."""
    return settings.data_dir / "dashboard" / "stream.json"


@contextmanager
def listening(host: str, port: int, command: str = "serve") -> Iterator[socket.socket]:
    """Give a socket that listens, so that port 0 and a port that is taken are known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        message = (
            f"cannot listen on {host}:{port}: {error.strerror or error}. "
            f"Choose another port, `recgraph {command} --port {port + 10}`, or let it take a free "
            "one, `--port 0`."
        )
        raise ServiceError(message) from None
    with listener:
        yield listener


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


def url_of(host: str, port: int) -> str:
    """Return where this machine finds a server on an address."""
    return f"http://{'127.0.0.1' if host in WILDCARDS else _bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _read(path: Path) -> Running | None:
    """Return what a process that still runs has announced, or None."""
    try:
        running = msgspec.json.decode(path.read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return running if psutil.pid_exists(running.pid) else None
