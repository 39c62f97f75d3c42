"""What a caller sends to the REST API, as structs: the code, and with it the OpenAPI document.

Outside, an item is a product: the fields say ``product_id``, as the events do. Bounds stand here,
once; `dashboards.api.asking` reads requests into these.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_K = 1_000
"""Longest list that can be asked for."""
MAX_OFFSET = 10_000
"""Furthest that a page can begin."""
MAX_PRODUCTS = 1_000
"""Products that a basket or a what-if may name."""

Id = Annotated[str, Meta(min_length=1, max_length=1024, description="As the events spell it.")]
Length = Annotated[int, Meta(ge=1, le=MAX_K, description="Rows at most.")]
Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET, description="Rows to skip.")]
Department = Annotated[str, Meta(min_length=1, max_length=200)]
Quantity = Annotated[float, Meta(gt=0, le=1e6)]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of what is asked: a name that is not known is refused."""


class ListQuery(Asked, frozen=True):
    """Which rows of a list of recommendations."""

    k: Length | None = None
    offset: Offset = 0
    department: Department | None = None
    exclude_seen: bool | None = None


class PopularQuery(Asked, frozen=True):
    """Which popular products."""

    k: Length = 10
    offset: Offset = 0
    department: Department | None = None


class PageQuery(Asked, frozen=True):
    """Which rows of a longer list."""

    k: Length = 50
    offset: Offset = 0


class SimilarQuery(Asked, frozen=True):
    """How many similar products."""

    k: Length = 10


class BecauseQuery(Asked, frozen=True):
    """Which recommended product is to be explained."""

    product_id: Id


class EgoQuery(Asked, frozen=True):
    """Around which vertex."""

    vertex: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=1026,
            pattern="^[ui]:",
            description="`u:` and a user id, or `i:` and a product id.",
        ),
    ]


class FeedbackQuery(Asked, frozen=True):
    """Whose feedback."""

    user_id: Id | None = None


class Basket(Asked, frozen=True):
    """Products that somebody unknown has chosen."""

    product_ids: Annotated[list[Id], Meta(min_length=1, max_length=MAX_PRODUCTS)]
    k: Length = 10
    department: Department | None = None
    exclude_seen: bool = True


class Purchase(Asked, frozen=True):
    """A purchase that was not made."""

    product_id: Id
    quantity: Quantity = 1.0


class WhatIf(Asked, frozen=True):
    """What would change: purchases to add, and products that are out of stock."""

    purchases: Annotated[list[Purchase], Meta(max_length=MAX_PRODUCTS)] = []
    out_of_stock: Annotated[list[Id], Meta(max_length=MAX_PRODUCTS)] = []
    k: Length = 10
    department: Department | None = None
    exclude_seen: bool = True


class FeedbackIn(Asked, frozen=True):
    """One word of feedback."""

    kind: Literal["hidden", "not_interested"]
    product_id: Id
    user_id: Id | None = None
    """Whose list it leaves; without it, `hidden` takes the product out of everybody's."""


class FeedbackTarget(Asked, frozen=True):
    """Which feedback is taken back."""

    product_id: Id
    user_id: Id | None = None


class EventIn(msgspec.Struct, frozen=True):
    """A sale event; the settings of this installation may give fields other names."""

    user_id: str
    product_id: str
    occurred_at: datetime
    quantity: float | None = None
    """Needed unless there is a rating."""
    rating: float | None = None
    kind: str = "purchase"
    event_id: str | None = None
    """An event that is sent twice under one id counts once."""
