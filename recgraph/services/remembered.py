"""Answers of the store, remembered for a second: what many requests ask, one find answers."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cachetools import LRUCache

from recgraph.errors import StoreUnavailable

FRESH_S = 1.0
"""Seconds that an answer is taken for what the store says."""
GRACE_S = 15 * 60.0
"""Seconds that the last good answer holds while the store does not answer at all: nobody can
revoke anything then, and pages can say so instead of asking people to sign in."""
_MAX_HELD = 10_000

T = TypeVar("T")


class Remembered(Generic[T]):
    """What ``read`` returned for a key, at most `FRESH_S` old; None is never remembered.

    Holds a bounded number of answers, the latest; safe to share between threads.
    """

    def __init__(self, read: Callable[[str], T | None]) -> None:
        self._read = read
        self._held: LRUCache[str, tuple[float, T]] = LRUCache(_MAX_HELD)
        self._lock = threading.Lock()
        self._n_forgotten = 0

    def get(self, key: str) -> T | None:
        """Return what is known of a key."""
        with self._lock:
            held, n_forgotten = self._held.get(key), self._n_forgotten
        if held is not None and time.monotonic() - held[0] < FRESH_S:
            return held[1]
        try:
            value = self._read(key)
        except StoreUnavailable:
            if held is None or not self._may_stand_in(held[0], n_forgotten):
                raise
            return held[1]
        self._keep(key, value, n_forgotten)
        return value

    def _may_stand_in(self, read_at: float, n_forgotten: int) -> bool:
        return n_forgotten == self._n_forgotten and time.monotonic() - read_at < GRACE_S

    def _keep(self, key: str, value: T | None, n_forgotten: int) -> None:
        with self._lock:
            if value is None:
                self._held.pop(key, None)
            elif n_forgotten == self._n_forgotten:  # else the answer may be of before a change
                self._held[key] = (time.monotonic(), value)

    def forget(self, key: str | None = None) -> None:
        """Ask the store again for a key, or for all: something has changed."""
        with self._lock:
            self._n_forgotten += 1
            if key is None:
                self._held.clear()
            else:
                self._held.pop(key, None)
