"""Factors -> scores -> lists: what a trained model is asked, in NumPy.

Arrays have users in rows and items in columns; ``seen`` items come as ragged rows, that is
``offsets`` of shape ``(n_users + 1,)`` into a flat array ``items``, as in a CSR matrix.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.integer]

_BLOCK = 64
"""Items per block of `top_k`: the row of maxima is then 1/64 of the scores."""


class Ragged(NamedTuple):
    """Rows of different lengths: row u is ``items[offsets[u]:offsets[u + 1]]``."""

    offsets: Ints
    items: Ints

    def rows(self) -> NDArray[np.int64]:
        """The row of each element of ``items``."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


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
    n_blocks = -(-n_items // _BLOCK)
    if n_blocks <= k:
        return top_k_by_sorting(scores, k)
    n_whole = n_items // _BLOCK
    maxima = np.empty((n_users, n_blocks), np.float32)
    whole = scores[:, : n_whole * _BLOCK].reshape(n_users, n_whole, _BLOCK)
    np.max(whole, axis=2, out=maxima[:, :n_whole])
    if n_whole < n_blocks:
        np.max(scores[:, n_whole * _BLOCK :], axis=1, out=maxima[:, n_whole])
    threshold = np.partition(maxima, n_blocks - k, axis=1)[:, n_blocks - k]
    rows, blocks = np.nonzero(maxima >= threshold[:, None])
    items = blocks[:, None] * _BLOCK + np.arange(_BLOCK)
    values = scores[rows[:, None], np.minimum(items, n_items - 1)]
    keep = (values >= threshold[rows, None]) & (items < n_items) & (values > -np.inf)
    return _first_k(
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


def _first_k(rows: Ints, items: Ints, values: Floats, n_users: int, k: int) -> TopK:
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
