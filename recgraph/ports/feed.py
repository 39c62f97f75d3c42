"""Lists as they are made anew, as the broker tells of them."""

from collections.abc import Iterator
from threading import Event
from typing import Protocol

import msgspec

from recgraph.ports.store import Recommendations


class NewList(msgspec.Struct, frozen=True):
    """A list as it came by the feed."""

    position: str
    """What `RecommendationFeed.between` goes on after; opaque, one line of ASCII."""
    made: Recommendations


class News(msgspec.Struct, frozen=True):
    """What the feed says at one moment."""

    position: str
    """After the last of ``lists``; empty before the broker was first reached."""
    lists: list[NewList] = []
    """In the order in which each user's were made; one may come twice."""
    problem: str | None = None
    """Why no list comes at the moment; None when all is well."""
    has_gap: bool = False
    """Lists may have been made before these that will never come: read from the store instead."""


class RecommendationFeed(Protocol):
    """Lists as `live` makes them; each is in the store by then."""

    def news(self, stop: Event) -> Iterator[News]:
        """Yield lists as they come, and now and then that none did, until ``stop`` is set.

        Whatever goes wrong is said and tried again: it raises nothing.
        """
        ...

    def between(self, after: str, until: str, user_id: str | None = None) -> list[NewList]:
        """Return the lists, of one user or all, that came after one position and not after another.

        Raises
        ------
        FeedGap
            Some are gone, or too many, or ``after`` is no position of this feed.
        ServiceError
            The broker does not answer.
        """
        ...
