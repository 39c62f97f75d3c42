"""A door for sale events, and what became of each."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from recgraph.events import Rejection, SaleEvent


class Accepted(msgspec.Struct, frozen=True):
    """An event that the broker has acknowledged, and where it stands on the topic."""

    event_id: str
    partition: int
    offset: int


class Unconfirmed(msgspec.Struct, frozen=True):
    """An event that the broker may have or not: sent again under this id, it counts once."""

    event_id: str


Outcome = Accepted | Unconfirmed | Rejection


class EventSink(Protocol):
    """A door for sale events: each is validated, and written with acknowledgement."""

    def send(self, messages: Iterable[bytes | SaleEvent]) -> list[Accepted | Rejection]:
        """Return what happened to each message, in order.

        An event without an id is given one. The answer comes within a bounded time.

        Raises
        ------
        SinkUnavailable
            The broker has not acknowledged each event, or too many wait already; its
            ``outcomes`` say which were acknowledged, and under which ids to send the others again.
        """
        ...
