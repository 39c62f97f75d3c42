"""Ratings -> what ALS is given of them: how much more a second purchase says than the first.

Only ALS sees them: the walk takes logarithms of its own. Whoever folds in a user must transform the
user's ratings as the training did; `recgraph.spark.interactions.transformed` is the same on Spark.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from recgraph.model import Floats, Matrix

Transform = Literal["count", "log", "binary", "cap", "bm25"]
"""What a rating r becomes: ``count`` r; ``log`` log(1 + r); ``binary`` min(r, 1); ``cap``
min(r, c); ``bm25`` r (K + 1) / (r + K (1 - B + B l / mean l)) log((N + 1) / n), where l is the sum
of the user's ratings, and n of N users have the item."""

BM25_K = 2.0
"""At so many purchases ``bm25`` has come half way to its limit."""
BM25_B = 0.5
"""How much ``bm25`` divides by the user's sum of ratings, 0 (not at all) to 1."""


class Fitted(NamedTuple):
    """A transform, with what it learned from all ratings."""

    name: Transform
    cap: float = np.inf
    item_weights: Floats | None = None
    """Of ``bm25``: log((N + 1) / n) of each item, ``(n_items,)``."""
    mean_sum: float = 1.0
    """Of ``bm25``: mean sum of the ratings of a user who has any."""


def fit(ratings: Matrix, name: Transform, *, cap: float = 0.95) -> Fitted:
    """The transform for these ratings.

    Parameters
    ----------
    ratings
        Of all users, ``(n_users, n_items)``, above 0.
    cap
        The most that ``cap`` leaves of a rating; below 1 it is a quantile of the ratings.
    """
    if name == "cap" and ratings.nnz:
        quantile = np.quantile(ratings.data, min(cap, 1.0), method="inverted_cdf")
        return Fitted(name, cap=float(quantile) if cap < 1 else cap)
    if name == "bm25" and ratings.nnz:
        n_users = int(np.count_nonzero(np.diff(ratings.indptr)))
        n_having = np.bincount(ratings.indices, minlength=ratings.shape[1])
        weights = np.log((n_users + 1) / np.maximum(n_having, 1)).astype(np.float32)
        return Fitted(name, item_weights=weights, mean_sum=float(ratings.sum() / n_users))
    return Fitted(name)


def write_fitted(path: Path, fitted: Fitted) -> None:
    """Write a transform with what it learned, as NumPy's npz."""
    learned = {name: value for name, value in fitted._asdict().items() if value is not None}
    np.savez(path, **learned)


def read_fitted(path: Path, n_items: int | None = None) -> Fitted:
    """The transform of a file; ratings as they are where there is none.

    With ``n_items``, those that had no ratings yet are there, too, and weigh as those with one.
    """
    if not path.exists():
        return Fitted("count")
    with np.load(path) as learned:
        weights = learned.get("item_weights")
        if weights is not None and n_items is not None:
            n_cold = n_items - len(weights)
            weights = np.pad(weights, (0, n_cold), constant_values=weights.max(initial=0))
        return Fitted(
            learned["name"].item(), learned["cap"].item(), weights, learned["mean_sum"].item()
        )


def transformed(ratings: Matrix, fitted: Fitted) -> Matrix:
    """The ratings of some users as ALS is given them, in the same places.

    References
    ----------
    Robertson and Zaragoza (2009), The probabilistic relevance framework: BM25 and beyond.
    """
    result = ratings.astype(np.float32).copy()
    if fitted.name == "log":
        result.data = np.log1p(result.data)
    elif fitted.name == "binary":
        result.data = np.minimum(result.data, np.float32(1))
    elif fitted.name == "cap":
        result.data = np.minimum(result.data, np.float32(fitted.cap))
    elif fitted.name == "bm25" and fitted.item_weights is not None:
        sums = np.asarray(ratings.sum(axis=1)).ravel() / fitted.mean_sum
        damping = BM25_K * (1 - BM25_B + BM25_B * np.repeat(sums, np.diff(ratings.indptr)))
        saturated = result.data * (BM25_K + 1) / (result.data + damping)
        result.data = (saturated * fitted.item_weights[result.indices]).astype(np.float32)
    return result
