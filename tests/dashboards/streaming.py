"""A stream in a thread, over real services, and somebody who listens to it."""

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dashboards.stream.app import StreamParts
from dashboards.stream.running import run_stream

PATH = "/api/v1/stream"


@dataclass
class Event:
    """One event as it came."""

    name: str
    id: str
    data: Any


class Listener:
    """One open stream."""

    def __init__(self, port: int, headers: dict[str, str], **query: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        path = f"{PATH}?{urlencode(query)}" if query else PATH
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self._rest = b""
        self.events = self._parse()
        """Until the stream ends; heartbeats are none."""

    def lines(self) -> Iterator[str]:
        while data := self.answer.read1():  # its readline reads byte by byte
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from (line.decode() for line in lines)

    def _parse(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self.lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            if "event" in fields:
                yield Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            fields = {}

    def next(self, *names: str) -> Event:
        """Return the next event of one of these names."""
        return next(event for event in self.events if event.name in names)

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@contextmanager
def streamed(parts: StreamParts, port: int = 0) -> Iterator[int]:
    """Serve a stream from a thread of its own; give its port."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    listener = socket.create_server(("127.0.0.1", port), backlog=512)

    def run() -> None:  # all of it here: the browser's tests keep a loop in the main thread
        loop.run_until_complete(run_stream(parts, listener, stop))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    running = threading.Thread(target=run, daemon=True)
    running.start()
    try:
        yield listener.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(stop.set)
        running.join(20)
        assert not running.is_alive()
        listener.close()
