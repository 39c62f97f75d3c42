"""The last known answers of recently asked questions: what is served while the store is away."""

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import LRUCache

from recgraph.errors import StoreUnavailable

T = TypeVar("T")

MAX_HELD = 5_000
"""Answers that one server process holds; a list takes 3 to 10 kB."""


class LastKnown:
    """A bounded memory of answers, those asked for last; threads may share it."""

    def __init__(self, max_held: int = MAX_HELD) -> None:
        self._held: LRUCache[Hashable, Any] = LRUCache(max_held)
        self._lock = threading.Lock()

    def ask(self, key: Hashable, read: Callable[[], T]) -> tuple[T, bool]:
        """Return what `read` does and False; while the store is away, the last known and True.

        Raises
        ------
        StoreUnavailable
            The store is away, and this was not asked for lately.
        """
        try:
            found = read()
        except StoreUnavailable:
            with self._lock:
                if key not in self._held:
                    raise
                return self._held[key], True
        with self._lock:
            self._held[key] = found
        return found, False
