"""What others may ask of MongoDB and Kafka: protocols, and the documents that pass through them.

`recgraph.services` implements the protocols; the dashboard and the tests know only these.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from recgraph.events import Rejection, SaleEvent
from recgraph.generations import Manifest

Kind = Literal["user", "item"]


class Bought(msgspec.Struct, frozen=True):
    """An item that a user bought (or rated)."""

    item_id: str
    rating: float
    """What ALS saw: purchases summed, or the rating given."""
    n_events: int
    last_at: datetime
    title: str | None = None
    department: str | None = None


class Reason(msgspec.Struct, frozen=True):
    """A bought item that led to a recommendation."""

    item_id: str
    share: float
    """What it adds to the part ``walk`` of the score."""
    title: str | None = None


class Recommended(msgspec.Struct, frozen=True):
    """One row of a user's list."""

    item_id: str
    rank: int
    """Position in the list, from 1."""
    score: float
    """What the list is ordered by: the sum of ``parts``; unitless, not a probability."""
    parts: dict[str, float]
    source: str
    """Which parts of the model made the row, such as ``als+walk`` or ``popular``."""
    title: str | None = None
    department: str | None = None
    because: list[Reason] = []
    """Up to three bought items with the largest shares, the largest first."""


class Buyer(msgspec.Struct, frozen=True):
    """A user who bought (or rated) an item."""

    user_id: str
    rating: float
    last_at: datetime


class RecommendedTo(msgspec.Struct, frozen=True):
    """A user in whose list an item stands."""

    user_id: str
    rank: int
    score: float


class Similar(msgspec.Struct, frozen=True):
    """An item that the walk leads to from another."""

    item_id: str
    weight: float
    """How strongly; to be compared within one list only."""
    title: str | None = None


class UserProfile(msgspec.Struct, frozen=True):
    """A user with the nearest edges: one lookup answers the user page.

    The lists hold at most ``Settings.max_neighbours`` rows, the strongest first; the degrees
    count every edge.
    """

    user_id: str
    bought_degree: int
    recommended_degree: int
    pagerank: float
    bought: list[Bought] = []
    recommended: list[Recommended] = []


class ItemProfile(msgspec.Struct, frozen=True):
    """An item with its attributes and nearest edges; the lists are cut as a user's are."""

    item_id: str
    title: str | None
    department: str | None
    brand: str | None
    category: str | None
    bought_degree: int
    """Users who bought it."""
    recommended_degree: int
    """Users in whose list it stands."""
    pagerank: float
    buyers: list[Buyer] = []
    recommended_to: list[RecommendedTo] = []
    similar: list[Similar] = []
    """Its strongest neighbours by the walk."""


class Hit(msgspec.Struct, frozen=True):
    """A vertex that a search found."""

    kind: Kind
    external_id: str
    title: str | None
    bought_degree: int


class Product(msgspec.Struct, frozen=True):
    """One line of the catalogue."""

    item_id: str
    title: str | None = None
    department: str | None = None
    brand: str | None = None
    category: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far ingest has come, over the whole life of the event table."""

    accepted: int
    rejected: int
    last_occurred_at: datetime | None
    updated_at: datetime


class Published(msgspec.Struct, frozen=True):
    """A generation that the store holds."""

    manifest: Manifest
    published_at: datetime
    is_current: bool


class Store(Protocol):
    """Reads go through the pointer: a reader sees one whole generation or another, never a mix.

    Every method raises `StoreUnavailable` when the server does not answer, and every read of a
    generation raises `NotPublished` while none is current.
    """

    def current(self) -> Published:
        """Return the current generation."""
        ...

    def generations(self) -> list[Published]:
        """Return all generations the store holds, newest first."""
        ...

    def user(self, user_id: str) -> UserProfile | None:
        """Return the user's profile, or None for a user the generation does not know."""
        ...

    def item(self, item_id: str) -> ItemProfile | None:
        """Return the item's profile, or None for an item the generation does not know."""
        ...

    def items(self, item_ids: Iterable[str]) -> dict[str, ItemProfile]:
        """Return the known ones among the items by id, without their neighbour lists."""
        ...

    def top_recommended(self, n_items: int, department: str | None = None) -> list[ItemProfile]:
        """Return the items that stand in most lists, without their neighbour lists."""
        ...

    def popular(self, n_items: int) -> list[ItemProfile]:
        """Return the items that most users bought, without their neighbour lists."""
        ...

    def search(self, text: str, n_hits: int = 20) -> list[Hit]:
        """Return vertices whose id equals ``text`` or whose title's words begin with its words.

        Exact ids come first, then the items most users bought.
        """
        ...

    def progress(self) -> Progress | None:
        """Return how far ingest has come, or None before its first batch."""
        ...

    def ping(self) -> None:
        """Return when the server answers."""
        ...


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
