"""Signals of a block of users -> their lists, with parts, sources and reasons: one way for all.

The training makes the lists of everybody by it, on Spark, and `recgraph.serving` those of one user.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recgraph import blend, fallback, lists
from recgraph.blend import Coefficients
from recgraph.fallback import Filled, Popular
from recgraph.lists import Codes, Rules
from recgraph.metrics import Floats64
from recgraph.model import Floats, Ints, Matrix, TopK
from recgraph.scores import Scores
from recgraph.walk import Shares, top_shares

N_REASONS = 3
"""Bought items that a row names, at most."""


class Pool(NamedTuple):
    """The items that lists are chosen from, where ALS alone counts."""

    items: Ints
    """Their indices, ascending."""
    factors: Floats
    """Of each of them."""


class Shelf(NamedTuple):
    """What lists are made with, besides scores."""

    rules: Rules
    departments: Codes
    popular: Popular
    pool: Pool | None = None
    """None where lists are chosen from all items."""


class Made(NamedTuple):
    """Lists with what is said of each row; all of shape ``(n_users, k)``."""

    filled: Filled
    scores: Floats64
    """In 64 bits, where the parts add up to them."""
    parts: dict[str, Floats64]
    """By name; 0 in a row that the fallback made."""
    because: Shares

    def sources(self) -> NDArray[np.object_]:
        """What made each row: the parts that are not 0, such as ``als+walk``, or a fallback."""
        code = np.zeros(self.scores.shape, np.intp)  # a bit a part: as few names as combinations
        for bit, part in enumerate(self.parts.values()):
            code |= (part != 0).astype(np.intp) << bit
        combinations = range(1 << len(self.parts))
        names = ["+".join(n for b, n in enumerate(self.parts) if c >> b & 1) for c in combinations]
        is_own = self.filled.sources == np.array(None)
        return np.where(is_own, np.array(names, object)[code], self.filled.sources)


def make_lists(
    users: blend.Users,
    bought: Matrix,
    items: blend.Items,
    coefficients: Coefficients,
    shelf: Shelf,
    *,
    exclude_seen: bool,
    segments: Ints | None = None,
) -> Made:
    """The lists of a block of users.

    Parameters
    ----------
    bought
        ``(n_users, n_items)``; an entry is an item that the user bought.
    segments
        Whose popular items fill the lists; those of each user's department unless given.
    """
    signals = blend.signals(users, items, coefficients)
    seen = bought if exclude_seen else None
    top = _best(signals.scores(), shelf, seen)
    parts = signals.parts_at(top.items)
    if segments is None:
        segments = fallback.segments_of(bought, shelf.departments)
    filled = fallback.fill(top, parts, segments, shelf.popular, seen, shelf.rules)
    if (filled.top.items != top.items).any():
        parts = signals.parts_at(filled.top.items)
    because = reasons(users, items, coefficients, filled.top.items, parts)
    return Made(filled, *_exact(filled, parts), because)


def _best(scores: Scores, shelf: Shelf, seen: Matrix | None) -> TopK:
    """The k best items of each user, of those that lists are chosen from."""
    pool = shelf.pool
    if pool is None:
        return lists.choose(scores._replace(left_out=seen), shelf.rules)
    scores = scores._replace(
        items=pool.factors, left_out=None if seen is None else seen[:, pool.items]
    )
    top = lists.choose(scores, lists.within(shelf.rules, pool.items))
    return top._replace(items=np.where(top.items >= 0, pool.items[top.items], -1))


def reasons(
    users: blend.Users,
    items: blend.Items,
    coefficients: Coefficients,
    listed: Ints,
    parts: dict[str, Floats],
    n: int = N_REASONS,
) -> Shares:
    """The bought items that led to each listed one, with their shares of the score."""
    shape = (*listed.shape, n)
    found, rest = Shares(np.full(shape, -1), np.zeros(shape, np.float32)), listed
    for name, leads in ((blend.WALK, items.neighbours), (blend.CONTENT, items.similar)):
        if name not in parts or users.steps is None or leads is None:
            continue
        is_led = (rest >= 0) & (parts[name] != 0)
        more = top_shares(users.steps, leads, np.where(is_led, rest, -1), n)
        counts = np.float32(getattr(coefficients, name)) * _discount_at(items, listed)
        more = more._replace(shares=more.shares * counts[..., None])
        found = _either(is_led, more, found)
        rest = np.where(is_led, -1, rest)
    return found


def _either(is_first: Ints, first: Shares, second: Shares) -> Shares:
    """The shares of one where a condition holds, and of the other elsewhere."""
    chosen = (np.where(is_first[..., None], *pair) for pair in zip(first, second, strict=True))
    return Shares(*chosen)


def _discount_at(items: blend.Items, listed: Ints) -> Floats:
    if items.discount is None:
        return np.ones(listed.shape, np.float32)
    discounts: Floats = items.discount[listed]
    return discounts


def _exact(filled: Filled, parts: dict[str, Floats]) -> tuple[Floats64, dict[str, Floats64]]:
    """Scores and parts in 64 bits, where they add up: ALS takes the rounding of 32 bits.

    The order of a list is that of the scores in 32 bits, so these stay as they are.
    """
    is_own = filled.sources == np.array(None)
    whole = np.where(filled.top.items >= 0, filled.top.scores, 0.0).astype(np.float64)
    exact = {name: part.astype(np.float64) * is_own for name, part in parts.items()}
    if blend.ALS in exact:
        exact[blend.ALS] = whole - sum(part for name, part in exact.items() if name != blend.ALS)
    return whole, exact
