"""Requests a minute, counted per key or account.

Each server process counts on its own and is given its part of the limit, so a key never gets more
than the whole; over a single connection, which one process answers, it gets that part. It stops a
loop gone wild; it does not bill.
"""

import threading
import time
from collections import Counter
from typing import NamedTuple


class Spent(NamedTuple):
    """What a key has left of this minute."""

    is_over: bool
    remaining: int
    reset_s: int
    """Seconds until the next minute."""


class RateLimit:
    """A fixed window of a minute; only who is known is counted, so that memory is bounded.

    Parameters
    ----------
    per_minute
        Requests of one key.
    """

    def __init__(self, per_minute: int = 60_000) -> None:
        self.per_minute = per_minute
        self._minute = 0
        self._spent: Counter[str] = Counter()
        self._lock = threading.Lock()

    def spend(self, key: str) -> Spent:
        """Count one request; return what is left."""
        now = time.time()
        with self._lock:
            if int(now // 60) != self._minute:
                self._minute, self._spent = int(now // 60), Counter()
            self._spent[key] += 1
            spent = self._spent[key]
        return Spent(spent > self.per_minute, max(0, self.per_minute - spent), 60 - int(now % 60))
