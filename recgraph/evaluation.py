"""One block of test users -> how each recommender did for each of them, in NumPy.

Two tasks: ``next_basket`` (what will be bought, repeats allowed) and ``new_items`` (what will be
bought for the first time; bought items masked). Beside the model stand the baselines a careful
person would try by hand: the popular list, and for ``next_basket`` what the user bought most.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from recgraph import metrics
from recgraph.model import Floats, Ints, Ragged, mask, score_users, top_k

Task = Literal["next_basket", "new_items"]

REPEATS = "repeats"
POPULAR = "popular"
ALS = "als"
CONSTANT = "constant"


class Block(NamedTuple):
    """Users of the test period with what was known of them before it."""

    users: Ints
    """User indices, ``(n_users,)``."""
    factors: Floats
    """``(n_users, n_factors)``."""
    seen: Ragged
    """Distinct items of the training period."""
    seen_ratings: Floats
    """Rating of each of ``seen.items``."""
    test: Ragged
    """Distinct items of the test period, all known in training."""
    test_ratings: Floats
    """Rating of each of ``test.items``."""


class Items(NamedTuple):
    """What the model and the baselines know about the items."""

    factors: Floats
    """``(n_items, n_factors)``."""
    popularity: Floats
    """Users who have each item in training, ``(n_items,)``."""


class Ranked(NamedTuple):
    """One recommender's lists on one task, for the users who have something relevant."""

    task: Task
    recommender: str
    lists: Ints
    ndcg: metrics.Floats64
    recall: metrics.Floats64


class Errors(NamedTuple):
    """One predictor's errors over the pairs of a block."""

    predictor: str
    errors: metrics.Floats64


def rank_block(block: Block, items: Items, *, k: int) -> Iterator[Ranked]:
    """The lists of every recommender on both tasks, with their metrics."""
    new = without(block.test, block.seen, n_items=len(items.popularity))
    for recommender in (ALS, POPULAR):
        yield _ranked("new_items", recommender, block, items, new, k)
    for recommender in (ALS, POPULAR, REPEATS):
        yield _ranked("next_basket", recommender, block, items, block.test, k)


def _ranked(
    task: Task, recommender: str, block: Block, items: Items, relevant: Ragged, k: int
) -> Ranked:
    scores = _scores(recommender, block, items)
    if task == "new_items":
        mask(scores, block.seen)
    lists = top_k(scores, k).items
    hit = metrics.hits(lists, relevant, n_items=len(items.popularity))
    n_relevant = np.diff(relevant.offsets)
    asked = n_relevant > 0
    hit, n_relevant = hit[asked], n_relevant[asked]
    ndcg, recall = metrics.ndcg(hit, n_relevant), metrics.recall(hit, n_relevant)
    return Ranked(task, recommender, lists[asked], ndcg, recall)


def _scores(recommender: str, block: Block, items: Items) -> Floats:
    """Scores ``(n_users, n_items)`` of one recommender."""
    if recommender == ALS:
        return score_users(block.factors, items.factors)
    scores = np.tile(items.popularity, (len(block.users), 1))
    if recommender == REPEATS:  # what the user bought most; equal ones, and the rest, by popularity
        scores /= items.popularity.max() + 1
        scores[block.seen.rows(), block.seen.items] += block.seen_ratings
    return scores


def without(rows: Ragged, other: Ragged, *, n_items: int) -> Ragged:
    """The elements of ``rows`` that the same row of ``other`` does not have."""
    keys = rows.rows() * n_items + rows.items
    keep = ~np.isin(keys, other.rows() * n_items + other.items)
    counts = np.bincount(rows.rows()[keep], minlength=len(rows.offsets) - 1)
    return Ragged(np.concatenate(([0], np.cumsum(counts))), rows.items[keep])


def predict_explicit(block: Block, items: Items, *, mean_rating: float) -> list[Errors]:
    """Errors on the ratings of the test period: of the model, and of the training mean."""
    predicted = _predict(block, items, block.test)
    return [
        Errors(ALS, predicted - block.test_ratings),
        Errors(CONSTANT, mean_rating - block.test_ratings.astype(np.float64)),
    ]


def predict_implicit(block: Block, items: Items, *, seed: int) -> list[Errors]:
    """Errors against 1 on test purchases and 0 on as many seeded sampled non-purchases.

    The best constant for such a half-and-half set is 0.5.
    """
    negatives = sample_negatives(block, n_items=len(items.popularity), seed=seed)
    errors = np.concatenate(
        [_predict(block, items, block.test) - 1.0, _predict(block, items, negatives)]
    )
    return [Errors(ALS, errors), Errors(CONSTANT, np.full(len(errors), 0.5))]


def _predict(block: Block, items: Items, pairs: Ragged) -> metrics.Floats64:
    users, chosen = block.factors[pairs.rows()], items.factors[pairs.items]
    result: metrics.Floats64 = np.einsum("pf,pf->p", users, chosen, dtype=np.float64)
    return result


def sample_negatives(block: Block, *, n_items: int, seed: int) -> Ragged:
    """As many items a user as it has test items, that the user never bought; seeded per user.

    Fewer where a user bought nearly everything.
    """
    sampled = []
    for row, user in enumerate(block.users):
        test = _row(block.test, row)
        bought = np.union1d(test, _row(block.seen, row))
        rng = np.random.default_rng([seed, int(user)])
        draws = rng.integers(0, n_items, size=4 * len(test) + 16)
        _, first = np.unique(draws, return_index=True)
        draws = draws[np.sort(first)]
        sampled.append(draws[~np.isin(draws, bought)][: len(test)])
    offsets = np.concatenate(([0], np.cumsum([len(items) for items in sampled])))
    return Ragged(offsets, np.concatenate(sampled).astype(np.int64))


def _row(rows: Ragged, row: int) -> Ints:
    return rows.items[rows.offsets[row] : rows.offsets[row + 1]]
