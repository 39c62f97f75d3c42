"""How much memory a job takes: all its processes together, at the worst moment."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psutil

_EVERY_S = 0.5


class _Memory(NamedTuple):
    """Of one process, in bytes."""

    resident: int
    virtual: int


_NOTHING = _Memory(0, 0)


class Peak:
    """The largest resident memory seen, in bytes.

    Shared pages count once in every process that shares them, so it is an upper bound. A process
    that still has all of its parent's addresses was forked a moment ago, to start another program:
    it is left out, or a JVM that starts ``ls`` would count twice.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0

    def look(self, roots: Iterable[psutil.Process]) -> None:
        """Take the memory of the processes and of all below them into account."""
        processes = {each.pid: each for root in roots for each in (root, *_children(root))}
        memory = {pid: _memory(each) for pid, each in processes.items()}
        own = (
            size.resident
            for pid, size in memory.items()
            if size.virtual != memory.get(_parent(processes[pid]), _NOTHING).virtual
        )
        self.peak_bytes = max(self.peak_bytes, sum(own))


@contextmanager
def watch_memory(others: Callable[[], Iterable[psutil.Process]]) -> Iterator[Peak]:
    """Watch this process, those below it, and ``others``, while the block runs."""
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY_S):
            peak.look([psutil.Process(), *others()])

    watcher = threading.Thread(target=watch, name="memory-watch", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:  # it ended since it was listed
        return []


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return 0


def _memory(process: psutil.Process) -> _Memory:
    try:
        found = process.memory_info()
        return _Memory(int(found.rss), int(found.vms))
    except psutil.NoSuchProcess:
        return _NOTHING
