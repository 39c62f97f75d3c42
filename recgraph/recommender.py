"""Interactions in memory -> fitted signals -> lists: ALS and walk, blended, in this process.

The same rooms as the training on Spark (`walk`, `blend`, `model`), for data that fits in memory.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from recgraph import blend, dataset, walk
from recgraph.blend import Coefficients
from recgraph.dataset import Rows
from recgraph.engines import local
from recgraph.model import Floats, Ints, Matrix, Ragged, TopK, mask, top_k

Transform = Literal["binary", "log", "count"]

_BLOCK_BYTES = 64 * 2**20
_N_SAMPLED = 500
"""Users over whom the size of each signal is taken."""


class Choice(msgspec.Struct, frozen=True):
    """What a search chooses: how interactions are weighed, and the model's settings."""

    transform: Transform = "log"
    """What the events of a pair come to: 1, log(1 + sum), or their sum."""
    half_life_days: float | None = None
    """After so many days an event counts half."""
    n_factors: int = 64
    regularization: float = 10.0
    """Plain penalty of the local engine."""
    alpha: float = 1.0
    """Confidence = 1 + alpha * rating."""
    n_iterations: int = 10
    seed: int = 42
    walk_exponent: float = 0.5
    """How much the walk holds popular items back."""
    walk_transform: Transform = "log"
    walk_half_life_days: float | None = None
    """The same as ``half_life_days``, for the last step of the walk."""
    n_neighbours: int = 100
    als_weight: float = 1.0
    walk_weight: float = 1.0


class Signals(NamedTuple):
    """What was fitted: the item side, and each user's side."""

    items: blend.Items
    factors: Floats
    """``(n_users, n_factors)``."""
    steps: Matrix
    """First step of the walk, ``(n_users, n_items)``."""

    def users(self, rows: Ints) -> blend.Users:
        """Some users."""
        return blend.Users(self.factors[rows], self.steps[rows])


def fit_als(rows: Rows, shape: tuple[int, int], choice: Choice) -> local.Factors:
    """The factors alone."""
    return local.fit_implicit(
        weighed(rows, shape, choice.transform, choice.half_life_days),
        n_factors=choice.n_factors,
        regularization=choice.regularization,
        alpha=choice.alpha,
        n_iterations=choice.n_iterations,
        seed=choice.seed,
    )


def fit_walk(rows: Rows, shape: tuple[int, int], choice: Choice) -> tuple[Matrix, Matrix]:
    """The users' first steps, and the items' neighbours."""
    first = weighed(rows, shape, choice.walk_transform, None)
    last = weighed(rows, shape, choice.walk_transform, choice.walk_half_life_days)
    steps = walk.item_steps(first, last, exponent=choice.walk_exponent)
    sums = np.asarray(first.sum(axis=0)).ravel()
    return walk.user_steps(first, sums), walk.item_neighbours(steps, choice.n_neighbours)


def fit(rows: Rows, shape: tuple[int, int], choice: Choice) -> Signals:
    """Both signals."""
    factors = fit_als(rows, shape, choice)
    steps, neighbours = fit_walk(rows, shape, choice)
    return Signals(blend.Items(factors.items, neighbours), factors.users, steps)


def coefficients(signals: Signals, weights: Coefficients, *, seed: int) -> Coefficients:
    """What each signal is multiplied by, its size taken over seeded sampled users."""
    n_users = len(signals.factors)
    chosen = np.random.default_rng(seed).permutation(n_users)[:_N_SAMPLED]
    return blend.coefficients_from_weights(weights, signals.users(chosen), signals.items)


def weights_of(choice: Choice) -> Coefficients:
    """The weights that were chosen."""
    return Coefficients(als=choice.als_weight, walk=choice.walk_weight)


def recommend(
    signals: Signals, coefficients: Coefficients, users: Ints, *, k: int, seen: Matrix | None
) -> TopK:
    """The k best items of some users, in blocks of at most 64 MiB of scores.

    Parameters
    ----------
    seen
        Items to leave out, ``(n_users, n_items)`` of all users; None leaves none out.
    """
    return best(score_blocks(signals, coefficients, users, seen=seen), k)


def best(scores: Iterable[Floats], k: int) -> TopK:
    """The k best items of each row of scores that come block by block."""
    found = [top_k(block, k) for block in scores]
    if not found:
        return TopK(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    return TopK(*map(np.concatenate, zip(*found, strict=True)))


def blocks_of(users: Ints, n_items: int) -> Iterator[Ints]:
    """The users in blocks whose scores of all items take at most 64 MiB, one user at least."""
    n_rows = max(1, _BLOCK_BYTES // (4 * n_items))
    for start in range(0, len(users), n_rows):
        yield users[start : start + n_rows]


def score_blocks(
    signals: Signals, coefficients: Coefficients, users: Ints, *, seen: Matrix | None
) -> Iterator[Floats]:
    """Scores of every item, block of users by block; -inf for what is left out."""
    for rows in blocks_of(users, len(signals.items.factors)):
        scores = blend.score(signals.users(rows), signals.items, coefficients)
        yield scores if seen is None else mask(scores, ragged(seen[rows]))


def ragged(matrix: Matrix) -> Ragged:
    """Where the entries of a matrix are."""
    return Ragged(matrix.indptr, matrix.indices)


def weighed(
    rows: Rows, shape: tuple[int, int], transform: Transform, half_life_days: float | None
) -> Matrix:
    """The rows as ratings, after decay and transform."""
    values = None
    if half_life_days is not None and rows.times is not None:
        values = np.exp2(-dataset.ages_in_days(rows.times) / np.float32(half_life_days))
    matrix = dataset.rating_matrix(rows, shape, values)
    if transform == "log":
        matrix.data = np.log1p(matrix.data)
    elif transform == "binary" and values is None:
        matrix.data = np.ones_like(matrix.data)
    elif transform == "binary":
        matrix.data = np.minimum(matrix.data, 1)
    return matrix
