"""An open-loop load generator: requests are due at a rate, whether the last one is answered or not.

A latency counts from the moment that a request was due, so that waiting for a free connection is
part of it (no coordinated omission). One thread, one selector, connections that stay open.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

CONNECTIONS = 64
"""Connections kept open."""
GIVE_UP_S = 10.0
"""After the last request is due, answers are waited for so long."""


@dataclass
class Outcome:
    """What became of the requests of one run."""

    rate: float
    seconds: float
    latencies_ms: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0

    def summary(self) -> dict[str, object]:
        p50, p95, p99 = (np.percentile(self.latencies_ms, [50, 95, 99])).round(2).tolist()
        done = len(self.latencies_ms) / self.seconds
        return {
            "asked_per_s": self.rate,
            "answered_per_s": round(done, 1),
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "unanswered": self.unanswered,
        }


@dataclass
class _Waiting:
    """A connection, and the request under way on it."""

    connection: socket.socket
    due: float = 0.0
    received: bytes = b""


def run(
    address: tuple[str, int], request: Callable[[int], bytes], rate: float, seconds: float
) -> Outcome:
    """Send ``rate`` requests a second for so long; return what became of them."""
    with selectors.DefaultSelector() as selector:
        free = deque(_connect(address, selector) for _ in range(CONNECTIONS))
        everyone = list(free)
        outcome = _drive(selector, free, request, rate, seconds)
        for each in everyone:
            each.connection.close()
    return outcome


def _connect(address: tuple[str, int], selector: selectors.BaseSelector) -> _Waiting:
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting = _Waiting(connection)
    selector.register(connection, selectors.EVENT_READ, waiting)
    return waiting


def _drive(
    selector: selectors.BaseSelector,
    free: "deque[_Waiting]",
    request: Callable[[int], bytes],
    rate: float,
    seconds: float,
) -> Outcome:
    outcome = Outcome(rate, seconds)
    n_requests, n_sent = int(rate * seconds), 0
    started = time.perf_counter()
    end = started + seconds + GIVE_UP_S
    while len(outcome.latencies_ms) < n_requests and time.perf_counter() < end:
        now = time.perf_counter()
        while n_sent < n_requests and free and started + n_sent / rate <= now:
            waiting = free.popleft()
            waiting.due = started + n_sent / rate
            waiting.connection.sendall(request(n_sent))
            n_sent += 1
        pause = started + n_sent / rate - time.perf_counter() if n_sent < n_requests else 0.1
        for key, _ in selector.select(max(0.0, pause) if free else 0.1):
            if _receive(key.data, outcome):
                free.append(key.data)
    outcome.unanswered = n_requests - len(outcome.latencies_ms)
    outcome.seconds = max(seconds, time.perf_counter() - started)
    return outcome


def _receive(waiting: _Waiting, outcome: Outcome) -> bool:
    """Return whether the answer is whole."""
    data = waiting.connection.recv(262_144)
    assert data, "the server has closed a connection"
    waiting.received += data
    head, found, body = waiting.received.partition(b"\r\n\r\n")
    if not found:
        return False
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    if len(body) < length:
        return False
    outcome.latencies_ms.append(1000 * (time.perf_counter() - waiting.due))
    status = int(head.split(b" ", 2)[1])
    outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
    waiting.received = b""
    return True
