"""What is asked of MongoDB about a generation, and the documents that come back."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from recgraph.exploration import Exploration
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
    """What it adds to the part ``walk`` of the score or, without one, to ``content``."""
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
    """What made the row: parts such as ``als+walk``, or ``popular_in_segment`` or ``popular``."""
    title: str | None = None
    department: str | None = None
    because: list[Reason] = []
    """Up to three bought items with the largest shares, the largest first."""


class Freshness(msgspec.Struct, frozen=True):
    """Which events a list includes, and when it was made."""

    generation: str
    source: Literal["batch", "live"]
    """``batch``, the training; ``live``, the fold-in of what the user did since."""
    computed_at: datetime
    event_at: datetime | None = None
    """When the newest event since the training occurred; None for a list of the training."""
    topic_id: str | None = None
    offsets: dict[str, int] = {}
    """Partition of that topic -> offset after the user's last event that is included, beside all
    that the generation has seen. Offsets of different partitions do not compare."""
    revision: int = 0
    """Counts the lists of the user that were made since the training."""


class Recommendations(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's list, the freshest there is, and what the user bought since the training."""

    user_id: str
    rows: list[Recommended]
    freshness: Freshness
    bought: list[Bought] = []
    """Items of the events since the training; rating 0 for one that was taken back. Empty in a list
    of the training."""
    bought_degree: int = 0
    """Items bought in all; 0 in a list of the training."""
    events: bytes = b""
    """The events since the training, packed, for `recgraph.serving.Serving.history`."""


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
    freshness: Freshness | None = None
    """Of ``recommended``; None where there is no list."""


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
    image_url: str | None = None
    """As of `Product`."""


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
    price: float | None = None
    """Above 0, in the shop's currency."""
    image_url: str | None = None
    """A picture somewhere else, over HTTPS; pages show none unless a setting says so."""


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
        """Return the user's profile, or None for a user nobody knows; the list is the freshest."""
        ...

    def recommendations(self, user_id: str) -> Recommendations | None:
        """Return the user's freshest list, or None for a user nobody knows: one read.

        Users who are new since the training have one from their first purchase on.
        """
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

    def exploration(self) -> Exploration | None:
        """Return what all reviews together say, or None before anybody looked."""
        ...

    def ping(self) -> None:
        """Return when the server answers."""
        ...
