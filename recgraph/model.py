"""Factors -> scores -> lists: what a trained model is asked, in NumPy.

Arrays have users in rows and items in columns; ``seen`` items come as ragged rows, that is
``offsets`` of shape ``(n_users + 1,)`` into a flat array ``items``, as in a CSR matrix.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from recgraph.errors import ModelError

Floats = NDArray[np.float32]
Ints = NDArray[np.integer]
Matrix: TypeAlias = Any
"""A sparse matrix, `scipy.sparse.csr_matrix`; SciPy has no types."""

BLOCK = 64
"""Items per block of `top_k`: the row of maxima is then 1/64 of the scores."""


def offsets_of(lengths: Ints | list[int]) -> Ints:
    """Where rows of these lengths begin in one flat array, and end: ``(n_rows + 1,)``."""
    return np.concatenate(([0], np.cumsum(lengths)))


class Ragged(NamedTuple):
    """Rows of different lengths: row u is ``items[offsets[u]:offsets[u + 1]]``."""

    offsets: Ints
    items: Ints

    @classmethod
    def from_rows(cls, rows: Ints, items: Ints, n_rows: int) -> "Ragged":
        """The rows of elements that come in any order; those of one row keep theirs."""
        counts = np.bincount(rows, minlength=n_rows)
        order = np.argsort(rows, kind="stable")
        return cls(offsets_of(counts), items[order])

    @classmethod
    def of(cls, matrix: Matrix) -> "Ragged":
        """Where the entries of a CSR matrix are."""
        return cls(matrix.indptr, matrix.indices)

    def rows(self) -> NDArray[np.int64]:
        """The row of each element of ``items``."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def matrix(self, n_items: int, values: Floats | None = None) -> Matrix:
        """The same as a matrix ``(n_rows, n_items)``, with 1 or a value of its own each."""
        data = np.ones(len(self.items), np.float32) if values is None else values
        shape = (len(self.offsets) - 1, n_items)
        return sparse.csr_matrix((data, self.items, self.offsets), shape=shape)


class TopK(NamedTuple):
    """Lists of at most k items a user, best first; both arrays have shape ``(n_users, k)``."""

    items: NDArray[np.int64]
    """Item indices; -1 where a list is shorter than k."""
    scores: Floats
    """Their scores; -inf where a list is shorter than k."""


def score_users(user_factors: Floats, item_factors: Floats) -> Floats:
    """Scores of every item for each user, float32 ``(n_users, n_items)``: one matrix product."""
    return user_factors @ item_factors.T


def mask(scores: Floats, seen: Ragged) -> Floats:
    """The scores with -inf at what each user has seen; changes ``scores`` in place."""
    scores[seen.rows(), seen.items] = -np.inf
    return scores


