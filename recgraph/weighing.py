"""Events -> what they count: the rules by which purchases, returns and views become ratings.

Training applies them to the event table (`recgraph.spark.interactions`), the live service to one
user's history; `pairs_of_events` gives the numbers that Spark gives for the same events.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recgraph.config import Settings
from recgraph.generations import Manifest
from recgraph.model import Floats, Ints, Matrix
from recgraph.repeats import strengths

BOUGHT_KINDS = ("purchase", "rating", "return")
"""Kinds that say whether something is bought, by their sum."""
DIGITS = 6
"""Digits of a rating: beyond them the order of addition would show."""
MICROS_A_DAY = 86_400_000_000

EVENT = np.dtype(
    [("event", "<i8"), ("time", "<i8"), ("amount", "<f8"), ("item", "<i4"), ("bought", "?")]
)
"""One event of a user: what stands for its identity, microseconds since 1970, what it counts
before decay, the item's index (-1 for one that the generation does not know), and whether its kind
is one of `BOUGHT_KINDS`. Of explicit feedback, the rating, and whether there is one. 29 bytes."""

Events = NDArray[Any]
"""Of the type `EVENT`."""


class Weighing(NamedTuple):
    """How events become ratings; the fields are settings of the same names."""

    feedback: str
    kind_weights: dict[str, float]
    half_life_days: float | None
    walk_half_life_days: float | None
    repeat_half_life_days: float | None


def weighing_from_settings(settings: Settings) -> Weighing:
    """The weighing that the settings describe."""
    return Weighing(*(getattr(settings, name) for name in Weighing._fields))


def weighing_of_generation(manifest: Manifest) -> Weighing:
    """The weighing that a generation was made with."""
    known: dict[str, Any] = manifest.settings | {"feedback": manifest.feedback}
    return Weighing(*(known.get(name) for name in Weighing._fields))  # type: ignore[arg-type]


def amount_of(kind: str, quantity: float, weights: dict[str, float]) -> float:
    """What one event counts before decay.

    Quantities mix pieces with grams, so only their sign counts: a purchase of a negative quantity
    is a return. The weight of a return is negative already, whatever sign its quantity has.
    """
    sign = float(np.sign(quantity))
    direction = {"return": abs(sign), "purchase": sign}.get(kind, 1.0)
    return direction * weights.get(kind, 0.0)


class Pairs(NamedTuple):
    """What some users did with items: one entry a (user, item), sorted by user and item."""

    rows: Ints
    """Which of the users."""
    items: Ints
    ratings: Floats
    """What ALS and the walk's first steps get; above 0."""
    repeats: Floats
    """The same with the half-life of repeats, as `recgraph.repeats.strengths`; 0 or more."""
    is_bought: NDArray[np.bool_]

    def matrix(self, values: Floats, shape: tuple[int, int]) -> Matrix:
        """Some values of the pairs as a matrix ``(n_users, n_items)``."""
        indptr = np.searchsorted(self.rows, np.arange(shape[0] + 1))
        return sparse.csr_matrix((values, self.items, indptr), shape=shape)

    def where(self, mask: NDArray[np.bool_]) -> "Pairs":
        """Some of the pairs."""
        columns: Any = [column[mask] for column in self]
        return Pairs(*columns)

    def bought(self) -> "Pairs":
        """Those that are purchases, or ratings, and not only views."""
        return self.where(self.is_bought)


def is_purchase(events: Events) -> NDArray[np.bool_]:
    """Which events took something home: no view, and nothing given back; ``(n_events,)``."""
    return events["bought"] & (events["amount"] > 0)


def pairs_of_events(
    rows: Ints, events: Events, newest: Ints, weighing: Weighing, n_items: int
) -> Pairs:
    """The interactions of some users, as training has them.

    Parameters
    ----------
    rows
        Which user each event is of, from 0.
    events
        Each identity once; those of unknown items are left out.
    newest
        Microseconds at which an event of each user counts whole, ``(n_users,)``.
    """
    known = events["item"] >= 0
    rows, events = rows[known], events[known]
    if weighing.feedback == "explicit":
        return _last_ratings(rows, events, n_items)
    keys, pair = np.unique(rows.astype(np.int64) * n_items + events["item"], return_inverse=True)
    ages = (newest[rows] - events["time"]) / MICROS_A_DAY

    def total(amounts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.round(np.bincount(pair, amounts, minlength=len(keys)), DIGITS)

    def decayed(half_life_days: float | None, least: float = 0.0) -> Floats:
        share = 1.0 if half_life_days is None else 0.5 ** (ages / half_life_days)
        return np.maximum(total(events["amount"] * share), least).astype(np.float32)

    purchases = is_purchase(events)
    silent = np.full(len(keys), np.inf)
    np.minimum.at(silent, pair[purchases], ages[purchases])
    silent[np.isinf(silent)] = 0  # where nothing was bought, there is no silence either
    pairs = Pairs(
        *np.divmod(keys, n_items),
        decayed(weighing.half_life_days, least=10.0**-DIGITS),
        strengths(decayed(weighing.repeat_half_life_days), silent, weighing.repeat_half_life_days),
        total(np.where(events["bought"], events["amount"], 0.0)) > 0,
    )
    # A pair that comes to nothing without the decay is no interaction.
    return pairs.where(total(events["amount"]) > 0)


def _last_ratings(rows: Ints, events: Events, n_items: int) -> Pairs:
    """The rating that each user gave an item last; of those of one time the highest."""
    rows, events = rows[events["bought"]], events[events["bought"]]
    keys = rows.astype(np.int64) * n_items + events["item"]
    order = np.lexsort((events["amount"], events["time"], keys))
    last = order[np.diff(keys[order], append=-1) != 0]
    ratings = events["amount"][last].astype(np.float32)
    users, items = np.divmod(keys[last], n_items)
    return Pairs(users, items, ratings, ratings, np.ones(len(last), bool))
