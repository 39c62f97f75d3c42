"""Signals -> one score with named parts: score = sum of weight / scale * signal.

Each signal is divided by its own size (the root of its mean square over sampled users), so that
weights compare across data sets. The quotients, the `Coefficients`, are numbers of a generation:
a score's parts add up to it exactly, and a live list is ordered as the batch's.

============  ====================================================================================
``als``       user factors times item factors
``walk``      the graph walk, `recgraph.walk`
``repeat``    the user's own purchases, old ones counting less; off where seen items are left out
``content``   what resembles the user's purchases by its attributes
============  ====================================================================================
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from recgraph.model import Floats, Ints, Matrix, score_users

ALS, WALK, REPEAT, CONTENT = PARTS = ("als", "walk", "repeat", "content")


class Coefficients(NamedTuple):
    """What each part is multiplied by; 0 switches it off."""

    als: float = 1.0
    walk: float = 0.0
    repeat: float = 0.0
    content: float = 0.0


class Items(NamedTuple):
    """The item side of all signals."""

    factors: Floats
    """``(n_items, n_factors)``."""
    neighbours: Matrix | None = None
    """`recgraph.walk.item_neighbours`, ``(n_items, n_items)``."""
    similar: Matrix | None = None
    """Neighbours by content, ``(n_items, n_items)``."""


class Users(NamedTuple):
    """A block of users, with what each signal needs of them."""

    factors: Floats
    """``(n_users, n_factors)``."""
    steps: Matrix | None = None
    """`recgraph.walk.user_steps`, ``(n_users, n_items)``; the walk's and content's first step."""
    repeats: Matrix | None = None
    """Own purchases after decay, ``(n_users, n_items)``."""


def source_of(coefficients: Coefficients) -> str:
    """The names of the parts that are on, such as ``als+walk``."""
    return "+".join(name for name in PARTS if getattr(coefficients, name))


def only(coefficients: Coefficients, names: Collection[str]) -> Coefficients:
    """The coefficients of some parts; the others are off."""
    on = {name: getattr(coefficients, name) for name in names}
    return Coefficients(**dict.fromkeys(PARTS, 0.0) | on)


def score(users: Users, items: Items, coefficients: Coefficients) -> Floats:
    """Scores of every item for each user, float32 ``(n_users, n_items)``."""
    scores = score_users(users.factors * np.float32(coefficients.als), items.factors)
    for signal in _sparse_signals(users, items, coefficients):
        rows = np.repeat(np.arange(signal.shape[0]), np.diff(signal.indptr))
        scores[rows, signal.indices] += signal.data
    return scores


def parts_at(
    users: Users, items: Items, coefficients: Coefficients, lists: Ints
) -> dict[str, Floats]:
    """The parts of the scores of some items, by name; each has the shape of ``lists``.

    Parameters
    ----------
    lists
        Item indices ``(n_users, k)``; parts of -1 are 0.
    """
    rows, places = np.nonzero(lists >= 0)
    chosen = lists[rows, places]
    parts = {}
    for name in PARTS:
        if getattr(coefficients, name) == 0:
            continue
        if name == ALS:
            values = coefficients.als * np.einsum(
                "pf,pf->p", users.factors[rows], items.factors[chosen]
            )
        else:
            values = np.zeros(len(rows), np.float32)
            for signal in _sparse_signals(users, items, only(coefficients, [name])):
                values = np.asarray(signal[rows, chosen]).ravel()
        parts[name] = np.zeros(lists.shape, np.float32)
        parts[name][rows, places] = values
    return parts


def _sparse_signals(users: Users, items: Items, coefficients: Coefficients) -> list[Matrix]:
    """The signals besides ALS that are on, each times its coefficient; no entry stands twice."""
    signals = []
    if coefficients.walk and users.steps is not None and items.neighbours is not None:
        signals.append(coefficients.walk * (users.steps @ items.neighbours))
    if coefficients.repeat and users.repeats is not None:
        signals.append(coefficients.repeat * users.repeats)
    if coefficients.content and users.steps is not None and items.similar is not None:
        signals.append(coefficients.content * (users.steps @ items.similar))
    return [signal.tocsr().astype(np.float32) for signal in signals]


def coefficients_from_weights(weights: Coefficients, users: Users, items: Items) -> Coefficients:
    """The coefficients that give each signal its weight, whatever its size.

    Parameters
    ----------
    weights
        How much each signal shall count; they need not sum to 1.
    users
        Some users, sampled: the size of a signal is taken over them and all items.
    """
    n_scores = len(users.factors) * len(items.factors)
    found = dict.fromkeys(PARTS, 0.0)
    if weights.als:
        found[ALS] = weights.als / _size_of_products(users.factors, items.factors)
    for name in PARTS[1:]:
        weight = getattr(weights, name)
        alone = only(Coefficients(1.0, 1.0, 1.0, 1.0), [name])
        for signal in _sparse_signals(users, items, alone) if weight else []:
            found[name] = weight / _size(signal.data, n_scores)
    return Coefficients(**found)


def _size_of_products(users: Floats, items: Floats) -> float:
    """Root of the mean square of all products of factors, from their Gram matrices."""
    grams = [(each.T @ each).astype(np.float64) for each in (users, items)]
    return float(np.sqrt((grams[0] * grams[1]).sum() / (len(users) * len(items)))) or 1.0


def _size(values: Floats, n_scores: int) -> float:
    """Root of the mean square over all scores; 1 where the signal is silent."""
    squares = float(np.einsum("i,i->", values.ravel(), values.ravel(), dtype=np.float64))
    return float(np.sqrt(squares / n_scores)) or 1.0
