"""News of the feed -> server-sent events.

Each event has an ``id``, the position of the feed: who comes again with it as ``Last-Event-ID``
gets what was missed. The events:

===================  ================================================================
``ready``            the stream is open; ``data`` says whether lists come at the moment
``recommendations``  a new list, as `GET /api/v1/users/ID/recommendations` answers it
``stale``            lists do not come any more, and why; the stream stays open
``fresh``            they come again, and nothing is missing
``gap``              something is missing: read the lists that matter anew
===================  ================================================================

References
----------
WHATWG, HTML Living Standard, 9.2 Server-sent events.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from dashboards.api.answered import Recommendations, rows_out
from dashboards.stream.hub import EVERYBODY, Message
from recgraph.feedback import without
from recgraph.ports import NewList, News

HEARTBEAT = b":\n\n"
"""A comment, so that whoever is in between knows that the stream is alive."""

Excluded = Callable[[str], frozenset[str]]
"""User id -> items that stay out of the lists of that user."""


class State(msgspec.Struct):
    """What the feed said last."""

    position: str = ""
    problem: str | None = "the stream has only just started."

    def follow(self, news: News) -> Iterator[Message]:
        """Yield what everybody is to know of the change, and keep it."""
        before, self.problem = self.problem, news.problem
        self.position = news.position or self.position
        if news.problem is not None and news.problem != before:
            yield Message(EVERYBODY, _event("stale", _said(news.problem), self.position))
        if news.has_gap:
            yield Message(EVERYBODY, gap("lists are gone from the topic.", self.position))
        elif news.problem is None and before is not None:
            yield Message(EVERYBODY, _event("fresh", _said(None), self.position))

    def hello(self, position: str) -> bytes:
        """Return the event with which a stream begins that goes on after a position."""
        return _event("ready", _said(self.problem), position)


def messages_of(lists: Iterable[NewList], excluded: Excluded) -> list[Message]:
    """Return the events of the lists, without what feedback takes out of them."""
    return [Message(each.made.user_id, _list_event(each, excluded)) for each in lists]


def gap(problem: str, position: str) -> bytes:
    """Return the event that says that something is missing before a position."""
    return _event("gap", _said(problem), position)


def _event(name: str, data: bytes, position: str) -> bytes:
    place = f"id: {position}\n" if position else ""
    return f"{place}event: {name}\ndata: ".encode() + data + b"\n\n"


def _list_event(new: NewList, excluded: Excluded) -> bytes:
    made = new.made
    rows = without(made.rows, excluded(made.user_id))
    out = Recommendations(
        generation=made.freshness.generation,
        source=rows[0].source if rows else "none",
        items=rows_out(rows),
        user_id=made.user_id,
        freshness=made.freshness,
    )
    return _event("recommendations", msgspec.json.encode(out), new.position)


def _said(problem: str | None) -> bytes:
    return msgspec.json.encode({"problem": problem})
