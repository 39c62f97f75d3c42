"""What the REST API answers, as structs: the code, and with it the OpenAPI document.

Outside, an item is a product: the fields say ``product_id``, as the events do.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec

from recgraph.ports import Freshness, Recommended


class Because(msgspec.Struct, frozen=True):
    """A purchase that led to a row."""

    product_id: str
    share: float
    title: str | None = None


class Recommendation(msgspec.Struct, frozen=True):
    """One row of a list."""

    product_id: str
    rank: int
    score: float
    """The sum of the parts; unitless, not a probability."""
    parts: dict[str, float]
    source: str
    """Which parts of the model made the row, such as `als+walk` or `popular`."""
    title: str | None = None
    department: str | None = None
    because: list[Because] = []


def rows_out(rows: Iterable[Recommended]) -> list[Recommendation]:
    """Return the rows of a list as they are answered."""
    return [
        Recommendation(
            row.item_id,
            row.rank,
            row.score,
            row.parts,
            row.source,
            row.title,
            row.department,
            [Because(reason.item_id, reason.share, reason.title) for reason in row.because],
        )
        for row in rows
    ]


class Recommendations(msgspec.Struct, frozen=True):
    """A list, where it comes from and how fresh it is."""

    generation: str
    source: str
    """Of the whole list: `popular` when nothing is known of the user."""
    items: list[Recommendation]
    user_id: str | None = None
    is_known: bool = True
    """Whether the model knows the user or, of a basket, at least one product."""
    is_stale: bool = False
    """The store is away: this is the last known list, or one made from what is known without it."""
    freshness: Freshness | None = None
    """Which events the list includes; null where it was made for this request."""
    unknown_products: list[str] = []
    """Products of the question that the generation does not know; they were ignored."""
    next: str | None = None
    """Where the next rows are; null at the end."""


class ProductOut(msgspec.Struct, frozen=True):
    """A product and how it stands in the graph."""

    product_id: str
    title: str | None
    department: str | None
    brand: str | None
    category: str | None
    buyers: int
    """Users who bought it."""
    in_lists: int
    """Users in whose list it stands."""
    pagerank: float


class SimilarProduct(msgspec.Struct, frozen=True):
    """A product that the walk leads to from another."""

    product_id: str
    weight: float
    """To be compared within one list only."""
    title: str | None = None


class SimilarOut(msgspec.Struct, frozen=True):
    """Similar products, the nearest first."""

    product_id: str
    generation: str
    items: list[SimilarProduct]


class HistoryRow(msgspec.Struct, frozen=True):
    """A product that a user bought."""

    product_id: str
    rating: float
    n_events: int
    last_at: datetime
    title: str | None = None
    department: str | None = None


class HistoryOut(msgspec.Struct, frozen=True):
    """A user's purchases, the strongest first."""

    user_id: str
    generation: str
    n_products: int
    """All there are; the strongest are listed."""
    items: list[HistoryRow]
    next: str | None = None


class GraphOut(msgspec.Struct, frozen=True):
    """A small graph, bounded in vertices and edges."""

    generation: str
    vertices: list[dict[str, Any]]
    """`id`, `kind`, `is_centre` and of products `title` and `department`."""
    edges: list[dict[str, Any]]
    """`src`, `dst`, `kind` and `rank` and `score`, or `rating`."""


class GenerationOut(msgspec.Struct, frozen=True):
    """What one training made."""

    id: str
    is_current: bool
    created_at: datetime
    published_at: datetime
    status: str
    model: str | None
    users: int
    products: int
    events: int


class GenerationsOut(msgspec.Struct, frozen=True):
    """The generations that the store holds, newest first."""

    items: list[GenerationOut]


class EventResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one event."""

    status: int
    """202 the broker has it, 422 it is no sale event, 503 unknown: send it again."""
    event_id: str | None = None
    line: int = 0
    """Its line in the request, from 1."""
    reason: str | None = None
    detail: str | None = None


class EventsOut(msgspec.Struct, frozen=True):
    """What became of the events, in order; 202 means that the broker acknowledged them."""

    accepted: int
    rejected: int
    events: list[EventResult]


class FeedbackRow(msgspec.Struct, frozen=True):
    """Feedback as it is kept."""

    kind: str
    product_id: str
    user_id: str | None
    at: datetime


class FeedbackOut(msgspec.Struct, frozen=True):
    """What is left out of a user's list, or of everybody's."""

    user_id: str | None
    items: list[FeedbackRow]


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """What the API needs, and what of it is there."""

    is_ready: bool
    """Whether lists can be read."""
    parts: dict[str, str]
    """`ok`, or what is wrong, of `store`, `generation` and `broker`."""


class BoughtTogether(msgspec.Struct, frozen=True):
    """A path user -> bought product -> other buyers -> recommended product."""

    product_id: str
    """The bought product."""
    share: float
    """What it adds to the score of the recommended product."""
    n_buyers: int
    """Users who bought both."""
    title: str | None = None
    department: str | None = None


class BecauseOut(msgspec.Struct, frozen=True):
    """Why a product is recommended to a user, the largest share first."""

    user_id: str
    product_id: str
    generation: str
    items: list[BoughtTogether]
    is_stale: bool = False
    """The store is away: purchases since the training may be missing."""