def top_k(scores: Floats, k: int) -> TopK:
    """The k best items of each row, exactly; equal scores go to the smaller item index.

    Sorting or partitioning each row is what costs. The k-th largest of the maxima of blocks of
    items is a lower bound of the k-th largest score, so only blocks whose maximum reaches it can
    hold a winner: about k blocks of a row, whatever the number of items.
    `top_k_by_sorting` is the plain form of the same.
    """
    n_users, n_items = scores.shape
    n_blocks = -(-n_items // BLOCK)
    if n_blocks <= k:
        return top_k_by_sorting(scores, k)
    n_whole = n_items // BLOCK
    maxima = np.empty((n_users, n_blocks), np.float32)
    whole = scores[:, : n_whole * BLOCK].reshape(n_users, n_whole, BLOCK)
    np.max(whole, axis=2, out=maxima[:, :n_whole])
    if n_whole < n_blocks:
        np.max(scores[:, n_whole * BLOCK :], axis=1, out=maxima[:, n_whole])
    threshold = np.partition(maxima, n_blocks - k, axis=1)[:, n_blocks - k]
    rows, blocks = np.nonzero(maxima >= threshold[:, None])
    items = blocks[:, None] * BLOCK + np.arange(BLOCK)
    values = scores[rows[:, None], np.minimum(items, n_items - 1)]
    keep = (values >= threshold[rows, None]) & (items < n_items) & (values > -np.inf)
    return first_k(
        np.broadcast_to(rows[:, None], keep.shape)[keep], items[keep], values[keep], n_users, k
    )


def top_k_by_sorting(scores: Floats, k: int) -> TopK:
    """The k best items of each row by sorting whole rows: the readable reference."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    items = np.full((len(scores), k), -1, np.int64)
    values = np.full((len(scores), k), -np.inf, np.float32)
    items[:, : order.shape[1]] = order
    values[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
    items[values == -np.inf] = -1
    return TopK(items, values)


def first_k(rows: Ints, items: Ints, values: Floats, n_users: int, k: int) -> TopK:
    """The k best candidates of each row; candidates come as flat arrays."""
    order = np.lexsort((items, -values, rows))
    rows, items, values = rows[order], items[order], values[order]
    starts = np.searchsorted(rows, np.arange(n_users))
    positions = np.arange(len(rows)) - starts[rows]
    first = positions < k
    top = TopK(np.full((n_users, k), -1, np.int64), np.full((n_users, k), -np.inf, np.float32))
    top.items[rows[first], positions[first]] = items[first]
    top.scores[rows[first], positions[first]] = values[first]
    return top


def fold_in_users(
    item_factors: Floats,
    ratings: Matrix,
    *,
    regularization: float,
    alpha: float | None = None,
    exponent: float = 1.0,
    gram: Floats | None = None,
) -> Floats:
    """Factors of users, float32 ``(n_users, n_factors)``, with the items held fixed.

    One exact half-step of ALS; with users and items exchanged it is the other half. It solves
    ``(G + sum w y y' + regularization * n^exponent I) x = sum p y`` for each user, where n is the
    number of its ratings. Explicit feedback: G = 0, w = 1, p = the rating. Implicit feedback,
    with ``alpha``: G = Y'Y, w = alpha * rating, p = 1 + w. A user without ratings gets zeros.

    Parameters
    ----------
    item_factors
        ``(n_items, n_factors)``.
    ratings
        ``(n_users, n_items)``; an entry of 0 is a rating of 0.
    alpha
        Implicit feedback: confidence = 1 + alpha * rating.
    exponent
        How the penalty grows with the number of ratings: 1 as Spark's (ALS-WR), 0 not at all.
    gram
        Y'Y of all items, where it is known already.

    Raises
    ------
    ModelError
        Without regularization, somebody's ratings do not determine the factors.

    References
    ----------
    Hu, Koren and Volinsky (2008), equation 4; Zhou et al. (2008), section 3.1.
    """
    n_factors = item_factors.shape[1]
    if alpha is None:
        gram = np.zeros((n_factors, n_factors), np.float32)
    elif gram is None:
        gram = item_factors.T @ item_factors
    users = np.zeros((ratings.shape[0], n_factors), np.float32)
    for user in np.flatnonzero(np.diff(ratings.indptr)):
        entries = slice(*ratings.indptr[user : user + 2])
        near = item_factors[ratings.indices[entries]]
        values = ratings.data[entries].astype(np.float32)
        weights, wanted = (1, values) if alpha is None else (alpha * values, 1 + alpha * values)
        normal = gram + (near.T * weights) @ near
        normal.flat[:: n_factors + 1] += regularization * len(values) ** exponent
        users[user] = _solve(normal, near.T @ wanted)
    return users


def _solve(normal: Floats, right: Floats) -> Floats:
    """The solution of a symmetric positive definite system; ``normal`` is lost."""
    # Transposed it is in the order of LAPACK, which then needs no copy.
    _, solution, trouble = lapack.sposv(normal.T, right, overwrite_a=True)
    if trouble:  # no penalty, and too few ratings to do without one
        message = (
            "a user's factors cannot be solved for: the regularization is 0 or too near to it. "
            "Raise RECGRAPH_REGULARIZATION."
        )
        raise ModelError(message)
    found: Floats = solution
    return found
