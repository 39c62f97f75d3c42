"""Interactions in memory -> fitted signals -> lists: ALS, walk and repeats, in this process.

The same rooms as the training on Spark (`walk`, `blend`, `model`), for data that fits in memory.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from recgraph import blend, dataset, repeats, transforms, walk
from recgraph.blend import Coefficients
from recgraph.dataset import Rows
from recgraph.engines import local
from recgraph.model import Floats, Ints, Matrix, TopK, fold_in_users
from recgraph.scores import joined
from recgraph.transforms import Transform

_BLOCK_BYTES = 64 * 2**20
_N_SAMPLED = 500
"""Users over whom the size of each signal is taken."""
_LEAST_RATING = np.float32(1e-6)
"""What is left of a rating that decayed to nothing: the pair stays an interaction."""


class Choice(msgspec.Struct, frozen=True):
    """What a search chooses: how interactions are weighed, and the model's settings.

    The fields are the settings of the same names, if not said otherwise.
    """

    transform: Transform = "log"
    cap: float = 0.95
    """``rating_cap``."""
    half_life_days: float | None = None
    n_factors: int = 64
    regularization: float = 10.0
    """Times the number of ratings to the power of ``exponent``."""
    exponent: float = 0.0
    """``local_exponent``; with 1, ``regularization`` is Spark's."""
    alpha: float = 1.0
    n_iterations: int = 10
    seed: int = 42
    als_weight: float = 1.0
    walk_weight: float = 1.0
    walk_exponent: float = 0.5
    walk_half_life_days: float | None = None
    n_neighbours: int = 100
    """``walk_neighbours``."""
    repeat_weight: float = 0.0
    """0 where lists leave out what is bought already."""
    repeat_half_life_days: float | None = None


class Signals(NamedTuple):
    """What was fitted: the item side, and each user's side."""

    items: blend.Items
    factors: Floats
    """``(n_users, n_factors)``."""
    steps: Matrix
    """First step of the walk, ``(n_users, n_items)``."""
    repeats: Matrix | None = None
    """Own purchases, `recgraph.repeats.strengths`, ``(n_users, n_items)``."""

    def users(self, rows: Ints) -> blend.Users:
        """Some users."""
        repeats = None if self.repeats is None else self.repeats[rows]
        return blend.Users(self.factors[rows], self.steps[rows], repeats)


def fit_als(rows: Rows, shape: tuple[int, int], choice: Choice) -> local.Factors:
    """The factors alone, users exactly one half-step from the items."""
    ratings = als_ratings(rows, shape, choice)
    items = fit_items(ratings, choice)
    return local.Factors(users_of(items, ratings, choice), items)


def als_ratings(rows: Rows, shape: tuple[int, int], choice: Choice) -> Matrix:
    """The ratings that ALS is given, ``(n_users, n_items)``."""
    ratings = weighed(rows, shape, choice.half_life_days)
    fitted = transforms.fit(ratings, choice.transform, cap=choice.cap)
    return transforms.transformed(ratings, fitted)


def fit_items(ratings: Matrix, choice: Choice) -> Floats:
    """The item factors, ``(n_items, n_factors)``."""
    return local.fit_items(
        ratings,
        n_factors=choice.n_factors,
        regularization=choice.regularization,
        exponent=choice.exponent,
        alpha=choice.alpha,
        n_iterations=choice.n_iterations,
        seed=choice.seed,
    )


def users_of(items: Floats, ratings: Matrix, choice: Choice) -> Floats:
    """The factors of some users, by one exact half-step."""
    return fold_in_users(
        items,
        ratings,
        regularization=choice.regularization,
        alpha=choice.alpha,
        exponent=choice.exponent,
    )


def walk_ratings(rows: Rows, shape: tuple[int, int], choice: Choice) -> tuple[Matrix, Matrix]:
    """The ratings of the first and of the last step of the walk, as logarithms."""
    bought = rows.bought()
    first = weighed(bought, shape, choice.half_life_days)
    return first.log1p(), _found_lately(bought, shape, choice.walk_half_life_days).log1p()


def _found_lately(rows: Rows, shape: tuple[int, int], half_life_days: float | None) -> Matrix:
    """The share that the first purchase of each pair still has; else what the rows come to."""
    matrix = weighed(rows, shape, None)
    if half_life_days is not None and rows.times is not None:
        ages = _ages_of_pairs(rows.purchases(), shape, np.maximum)
        shares = np.exp2(-ages / np.float32(half_life_days))
        matrix.data = np.maximum(shares, _LEAST_RATING)
    return matrix


def own_purchases(rows: Rows, shape: tuple[int, int], choice: Choice) -> Matrix:
    """What each user bought, `recgraph.repeats.strengths`, ``(n_users, n_items)``."""
    bought, half_life_days = rows.bought(), choice.repeat_half_life_days
    own = weighed(bought, shape, half_life_days)
    if bought.times is not None:
        silent = _ages_of_pairs(bought.purchases(), shape, np.minimum)
        own.data = repeats.strengths(own.data, silent, half_life_days)
    return own


