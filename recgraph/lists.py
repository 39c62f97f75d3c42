"""Scores -> lists, with what the score does not know: hidden items and a cap per category.

Both are exact: the k best of what is allowed. `recgraph.fallback` fills what stays silent.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recgraph.config import Settings
from recgraph.errors import ConfigError
from recgraph.model import Floats, Ints, TopK
from recgraph.ports import Product
from recgraph.scores import Scores

UNKNOWN = -1
"""The code of an item without a category, and of a user without a segment."""

_HIDDEN_PATH = "RECGRAPH_HIDDEN_PATH"
_WIDTH = 4
"""So many times k items are looked at first, and four times as many where the cap leaves less."""

Bools = NDArray[np.bool_]


class Codes(NamedTuple):
    """Which of some names each item has."""

    names: list[str]
    """In alphabetical order."""
    items: Ints
    """Position in ``names`` of each item, ``(n_items,)``; `UNKNOWN` without one."""


class Rules(NamedTuple):
    """How lists are made from scores."""

    k: int
    categories: Ints | None = None
    """Category code of each item, ``(n_items,)``; `UNKNOWN` is not capped."""
    max_per_category: int | None = None
    hidden: Ints | None = None
    """Items that no list holds, ascending."""


def within(rules: Rules, pool: Ints) -> Rules:
    """The rules where column j of the scores is of item ``pool[j]``."""
    categories = None if rules.categories is None else rules.categories[pool]
    hidden = None if rules.hidden is None else np.flatnonzero(np.isin(pool, rules.hidden))
    return rules._replace(categories=categories, hidden=hidden)


def pool_of(popularity: Floats, n: int) -> Ints | None:
    """The n most popular items, in the order of their indices; None where there are no more."""
    if len(popularity) <= n:
        return None
    return np.sort(np.argsort(-popularity, kind="stable")[:n])


def codes_of(values: Sequence[str | None]) -> Codes:
    """The codes of a value an item."""
    names = sorted({value for value in values if value})
    code = {name: position for position, name in enumerate(names)}
    return Codes(names, np.array([code.get(value or "", UNKNOWN) for value in values], np.int32))


def choose(scores: Scores, rules: Rules) -> TopK:
    """The k best items of each user that the rules allow."""
    scores = scores._replace(hidden=rules.hidden)
    if rules.max_per_category is None or rules.categories is None:
        return scores.top_k(rules.k)
    return top_k_capped(scores, rules.k, rules.categories, rules.max_per_category)


def top_k_capped(scores: Scores, k: int, categories: Ints, cap: int) -> TopK:
    """The k best items of each user with at most ``cap`` of one category, exactly.

    Going down a row and taking what its category still allows needs no more than the best few
    items; rows whose best few do not fill a list are looked at further down.
    """
    n_users, n_items = scores.shape
    found = TopK(np.full((n_users, k), -1, np.int64), np.full((n_users, k), -np.inf, np.float32))
    rows, width = np.arange(n_users), _WIDTH * k
    while len(rows):
        width = min(width, n_items)
        best = (scores if len(rows) == n_users else scores.of(rows)).top_k(width)
        taken = allowed(best.items, categories, cap)
        taken &= np.cumsum(taken, axis=1) <= k
        at, places = np.nonzero(taken)
        position = np.cumsum(taken, axis=1)[at, places] - 1
        found.items[rows[at], position] = best.items[at, places]
        found.scores[rows[at], position] = best.scores[at, places]
        is_short = (taken.sum(axis=1) < k) & (best.items[:, -1] >= 0) & (width < n_items)
        rows, width = rows[is_short], _WIDTH * width
    return found


def allowed(lists: Ints, categories: Ints, cap: int) -> Bools:
    """Which places hold one of the first ``cap`` items of their category, in a list or of none."""
    is_there = lists >= 0
    category = np.where(is_there, categories[lists], UNKNOWN)
    rows = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)
    order = np.lexsort((category.ravel(), rows.ravel()))  # stable: places stay in order
    key = rows.ravel()[order] * (int(categories.max(initial=0)) + 2) + category.ravel()[order] + 1
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    nth = np.empty(lists.size, np.int64)
    nth[order] = np.arange(lists.size) - np.repeat(starts, np.diff(starts, append=lists.size))
    result: Bools = is_there & ((category == UNKNOWN) | (nth.reshape(lists.shape) < cap))
    return result


def rules_of(products: Sequence[Product], n_items: int, settings: Settings) -> Rules:
    """The rules of the settings.

    Parameters
    ----------
    products
        The product of each item, by index; empty where nothing is known of them.
    """
    categories = codes_of([product.category for product in products] or [None] * n_items)
    hidden = hidden_items(
        products,
        ids=read_ids(settings.hidden_path) if settings.hidden_path else (),
        departments=settings.hidden_departments,
        categories=settings.hidden_categories,
    )
    return Rules(settings.k, categories.items, settings.max_per_category, hidden)


def hidden_items(
    products: Sequence[Product],
    *,
    ids: Collection[str] = (),
    departments: Collection[str] = (),
    categories: Collection[str] = (),
) -> Ints | None:
    """The indices of the products that no list holds; None where there are none.

    Parameters
    ----------
    products
        The product of each item, by index.
    """
    found = [
        index
        for index, product in enumerate(products)
        if product.item_id in ids
        or product.department in departments
        or product.category in categories
    ]
    return np.array(found, np.int64) if found else None


def read_ids(path: Path) -> frozenset[str]:
    """The product ids of a text file, one a line; blank lines are none.

    Raises
    ------
    ConfigError
        The file cannot be read.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}. Expected text, a product id a line."
        raise ConfigError(_HIDDEN_PATH, message) from error
    return frozenset(line.strip() for line in lines if line.strip())
