"""Requests -> Prometheus metrics, counted by route and status over all processes of a server.

The counts lie in memory-mapped files of a folder, one a process, which whoever is asked adds up.
prometheus_client decides at its import whether it counts in files: `count_in_files` comes first.
"""

import os
import shutil
import socket
import threading
import time
from pathlib import Path

from flask import Flask, Response, g, request

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def count_in_files(folder: Path) -> None:
    """Make every process that is forked from now on count in files of this folder, empty at first.

    Comes before anything imports prometheus_client.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[_FOLDER] = str(folder)


def measure(server: Flask) -> None:
    """Count every request of ``server`` by its route, so that ids make no series of their own."""
    from prometheus_client import Histogram

    text = "Seconds from a request to its answer."
    seconds = Histogram(
        *("recgraph_http_request_seconds", text, ["method", "route", "status"]), buckets=_BUCKETS
    )

    def begin() -> None:
        g.began_at = time.perf_counter()

    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule is not None else "unknown"
        method = request.method if request.method in _METHODS else "other"
        spent = time.perf_counter() - g.pop("began_at", time.perf_counter())
        seconds.labels(method, route, str(response.status_code)).observe(spent)
        return response

    # Before and after everything else, what refuses a request included.
    server.before_request_funcs.setdefault(None, []).insert(0, begin)
    server.after_request_funcs.setdefault(None, []).insert(0, end)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def answer_prometheus(listener: socket.socket) -> None:
    """Answer Prometheus on a socket, in a thread; each process may, and any answers for all."""
    import waitress
    from prometheus_client import CollectorRegistry, make_wsgi_app
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    server = waitress.create_server(make_wsgi_app(registry), sockets=[listener], threads=1)
    threading.Thread(target=server.run, daemon=True).start()


def forget_process(pid: int) -> None:
    """Drop the gauges of a process that has ended; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
