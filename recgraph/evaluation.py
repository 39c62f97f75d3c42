"""One block of test users -> how each recommender did for each of them, in NumPy.

Two tasks: ``next_basket`` (what will be bought, repeats allowed) and ``new_items`` (what will be
bought for the first time; bought items masked). Beside the model stand its parts one by one, and
the baselines a careful person would try by hand: what most users bought, what most bought lately,
and for ``next_basket`` what the user bought most. `recommenders` names them all.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np

from recgraph import blend, metrics
from recgraph.biases import without_taste
from recgraph.blend import Coefficients
from recgraph.fallback import popularity_of
from recgraph.lists import Rules, choose
from recgraph.model import Floats, Ints, Matrix, Ragged, offsets_of
from recgraph.scores import Scores, same_for_all

Task = Literal["next_basket", "new_items"]

REPEATS = "repeats"
POPULAR = "popular"
RECENT = "recent"
ALS = "als"
CONSTANT = "constant"
BIASES = "biases"


class Block(NamedTuple):
    """Users of the test period with what was known of them before it."""

    users: Ints
    """User indices, ``(n_users,)``."""
    signals: blend.Users
    """What the model needs of them."""
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

    signals: blend.Items
    """What the model knows of them."""
    popularity: Floats
    """Users who have each item in training, ``(n_items,)``."""
    recent: Floats
    """Those of them who had it in the last days of training, ``(n_items,)``."""
    rules: Rules | None = None
    """How the model's lists are made from its scores; None, the k best."""


class Recommender(NamedTuple):
    """A way to score items, and the tasks that it is measured on."""

    scores: Callable[[Block, Items], Scores]
    tasks: tuple[Task, ...] = ("next_basket", "new_items")
    by_rules: bool = False
    """Its lists are made as those that are published."""


class Ranked(NamedTuple):
    """One recommender's lists on one task, for the users who have something relevant."""

    task: Task
    recommender: str
    lists: Ints
    """Item indices ``(n_users, k)``, best first, -1 where a list is shorter."""
    hit: metrics.Hits
    """Which places of the lists hold a relevant item."""
    n_relevant: Ints
    """Relevant items of each user, at least 1."""


class Errors(NamedTuple):
    """One predictor's errors over the pairs of a block."""

    predictor: str
    users: Ints
    """Which user of the block each pair is of, from 0."""
    errors: metrics.Floats64


def scores_of(coefficients: Coefficients) -> Callable[[Block, Items], Scores]:
    """How the model scores with these coefficients."""
    return lambda block, items: blend.score(block.signals, items.signals, coefficients)


def score_popular(block: Block, items: Items) -> Scores:
    """How many users have the item: the same list for everybody."""
    return same_for_all(items.popularity, len(block.users))


def score_recent(block: Block, items: Items) -> Scores:
    """How many users had the item lately; equal ones by popularity."""
    return same_for_all(popularity_of(items.popularity, items.recent), len(block.users))


def score_repeats(block: Block, items: Items) -> Scores:
    """What the user bought most; equal ones, and the rest, by popularity."""
    own = block.seen.matrix(len(items.popularity), block.seen_ratings)
    return repeats_first(own, items.popularity)


def repeats_first(own: Matrix, popularity: Floats) -> Scores:
    """What users have of their own, ``(n_users, n_items)``; equal ones by popularity."""
    below_one = popularity / (popularity.max() + 1)
    return same_for_all(below_one, own.shape[0])._replace(added=own)


BASELINES: Mapping[str, Recommender] = {
    POPULAR: Recommender(score_popular),
    RECENT: Recommender(score_recent),
    # Once bought items are masked, repeats is the popular list.
    REPEATS: Recommender(score_repeats, tasks=("next_basket",)),
}
"""What needs no model, by the name that reports show."""


