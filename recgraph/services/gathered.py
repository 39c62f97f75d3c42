"""Questions of many threads -> few reads of the store: one answers all that wait.

While a read is under way, whoever asks waits for the next one, which begins when it ends. So an
answer is never older than its question, a quiet server answers at once, and a busy one asks less
often the busier it is.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class _Round(Generic[K, V]):
    """Keys that one read will answer."""

    def __init__(self) -> None:
        self.keys: list[K] = []
        self.found: Future[Mapping[K, V]] = Future()


class Gathered(Generic[K, V]):
    """What ``read`` returns for many keys, asked for one at a time; for threads of one process.

    Parameters
    ----------
    read
        Given keys, some perhaps twice; what it raises, all who wait for it get.
    """

    def __init__(self, read: Callable[[Sequence[K]], Mapping[K, V]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._next: _Round[K, V] = _Round()

    def get(self, key: K) -> V | None:
        """Return what a read that begins after this call knows of the key."""
        with self._lock:
            asked = self._next
            asked.keys.append(key)
            is_first = len(asked.keys) == 1
        if is_first:  # who comes first reads for all who come before the read begins
            with self._turn:
                self._answer(asked)
        return asked.found.result().get(key)

    def _answer(self, asked: _Round[K, V]) -> None:
        with self._lock:
            self._next = _Round()
        try:
            asked.found.set_result(self._read(asked.keys))
        except BaseException as error:  # also of a thread that is made to end: others wait for it
            asked.found.set_exception(error)