def fit_again(rows: Rows, shape: tuple[int, int], choice: Choice) -> Floats | None:
    """What each item adds to the repeats of its buyers; None without times."""
    bought = rows.purchases()
    if bought.times is None or not len(bought.times):
        return None
    is_early = dataset.ages_in_days(bought.times) >= repeats.AGAIN_DAYS
    values = _decayed(bought, choice.repeat_half_life_days)
    early = dataset.rating_matrix(bought.where(is_early), shape, values[is_early])
    late = dataset.rating_matrix(bought.where(~is_early), shape).astype(bool)
    kept = early.multiply(late)
    return repeats.again(*(np.asarray(each.sum(axis=0)).ravel() for each in (early, kept)))


def _ages_of_pairs(rows: Rows, shape: tuple[int, int], which: np.ufunc) -> Floats:
    """Days since the last (`numpy.minimum`) or the first (`numpy.maximum`) row of each pair.

    In the order of the entries of `dataset.rating_matrix`.
    """
    assert rows.times is not None  # those who ask have looked
    if not len(rows.times):
        return np.empty(0, np.float32)
    keys = rows.users.astype(np.int64) * shape[1] + rows.items
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    ages: Floats = which.reduceat(dataset.ages_in_days(rows.times)[order], starts)
    return ages


def fit_walk(rows: Rows, shape: tuple[int, int], choice: Choice) -> tuple[Matrix, Matrix]:
    """The users' first steps, and the items' neighbours."""
    first, last = walk_ratings(rows, shape, choice)
    steps = walk.item_steps(first, last, exponent=choice.walk_exponent)
    sums = np.asarray(first.sum(axis=0)).ravel()
    return walk.user_steps(first, sums), walk.item_neighbours(steps, choice.n_neighbours)


def fit(rows: Rows, shape: tuple[int, int], choice: Choice) -> Signals:
    """All signals."""
    factors = fit_als(rows, shape, choice)
    steps, neighbours = fit_walk(rows, shape, choice)
    items = blend.Items(factors.items, neighbours)
    if not choice.repeat_weight:
        return Signals(items, factors.users, steps)
    items = items._replace(again=fit_again(rows, shape, choice))
    return Signals(items, factors.users, steps, own_purchases(rows, shape, choice))


def fold_in(
    signals: Signals, train: Rows, history: Rows, shape: tuple[int, int], choice: Choice
) -> Signals:
    """The signals of the users of ``history``, whom the model of ``train`` has never seen.

    The items stay as they were fitted; the rows of all other users are empty.
    """
    fitted = transforms.fit(
        weighed(train, shape, choice.half_life_days), choice.transform, cap=choice.cap
    )
    ratings = weighed(history, shape, choice.half_life_days)
    factors = users_of(signals.items.factors, transforms.transformed(ratings, fitted), choice)
    sums = np.asarray(walk_ratings(train, shape, choice)[0].sum(axis=0)).ravel()
    steps = walk.user_steps(walk_ratings(history, shape, choice)[0], sums)
    own = own_purchases(history, shape, choice) if choice.repeat_weight else None
    return Signals(signals.items, factors, steps, own)


def coefficients(signals: Signals, weights: Coefficients, *, seed: int) -> Coefficients:
    """What each signal is multiplied by, its size taken over seeded sampled users."""
    n_users = len(signals.factors)
    chosen = np.random.default_rng(seed).permutation(n_users)[:_N_SAMPLED]
    return blend.coefficients_from_weights(weights, signals.users(chosen), signals.items)


def weights_of(choice: Choice) -> Coefficients:
    """The weights that were chosen."""
    return Coefficients(als=choice.als_weight, walk=choice.walk_weight, repeat=choice.repeat_weight)


def recommend(
    signals: Signals, coefficients: Coefficients, users: Ints, *, k: int, seen: Matrix | None
) -> TopK:
    """The k best items of some users, in blocks of as many as `blocks_of` says.

    Parameters
    ----------
    seen
        Items to leave out, ``(n_users, n_items)`` of all users; None leaves none out.
    """
    found = []
    for rows in blocks_of(users, len(signals.items.factors)):
        scores = blend.score(signals.users(rows), signals.items, coefficients)
        found.append(scores._replace(left_out=None if seen is None else seen[rows]).top_k(k))
    return joined(found, k)


def blocks_of(users: Ints, n_items: int) -> Iterator[Ints]:
    """The users in blocks whose scores of all items take at most 64 MiB, one user at least.

    So much, and some copies of it, may be what walk and repeats add.
    """
    n_rows = max(1, _BLOCK_BYTES // (4 * n_items))
    for start in range(0, len(users), n_rows):
        yield users[start : start + n_rows]


def weighed(rows: Rows, shape: tuple[int, int], half_life_days: float | None) -> Matrix:
    """What the rows come to by pair, old ones counting less; above 0."""
    matrix = dataset.rating_matrix(rows, shape, _decayed(rows, half_life_days))
    matrix.data = np.maximum(matrix.data, _LEAST_RATING)
    return matrix


def _decayed(rows: Rows, half_life_days: float | None) -> Floats:
    """What each row counts by its age."""
    if half_life_days is None or rows.times is None or not len(rows.times):
        return rows.ratings
    shares: Floats = np.exp2(-dataset.ages_in_days(rows.times) / np.float32(half_life_days))
    return rows.ratings * shares
