"""Lists and predictions against what happened: RMSE, MAE, nDCG, recall, coverage, Gini.

Ranking metrics rank all items, with no sampled candidates; a figure is a mean over the users
who have at least one relevant item.

References
----------
Järvelin and Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques.
"""

import numpy as np
from numpy.typing import NDArray

from recgraph.model import Ints, Ragged

Floats64 = NDArray[np.float64]


def hits(lists: Ints, relevant: Ragged, *, n_items: int) -> NDArray[np.bool_]:
    """Which places of the lists hold a relevant item: bool, the shape of ``lists``.

    Parameters
    ----------
    lists
        Item indices ``(n_users, k)``, best first, -1 where a list is shorter.
    relevant
        Distinct relevant items of each user.
    n_items
        Number of items; every index is below it.
    """
    keys = lists + np.arange(len(lists))[:, None] * n_items
    return np.isin(keys, relevant.rows() * n_items + relevant.items) & (lists >= 0)


def ndcg(hit: NDArray[np.bool_], n_relevant: Ints) -> Floats64:
    """NDCG at k of each user, 0 to 1: DCG with 1 / log2(rank + 1) over that of the ideal list.

    Parameters
    ----------
    hit
        `hits` of the lists, ``(n_users, k)``.
    n_relevant
        Relevant items of each user, at least 1.
    """
    k = hit.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]
    result: Floats64 = hit @ discounts / ideal
    return result


def recall(hit: NDArray[np.bool_], n_relevant: Ints) -> Floats64:
    """Recall at k of each user, 0 to 1: relevant items in the list / all relevant items."""
    result: Floats64 = hit.sum(axis=1) / n_relevant
    return result


def rmse(errors: Floats64) -> float:
    """Root of the mean squared error, in the unit of the errors."""
    return float(np.sqrt(np.mean(np.square(errors))))


def mae(errors: Floats64) -> float:
    """Mean absolute error, in the unit of the errors."""
    return float(np.mean(np.abs(errors)))


def gini(counts: Ints) -> float:
    """Gini coefficient of non-negative counts: 0 when all are equal, towards 1 when one has all.

    References
    ----------
    Damgaard and Weiner (2000), Describing inequality in plant size or fecundity.
    """
    ordered = np.sort(counts).astype(np.float64)
    total = ordered.sum()
    if total == 0:
        return 0.0
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def top_share(counts: Ints, *, share: float = 0.01) -> float:
    """Share of the sum of the counts that the largest ``share`` of them holds, 0 to 1."""
    total = counts.sum()
    n_top = max(1, round(len(counts) * share))
    return float(np.sort(counts)[-n_top:].sum() / total) if total else 0.0
