"""Signals -> one score with named parts: score = sum of weight / scale * signal.

Each signal is divided by its own size (the root of its mean square over sampled users), so that
weights compare across data sets. The quotients, the `Coefficients`, are numbers of a generation:
a score's parts add up to it exactly, and a live list is ordered as the batch's.

============  ====================================================================================
``als``       user factors times item factors
``walk``      the graph walk, `recgraph.walk`
``repeat``    the user's own purchases, `recgraph.repeats`; off where seen items are left out
``content``   what resembles the user's purchases by its attributes
============  ====================================================================================
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from scipy import sparse

from recgraph.model import Floats, Ints, Matrix
from recgraph.repeats import with_again
from recgraph.scores import Scores, same_for_all

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
    """Neighbours by content, `recgraph.content.similar`, ``(n_items, n_items)``."""
    again: Floats | None = None
    """What each item adds to the repeats of its buyers, `recgraph.repeats.again`."""
    discount: Floats | None = None
    """What the whole score of each item is multiplied by, ``(n_items,)``; None is 1."""


class Users(NamedTuple):
    """A block of users, with what each signal needs of them."""

    factors: Floats
    """``(n_users, n_factors)``."""
    steps: Matrix | None = None
    """`recgraph.walk.user_steps`, ``(n_users, n_items)``; the walk's and content's first step."""
    repeats: Matrix | None = None
    """Own purchases, `recgraph.repeats.strengths`, ``(n_users, n_items)``."""


def source_of(coefficients: Coefficients) -> str:
    """The names of the parts that are on, such as ``als+walk``."""
    return "+".join(name for name in PARTS if getattr(coefficients, name))


def only(coefficients: Coefficients, names: Collection[str]) -> Coefficients:
    """The coefficients of some parts; the others are off."""
    on = {name: getattr(coefficients, name) for name in names}
    return Coefficients(**dict.fromkeys(PARTS, 0.0) | on)


class Signals(NamedTuple):
    """What the parts add for a block of users: found once, for scores, parts and lists alike."""

    users: Floats | None
    """Factors times the coefficient of ALS, ``(n_users, n_factors)``; None where ALS is off."""
    items: Items
    others: dict[str, Matrix]
    """The other parts that are on, each ``(n_users, n_items)`` and times its coefficient."""
    shape: tuple[int, int]

    def scores(self) -> Scores:
        """Scores of every item for each user."""
        if self.users is None:
            scores = same_for_all(np.zeros(self.shape[1], np.float32), self.shape[0])
        else:
            scores = Scores(self.users, self.items.factors)
        added = sum(self.others.values()) if self.others else None
        return scores._replace(added=added, times=self.items.discount)

    def parts_at(self, lists: Ints) -> dict[str, Floats]:
        """The parts of the scores of some items, by name; each has the shape of ``lists``.

        Parameters
        ----------
        lists
            Item indices ``(n_users, k)``; parts of -1 are 0.
        """
        rows, places = np.nonzero(lists >= 0)
        chosen = lists[rows, places]
        found = {name: np.asarray(part[rows, chosen]).ravel() for name, part in self.others.items()}
        if self.users is not None:
            als = np.einsum("pf,pf->p", self.users[rows], self.items.factors[chosen])
            found = {ALS: als, **found}
        parts = {name: np.zeros(lists.shape, np.float32) for name in found}
        for name, values in found.items():
            discount = 1 if self.items.discount is None else self.items.discount[chosen]
            parts[name][rows, places] = values * discount
        return parts


def signals(users: Users, items: Items, coefficients: Coefficients) -> Signals:
    """The parts that are on, each times its coefficient."""
    shape = len(users.factors), len(items.factors)
    factors = users.factors * np.float32(coefficients.als) if coefficients.als else None
    others = {}
    for name in PARTS[1:]:
        if coefficient := getattr(coefficients, name):
            signal = _signal(name, users, items)
            silent = sparse.csr_matrix(shape)
            part = coefficient * (silent if signal is None else signal)
            others[name] = part.tocsr().astype(np.float32)
    return Signals(factors, items, others, shape)


def _signal(name: str, users: Users, items: Items) -> Matrix | None:
    """A signal besides ALS, ``(n_users, n_items)``; None where there is nothing to make it from."""
    if name == REPEAT:
        return None if users.repeats is None else with_again(users.repeats, items.again)
    then = items.neighbours if name == WALK else items.similar
    return None if users.steps is None or then is None else users.steps @ then


def score(users: Users, items: Items, coefficients: Coefficients) -> Scores:
    """Scores of every item for each user."""
    return signals(users, items, coefficients).scores()


def popularity_discount(n_buyers: Floats, exponent: float) -> Floats | None:
    """What `Items.discount` holds: ``(1 + buyers) ** -exponent``; None for an exponent of 0.

    References
    ----------
    Steck (2011), Item popularity and recommendation accuracy, RecSys.
    """
    return np.power(1 + n_buyers, -exponent, dtype=np.float32) if exponent else None


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
        if weight:
            found[name] = weight / _size(signals(users, items, alone).others[name].data, n_scores)
    return Coefficients(**found)


def _size_of_products(users: Floats, items: Floats) -> float:
    """Root of the mean square of all products of factors, from their Gram matrices."""
    grams = [(each.T @ each).astype(np.float64) for each in (users, items)]
    return float(np.sqrt((grams[0] * grams[1]).sum() / (len(users) * len(items)))) or 1.0


def _size(values: Floats, n_scores: int) -> float:
    """Root of the mean square over all scores; 1 where the signal is silent."""
    squares = float(np.einsum("i,i->", values.ravel(), values.ravel(), dtype=np.float64))
    return float(np.sqrt(squares / n_scores)) or 1.0
