"""What a `recgraph.serving.Serving` is asked, and what it answers."""

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from recgraph.ports import Bought, Recommended


class Wish(NamedTuple):
    """What a list is to be; what is not said is as in the generation's own lists."""

    k: int | None = None
    """Rows, at most."""
    exclude_seen: bool | None = None
    """Leave out what was bought."""
    hidden: Collection[str] = ()
    """Items to leave out: out of stock, or not wanted."""
    department: str | None = None
    """Only items of this department."""


AS_TRAINED = Wish()


class Answer(msgspec.Struct, frozen=True):
    """A list, and what was not understood of the question."""

    rows: list[Recommended]
    ignored: list[str] = []
    """Ids of items that the generation does not know."""


class Because(msgspec.Struct, frozen=True):
    """A path user -> bought item -> other buyers -> recommended item."""

    item_id: str
    """The bought item."""
    share: float
    """What it adds to the score of the recommended item."""
    n_buyers: int
    """Users who bought both."""
    title: str | None = None
    department: str | None = None


class Purchases(NamedTuple):
    """What somebody bought."""

    rows: list[Bought]
    """Of the items asked for, the strongest first; a rating of 0 where it was taken back."""
    n_items: int
    """Of all items."""
