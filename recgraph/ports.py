"""What others may ask of MongoDB and Kafka: protocols, and the documents that pass through them.

`recgraph.services` implements the protocols; the dashboard and the tests know only these.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from threading import Event
from typing import Literal, Protocol

import msgspec

from recgraph.accounts import Account, ApiKey, KeyScope, Principal, Role
from recgraph.events import Rejection, SaleEvent
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


FeedbackKind = Literal["hidden", "not_interested"]


class FeedbackEntry(msgspec.Struct, frozen=True):
    """An item that is left out of lists because somebody said so."""

    kind: FeedbackKind
    item_id: str
    user_id: str | None
    """Whose lists; None for everybody's."""
    at: datetime


class Feedback(Protocol):
    """What people said about items; it holds over all generations, from the moment it is said.

    While the store is away, the last known feedback goes on being applied.
    """

    def add(self, kind: FeedbackKind, item_id: str, user_id: str | None) -> FeedbackEntry:
        """Return what is kept from now on, in place of an earlier word on the same item.

        Raises
        ------
        StoreUnavailable
            The server does not answer; nothing may have been kept.
        """
        ...

    def remove(self, item_id: str, user_id: str | None) -> bool:
        """Return whether there was something to take back; raises as `add` does."""
        ...

    def entries(self, user_id: str | None) -> list[FeedbackEntry]:
        """Return what was said for one user, or for everybody, newest first."""
        ...

    def excluded(self, user_id: str | None) -> frozenset[str]:
        """Return the items that stay out of a user's lists; of None, out of everybody's.

        Raises
        ------
        StoreUnavailable
            The server does not answer, and nothing is known from before.
        """
        ...


class People(Protocol):
    """The accounts; each e-mail address has one at most, however it is spelled.

    Every change is durable when the call returns, and raises `InputError` for an address that has
    no account. All raise `StoreUnavailable` when the server does not answer, as do the others here.
    """

    def add(self, email: str, role: Role, password_hash: str) -> Account:
        """Return a new account; `InputError` when there is one already."""
        ...

    def get(self, email: str) -> Account | None:
        """Return the account, or None."""
        ...

    def credentials(self, email: str) -> tuple[Account, str] | None:
        """Return the account and the hash of its password as they are together, or None."""
        ...

    def all(self) -> list[Account]:
        """Return all accounts by e-mail address."""
        ...

    def set_password(self, email: str, password_hash: str) -> Account:
        """Replace the password and end all sessions of the account."""
        ...

    def set_role(self, email: str, role: Role) -> Account:
        """Give the account another role, which its sessions have within a second."""
        ...

    def set_active(self, email: str, *, is_active: bool) -> Account:
        """Enable or disable the account; either ends all its sessions."""
        ...

    def remove(self, email: str) -> None:
        """Remove the account; its sessions end."""
        ...


class Sessions(Protocol):
    """Who is signed in: a random token each, of which only the hash is kept."""

    def begin(self, account: Account | None) -> str:
        """Return the token of a new session; None is whoever owns this machine.

        Ended from the start when the account has changed its password since it was read.
        """
        ...

    def principal(self, token: str) -> Principal | None:
        """Return who is signed in, as it was at most a second ago; None when it has ended."""
        ...

    def end(self, token: str) -> None:
        """End a session: at once in this process, within a second in others."""
        ...


class Keys(Protocol):
    """The keys of programs; of a secret only the hash is kept."""

    def add(
        self, name: str, scopes: tuple[KeyScope, ...], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Return a new key and its secret, which nobody can show again."""
        ...

    def principal(self, secret: str) -> Principal | None:
        """Return whose key it is, as it was at most a second ago; None for one that is no good."""
        ...

    def all(self) -> list[ApiKey]:
        """Return all keys, newest first."""
        ...

    def revoke(self, prefix: str) -> None:
        """Remove a key: at once in this process, within a second in others."""
        ...


class Attempts(Protocol):
    """Counts wrong sign-ins of an account and of an address, over all processes of a server."""

    def begin(self, email: str | None, address: str) -> float:
        """Return 0.0 when this attempt may be made, else the seconds to wait.

        It counts as a wrong one until `succeed` is called, so that many at once gain nothing.
        """
        ...

    def succeed(self, email: str | None, address: str) -> None:
        """Take the attempt back; wrong ones before it no longer count against the account."""
        ...


class Accounts(Protocol):
    """Everything about who may do what."""

    @property
    def people(self) -> People:
        """The accounts."""
        ...

    @property
    def sessions(self) -> Sessions:
        """Who is signed in."""
        ...

    @property
    def keys(self) -> Keys:
        """The keys of programs."""
        ...

    @property
    def attempts(self) -> Attempts:
        """Wrong sign-ins."""
        ...

    def ping(self) -> None:
        """Return when the server answers."""
        ...


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
