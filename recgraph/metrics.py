"""Lists and predictions against what happened; docs/metrics.md has every definition in one place.

Lists: nDCG, recall, precision, average precision, reciprocal rank and hit rate, a value a user,
from one array of hits. All items are ranked, with no sampled candidates; a figure is the mean over
the users who have at least one relevant item, with a bootstrap interval over those users.
Catalogue: coverage, novelty, Gini and the share of the top, from how often each item was
recommended. Predictions: RMSE and MAE.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recgraph.model import Floats, Ints, Ragged

Floats64 = NDArray[np.float64]
Hits = NDArray[np.bool_]
"""Which places of the lists hold a relevant item, ``(n_users, k)``, best first."""

_BLOCK_BYTES = 16 * 2**20
"""What `bootstrap_interval` holds of its samples at once."""


class ByUser(NamedTuple):
    """The ranking metrics of each user, ``(n_users,)`` each and 0 to 1."""

    ndcg: Floats64
    recall: Floats64
    precision: Floats64
    map: Floats64
    """Average precision; its mean is called MAP."""
    mrr: Floats64
    """Reciprocal rank; its mean is called MRR."""
    hit_rate: Floats64


class OfLists(NamedTuple):
    """What lists are like, whether they hit or not."""

    coverage: float
    novelty: float
    gini: float
    top_share: float


class Interval(NamedTuple):
    """The two ends of a confidence interval."""

    low: float
    high: float


def hits(lists: Ints, relevant: Ragged, *, n_items: int) -> Hits:
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


def ranking_by_user(hit: Hits, n_relevant: Ints) -> ByUser:
    """All ranking metrics of each user.

    Parameters
    ----------
    hit
        `hits` of the lists, ``(n_users, k)``.
    n_relevant
        Relevant items of each user, at least 1.
    """
    return ByUser(
        ndcg(hit, n_relevant),
        recall(hit, n_relevant),
        precision(hit),
        average_precision(hit, n_relevant),
        reciprocal_rank(hit),
        hit_rate(hit),
    )


def ndcg(hit: Hits, n_relevant: Ints) -> Floats64:
    """NDCG at k of each user: DCG with 1 / log2(rank + 1) over that of the ideal list.

    The ideal list begins with min(n_relevant, k) hits.

    References
    ----------
    Järvelin and Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques.
    """
    k = hit.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]
    result: Floats64 = hit @ discounts / ideal
    return result


def recall(hit: Hits, n_relevant: Ints) -> Floats64:
    """Recall at k of each user: relevant items in the list / all relevant items."""
    result: Floats64 = hit.sum(axis=1) / n_relevant
    return result


def precision(hit: Hits) -> Floats64:
    """Precision at k of each user: relevant items in the list / k, even where it is shorter."""
    result: Floats64 = hit.sum(axis=1) / hit.shape[1]
    return result


def average_precision(hit: Hits, n_relevant: Ints) -> Floats64:
    """Average precision at k of each user: precisions at the hits / min(n_relevant, k).

    So the ideal list has 1 for every k. Others divide by ``n_relevant``, as trec_eval does.

    References
    ----------
    Manning, Raghavan and Schütze (2008), Introduction to information retrieval, section 8.4.
    """
    k = hit.shape[1]
    precisions = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    result: Floats64 = (precisions * hit).sum(axis=1) / np.minimum(n_relevant, k)
    return result


def reciprocal_rank(hit: Hits) -> Floats64:
    """1 / rank of the first hit of each user, 0 without one in the list.

    References
    ----------
    Voorhees (1999), The TREC-8 question answering track report.
    """
    ranks: Ints = hit.argmax(axis=1) + 1
    return hit_rate(hit) / ranks


def hit_rate(hit: Hits) -> Floats64:
    """1 for each user with a hit in the list, else 0."""
    result: Floats64 = (np.count_nonzero(hit, axis=1) > 0).astype(np.float64)
    return result


def rmse(errors: Floats64) -> float:
    """Root of the mean squared error, in the unit of the errors."""
    return float(np.sqrt(np.mean(np.square(errors))))


def mae(errors: Floats64) -> float:
    """Mean absolute error, in the unit of the errors."""
    return float(np.mean(np.abs(errors)))


def coverage(counts: Ints) -> float:
    """Share of the items that stand in at least one list, 0 to 1.

    Parameters
    ----------
    counts
        How often each item was recommended, ``(n_items,)``; so in the other metrics of lists.
    """
    return float(np.mean(counts > 0))


def novelty(counts: Ints, popularity: Floats, *, n_users: int) -> float:
    """Mean self-information of the recommended places in bits, 0 to log2(n_users).

    An item says -log2(share of the users who have it): nothing when everybody does. One that
    nobody has is taken for one that a single user has. Without any recommendation it is 0.

    Parameters
    ----------
    counts
        How often each item was recommended, ``(n_items,)``.
    popularity
        Users who have each item in training, ``(n_items,)``.
    n_users
        Users of the training.

    References
    ----------
    Zhou et al. (2010), Solving the apparent diversity-accuracy dilemma of recommender systems;
    Vargas and Castells (2011), Rank and relevance in novelty and diversity metrics for
    recommender systems.
    """
    total = counts.sum()
    bits = -np.log2(np.maximum(popularity, 1).astype(np.float64) / n_users)
    return float(counts @ bits / total) if total else 0.0


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


def list_metrics(counts: Ints, popularity: Floats, *, n_users: int) -> OfLists:
    """All metrics of lists that no answer is needed for.

    Parameters
    ----------
    counts
        How often each item is recommended, ``(n_items,)``.
    popularity, n_users
        As `novelty` takes them.
    """
    return OfLists(
        coverage(counts),
        novelty(counts, popularity, n_users=n_users),
        gini(counts),
        top_share(counts),
    )


def bootstrap_interval(
    values: Floats64,
    *,
    weights: Floats64 | None = None,
    n_samples: int = 1000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    """The percentile bootstrap interval of a mean over users.

    The users are drawn again, with replacement, ``n_samples`` times. The interval does not depend
    on their order. Time grows with the distinct values: 100,000 users take a fraction of a second
    with nDCG, but some ten seconds where no two values are equal.

    Parameters
    ----------
    values
        What is averaged, one a user; at least one.
    weights
        How much each user counts; then the figure is sum(values) / sum(weights).
    n_samples
        Samples that are drawn.
    level
        Share of the samples' figures that lie between the two ends.
    seed
        The same seed and values give the same interval.

    References
    ----------
    Efron and Tibshirani (1993), An introduction to the bootstrap, chapter 13.
    """
    pairs = np.stack([values, np.ones(len(values)) if weights is None else weights])
    # A sample draws how often each distinct value comes up, which is far less than all users.
    distinct, n_equal = np.unique(pairs, axis=1, return_counts=True)
    draws = _resample(n_equal, n_samples, np.random.default_rng(seed))
    sums = np.concatenate([counts @ distinct.T for counts in draws])
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _resample(n_equal: Ints, n_samples: int, rng: np.random.Generator) -> Iterator[Ints]:
    """How often each distinct value is drawn, ``(samples, n_distinct)``, in bounded blocks."""
    n = n_equal.sum()
    at_once = max(1, _BLOCK_BYTES // (8 * len(n_equal)))
    for start in range(0, n_samples, at_once):
        yield rng.multinomial(n, n_equal / n, size=min(at_once, n_samples - start))


def rmse_interval(
    errors: Floats64,
    *,
    users: Ints | None = None,
    n_samples: int = 1000,
    level: float = 0.95,
    seed: int,
) -> Interval:
    """The percentile bootstrap interval of `rmse`.

    Parameters
    ----------
    errors
        One a pair.
    users
        User index of each pair: then users are drawn again, each with all its pairs, for the
        errors of one user go together. Without it pairs are drawn.
    n_samples, level, seed
        As in `bootstrap_interval`.
    """
    squared, weights = np.square(errors), None
    if users is not None:
        _, rows = np.unique(users, return_inverse=True)
        squared, weights = np.bincount(rows, squared), np.bincount(rows).astype(np.float64)
    low, high = bootstrap_interval(
        squared, weights=weights, n_samples=n_samples, level=level, seed=seed
    )
    return Interval(low**0.5, high**0.5)
