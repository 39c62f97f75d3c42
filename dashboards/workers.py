"""A factory of the application -> processes that answer on one socket, by gunicorn.

Each process makes the application for itself, after the fork: a client of MongoDB or Kafka is never
shared. What processes share lies in files and in MongoDB.
"""

import gc
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from threadpoolctl import threadpool_limits

THREADS = 8
"""Requests that one process answers at the same time."""
_GRACE_S = 5
"""Seconds that requests under way have to end when the server is told to."""
_KEEP_ALIVE_S = 30


def run_workers(
    make_app: Callable[[], Flask],
    listener: socket.socket,
    *,
    n_workers: int,
    on_worker: Callable[[], None] = lambda: None,
    on_worker_end: Callable[[int], None] = lambda pid: None,
) -> None:
    """Answer requests until a signal ends it: SIGTERM and SIGINT let requests under way finish.

    Parameters
    ----------
    make_app
        Called once in each process.
    listener
        Bound and listening.
    on_worker
        Called in each process when it starts.
    on_worker_end
        Called here with the pid of a process that has ended.
    """
    settings = {
        # gunicorn closes what it is given; the caller closes its own.
        "bind": f"fd://{os.dup(listener.fileno())}",
        "workers": n_workers,
        "threads": THREADS,
        "worker_class": "gthread",
        "keepalive": _KEEP_ALIVE_S,
        "graceful_timeout": _GRACE_S,
        "loglevel": "warning",
        "limit_request_line": 8190,
        "control_socket_disable": True,
        "post_fork": lambda arbiter, worker: _begin(on_worker),
        "child_exit": lambda arbiter, worker: on_worker_end(worker.pid),
    }
    gc.freeze()  # what was loaded so far is shared, and no worker's collector touches it
    _Workers(make_app, settings).run()


def _begin(on_worker: Callable[[], None]) -> None:
    # Requests are answered side by side; were each to use all cores, they would only wait for them.
    threadpool_limits(1, user_api="blas")
    on_worker()


class _Workers(BaseApplication):  # type: ignore[misc]
    def __init__(self, make_app: Callable[[], Flask], settings: dict[str, Any]) -> None:
        self._make_app = make_app
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = self._make_app()
        # What lives as long as the process is not looked through again at each full collection,
        # which would stop all requests for as long.
        gc.collect()
        gc.freeze()
        return app

    def run(self) -> None:
        parent = os.getpid()
        try:
            Arbiter(self).run()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
            if os.getpid() != parent:
                # A worker: what its parent opened is its parent's to close.
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
            if status:
                raise