def recommenders(coefficients: Coefficients) -> dict[str, Recommender]:
    """Everything that is measured, by name: the blend, its parts one by one, and the baselines.

    Content alone is not: it speaks of what nobody bought before, where nothing can be found. What
    counts the user's own purchases is measured on ``next_basket`` only: on ``new_items`` they are
    masked.
    """
    on = [name for name in blend.PARTS if getattr(coefficients, name)]
    new = [name for name in on if name != blend.REPEAT]
    alone = [[name] for name in new if name != blend.CONTENT]
    found = {
        "+".join(names): Recommender(scores_of(blend.only(coefficients, names)), by_rules=True)
        for names in (new, *alone)
    }
    if blend.REPEAT in on:
        both = scores_of(coefficients)
        found[blend.source_of(coefficients)] = Recommender(
            both, tasks=("next_basket",), by_rules=True
        )
    return {**found, **BASELINES}


def rank_block(
    block: Block,
    items: Items,
    *,
    k: int,
    recommenders: Mapping[str, Recommender],
) -> Iterator[Ranked]:
    """The lists of every recommender on its tasks, with their hits."""
    n_items = len(items.popularity)
    new, seen = without(block.test, block.seen, n_items=n_items), block.seen.matrix(n_items)
    for name, recommender in recommenders.items():
        scores = recommender.scores(block, items)
        rules = items.rules if recommender.by_rules and items.rules else Rules(k)
        if "next_basket" in recommender.tasks:
            yield _ranked("next_basket", name, scores, block.test, rules)
        if "new_items" in recommender.tasks:
            yield _ranked("new_items", name, scores._replace(left_out=seen), new, rules)


def _ranked(task: Task, recommender: str, scores: Scores, relevant: Ragged, rules: Rules) -> Ranked:
    lists = choose(scores, rules).items
    hit = metrics.hits(lists, relevant, n_items=scores.shape[1])
    n_relevant = np.diff(relevant.offsets)
    asked = n_relevant > 0
    return Ranked(task, recommender, lists[asked], hit[asked], n_relevant[asked])


def without(rows: Ragged, other: Ragged, *, n_items: int) -> Ragged:
    """The elements of ``rows`` that the same row of ``other`` does not have."""
    keys = rows.rows() * n_items + rows.items
    keep = ~np.isin(keys, other.rows() * n_items + other.items)
    return Ragged.from_rows(rows.rows()[keep], rows.items[keep], len(rows.offsets) - 1)


class Scale(NamedTuple):
    """The ratings of the training period."""

    mean: float
    lowest: float
    highest: float


def predict_explicit(block: Block, items: Items, scale: Scale) -> list[Errors]:
    """Errors on the ratings of the test period: of the model, of its biases and of the mean.

    Predictions are clipped to the scale.
    """
    users = block.signals.factors
    bare = block._replace(signals=block.signals._replace(factors=without_taste(users)))
    actual = block.test_ratings.astype(np.float64)
    of = block.test.rows()
    return [
        Errors(name, of, np.clip(_predict(each, items, block.test), *scale[1:]) - actual)
        for name, each in ((ALS, block), (BIASES, bare))
    ] + [Errors(CONSTANT, of, scale.mean - actual)]


def predict_implicit(block: Block, items: Items, *, seed: int) -> list[Errors]:
    """Errors against 1 on test purchases and 0 on as many seeded sampled non-purchases.

    The best constant for such a half-and-half set is 0.5.
    """
    negatives = sample_negatives(block, n_items=len(items.popularity), seed=seed)
    errors = np.concatenate(
        [_predict(block, items, block.test) - 1.0, _predict(block, items, negatives)]
    )
    of = np.concatenate([block.test.rows(), negatives.rows()])
    return [Errors(ALS, of, errors), Errors(CONSTANT, of, np.full(len(errors), 0.5))]


def _predict(block: Block, items: Items, pairs: Ragged) -> metrics.Floats64:
    users, chosen = block.signals.factors[pairs.rows()], items.signals.factors[pairs.items]
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
    offsets = offsets_of([len(items) for items in sampled])
    return Ragged(offsets, np.concatenate(sampled).astype(np.int64))


def _row(rows: Ragged, row: int) -> Ints:
    return rows.items[rows.offsets[row] : rows.offsets[row + 1]]
