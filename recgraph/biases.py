"""What a rating is before taste: the mean, and the user's and the item's distance from it.

ALS learns what is left. In `joined` factors two columns more carry mean and biases, so that the
product of a user's and an item's row is the whole prediction and nobody else needs to know.
"""

from typing import NamedTuple

import numpy as np

from recgraph.model import Floats, Matrix, Ragged, fold_in_users

_PENALTY, _LEAST_PENALTY = 1.3, 0.02
"""Of `regularization_for`: where each has one rating, and at the least."""


class Biases(NamedTuple):
    """What a rating is before taste: the mean, the user's and the item's distance from it."""

    mean: float
    users: Floats
    items: Floats


def fit_biases(ratings: Matrix, *, damping: float = 5.0, n_iterations: int = 10) -> Biases:
    """Mean, user and item biases, each drawn towards 0 by ``damping`` ratings.

    References
    ----------
    Koren (2010), Factor in the neighbors, section 2.1.
    """
    entries = ratings.tocoo()  # a rating of 0 is one, too
    rows, columns, values = entries.row, entries.col, entries.data
    shape = ratings.shape
    mean = float(values.mean(dtype=np.float64))
    users, items = np.zeros(shape[0]), np.zeros(shape[1])
    n_users = np.bincount(rows, minlength=shape[0]) + damping
    n_items = np.bincount(columns, minlength=shape[1]) + damping
    for _ in range(n_iterations):
        items = np.bincount(columns, values - mean - users[rows], minlength=shape[1]) / n_items
        users = np.bincount(rows, values - mean - items[columns], minlength=shape[0]) / n_users
    return Biases(mean, users.astype(np.float32), items.astype(np.float32))


def regularization_for(n_ratings: int, n_users: int, n_items: int) -> float:
    """The penalty (ALS-WR) of the taste that so many ratings tell of.

    It falls with the root of the ratings that a row of the better known side has, users or items:
    0.1 where these are 170, as in film sets; 0.4 where they are 10, as in reviews, of whose
    residuals little is taste. From 1 on taste is hardly there, and mean and biases predict alone.
    """
    of_one = n_ratings / min(n_users, n_items)
    return float(np.clip(_PENALTY / np.sqrt(of_one), _LEAST_PENALTY, 1.0))


def residuals(ratings: Matrix, biases: Biases) -> Matrix:
    """The ratings without mean and biases, in the same places; a residual of 0 stays an entry."""
    left = ratings.astype(np.float32).copy()
    rows = Ragged.of(left).rows()
    left.data -= biases.mean + biases.users[rows] + biases.items[left.indices]
    return left


def joined(users: Floats, items: Floats, biases: Biases) -> tuple[Floats, Floats]:
    """The factors with mean and biases in two columns more, ``(n, n_factors + 2)`` each."""
    user_side = np.column_stack([users, np.ones(len(users)), biases.mean + biases.users])
    return user_side.astype(np.float32), joined_items(items, biases.items)


def joined_items(items: Floats, biases: Floats) -> Floats:
    """The items' side of `joined`, from the bias of each."""
    item_side = np.column_stack([items, biases, np.ones(len(items))])
    return item_side.astype(np.float32)


def fold_in(
    items: Floats, ratings: Matrix, *, mean: float, damping: float, regularization: float
) -> Floats:
    """Joined factors of users, float32 ``(n_users, n_factors + 2)``, with the items held fixed.

    The bias of each user as the last sweep of `fit_biases` finds it, and the half-step that ends
    the fit, on the residuals: the users of the training from their own ratings. A user without
    ratings gets zeros, which predict nothing.

    Parameters
    ----------
    items
        `joined`, ``(n_items, n_factors + 2)``.
    ratings
        ``(n_users, n_items)``; an entry of 0 is a rating of 0.
    mean, damping
        Of the training.
    regularization
        Multiplied by the number of ratings of each user (ALS-WR).
    """
    counts = np.diff(ratings.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    of_items = items[:, -2]
    left = ratings.data.astype(np.float64) - mean - of_items[ratings.indices]
    of_users = np.bincount(rows, left, minlength=len(counts)) / np.maximum(counts + damping, 1e-9)
    rest = residuals(ratings, Biases(mean, of_users.astype(np.float32), of_items))
    taste = fold_in_users(items[:, :-2], rest, regularization=regularization)
    users = np.column_stack([taste, np.ones(len(counts)), mean + of_users]).astype(np.float32)
    users[counts == 0] = 0
    return users


def without_taste(factors: Floats) -> Floats:
    """Joined factors of users or items that predict by mean and biases alone."""
    bare = factors.copy()
    bare[:, :-2] = 0
    return bare
