"""The last known answers of recently asked questions: what is served while the store is away.

They are held packed: a tenth of the memory, and nothing for the garbage collector to walk through,
which else stops a process for 50 ms.
"""

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

import msgspec
from cachetools import LRUCache

from recgraph.errors import StoreUnavailable

T = TypeVar("T")

MAX_HELD = 5_000
"""Answers that one server process holds; a list takes 1 to 2 kB."""


class LastKnown:
    """A bounded memory of answers, those asked for last; threads may share it."""

    def __init__(self, max_held: int = MAX_HELD) -> None:
        self._held: LRUCache[Hashable, bytes] = LRUCache(max_held)
        self._lock = threading.Lock()

    def ask(self, key: Hashable, kind: type[T], read: Callable[[], T]) -> tuple[T, bool]:
        """Return what `read` does and False; while the store is away, the last known and True.

        Parameters
        ----------
        kind
            What ``read`` returns: anything that msgspec can pack.

        Raises
        ------
        StoreUnavailable
            The store is away, and this was not asked for lately.
        """
        try:
            found = read()
        except StoreUnavailable:
            with self._lock:
                held = self._held.get(key)
            if held is None:
                raise
            return msgspec.msgpack.decode(held, type=kind), True
        packed = msgspec.msgpack.encode(found)
        with self._lock:
            self._held[key] = packed
        return found, False
