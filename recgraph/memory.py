"""How much memory a job takes: all its processes together, at the worst moment."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import psutil

_EVERY_S = 0.5


class Peak:
    """The largest resident memory seen, in bytes.

    Shared pages count once in every process that shares them, so it is an upper bound.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0

    def look(self, roots: Iterable[psutil.Process]) -> None:
        """Take the memory of the processes and of all below them into account."""
        processes = {each for root in roots for each in (root, *_children(root))}
        self.peak_bytes = max(self.peak_bytes, sum(map(_resident, processes)))


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


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
