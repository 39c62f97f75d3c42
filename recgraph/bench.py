"""A choice of settings -> how well it foretells what is held out: where all tries are measured.

The scores are exact: the walk is not cut to the strongest neighbours. What is held in memory is,
for each of ALS and walk, a score of every item for each validation user.
"""

import itertools
import time
from collections.abc import Iterable

import msgspec
import numpy as np

from recgraph import metrics, recommender, walk
from recgraph.dataset import Rows
from recgraph.model import Floats, Matrix, Ragged, mask, score_users, top_k
from recgraph.recommender import Choice
from recgraph.repeats import with_again
from recgraph.validation import Validation

_WALK_WEIGHTS = (0.0, 0.15, 0.3, 0.6, 1.0, 1.7, 3.0, 6.0)
"""Weights beside an ALS of weight 1; so are those of the repeats."""
_REPEAT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 20.0, 60.0)
_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_OF_ALS = (
    *("transform", "cap", "half_life_days", "n_factors", "regularization", "exponent", "alpha"),
    *("n_iterations", "seed"),
)
"""Fields of a choice that ALS depends on."""
_HALF_LIVES = (0.04, 0.12, 0.4)
"""Half-lives that are tried, as shares of the time spanned; and none at all."""
DAY = 86_400
"""Seconds."""


def half_lives(rows: Rows, present: float | None) -> list[float | None]:
    """Half-lives worth a try, in days: the present one first, none at all, shares of the time."""
    if rows.times is None:
        return [None]
    span = float(np.ptp(rows.times)) / DAY
    days = [round(max(1.0, span * share), 1) for share in _HALF_LIVES]
    return list(dict.fromkeys([present, None, *days]))


class Bench:
    """Measures choices, always on the same validation users.

    Parameters
    ----------
    held_out
        With one user at least.
    k
        Of nDCG@k.
    """

    def __init__(self, held_out: Validation, k: int) -> None:
        self._held_out, self._k = held_out, k
        users = np.arange(len(held_out.users))
        self._blocks = list(recommender.blocks_of(users, held_out.shape[1]))
        self._products: tuple[object, list[Floats], Floats] = (None, [], np.empty(0, np.float32))
        self._factors: tuple[object, list[Floats]] = (None, [])
        self._is_new = held_out.seen is not None

    def value(self, choice: Choice) -> float:
        """Mean nDCG@k of a choice as it stands."""
        return self._blended(self._signals(choice), choice)

    def best_walk(self, start: Choice, limit: float) -> Choice:
        """The start with the half-life and exponent of the walk that do best without ALS.

        Parameters
        ----------
        limit
            Nothing further is tried after this moment of the monotonic clock.
        """
        best, value = start, self._mean_ndcg(self._walked(start))
        grid = itertools.product(
            half_lives(self._held_out.train, start.walk_half_life_days), _EXPONENTS
        )
        for half_life, exponent in grid:
            if time.monotonic() > limit:
                break
            choice = msgspec.structs.replace(
                start, walk_half_life_days=half_life, walk_exponent=exponent
            )
            found = self._mean_ndcg(self._walked(choice))
            if found > value:
                best, value = choice, found
        return best

    def best_repeats(self, start: Choice) -> Choice:
        """The start with the half-life of the repeats that does best alone."""
        if self._is_new:
            return msgspec.structs.replace(start, repeat_weight=0.0)
        choices = [
            msgspec.structs.replace(start, repeat_half_life_days=half_life)
            for half_life in half_lives(self._held_out.train, start.repeat_half_life_days)
        ]
        return max(choices, key=lambda each: self._mean_ndcg(self._repeated(each)))

    def best_weights(self, choice: Choice) -> tuple[Choice, float]:
        """The choice with the weights of walk and repeats that do best, one after the other."""
        grids = {"repeat_weight": _REPEAT_WEIGHTS, "walk_weight": _WALK_WEIGHTS}
        if self._is_new:
            del grids["repeat_weight"]
        signals, value = self._signals(choice), -1.0
        for name, weights in grids.items():
            tried = [
                msgspec.structs.replace(choice, **{name: weight})
                for weight in sorted({*weights, getattr(choice, name)})
            ]
            values = [self._blended(signals, each) for each in tried]
            value, choice = max(values), tried[int(np.argmax(values))]
        return choice, value

    def _signals(self, choice: Choice) -> dict[str, list[Floats]]:
        """Scores of the validation users by weight, each signal of the size 1."""
        found = {"als_weight": self._als(choice), "walk_weight": self._walked(choice)}
        if not self._is_new:
            found["repeat_weight"] = self._repeated(choice)
        for blocks in found.values():
            size = np.float32(_size(blocks) or 1.0)
            for block in blocks:
                block /= size
        return found

    def _blended(self, signals: dict[str, list[Floats]], choice: Choice) -> float:
        """Mean nDCG@k of the signals with the weights of the choice."""
        weights = [np.float32(getattr(choice, name)) for name in signals]
        return self._mean_ndcg(
            sum(weight * block for weight, block in zip(weights, blocks, strict=True))
            for blocks in zip(*signals.values(), strict=True)
        )

    def _als(self, choice: Choice) -> list[Floats]:
        """Scores of ALS; those of the last fit are kept, for other walks beside it."""
        key = tuple(getattr(choice, name) for name in _OF_ALS)
        if key != self._factors[0]:
            held_out = self._held_out
            ratings = recommender.als_ratings(held_out.train, held_out.shape, choice)
            items = recommender.fit_items(ratings, choice)
            users = recommender.users_of(items, ratings[held_out.users], choice)
            scores = [score_users(users[rows], items) for rows in self._blocks]
            self._factors = key, scores
        return self._factors[1]

    def _walked(self, choice: Choice) -> list[Floats]:
        """Scores of the walk: the exponent only scales the columns of one product."""
        key = choice.half_life_days, choice.walk_half_life_days
        if key != self._products[0]:
            self._products = (key, *self._walk_products(choice))
        _, blocks, sums = self._products
        by_item = walk.power(sums, -choice.walk_exponent)
        return [block * by_item for block in blocks]

    def _walk_products(self, choice: Choice) -> tuple[list[Floats], Floats]:
        """Scores of the walk with an exponent of 0, and the sums that it is of."""
        held_out = self._held_out
        first, last = recommender.walk_ratings(held_out.train, held_out.shape, choice)
        steps = walk.item_steps(first, last, exponent=0.0)
        starts = walk.user_steps(first[held_out.users], np.asarray(first.sum(axis=0)).ravel())
        products = ((starts[rows] @ steps.back) @ steps.on for rows in self._blocks)
        return [_dense(each) for each in products], np.asarray(last.sum(axis=0)).ravel()

    def _repeated(self, choice: Choice) -> list[Floats]:
        held_out = self._held_out
        own = recommender.own_purchases(held_out.train, held_out.shape, choice)[held_out.users]
        own = with_again(own, recommender.fit_again(held_out.train, held_out.shape, choice))
        return [_dense(own[rows]) for rows in self._blocks]

    def _mean_ndcg(self, scores: Iterable[Floats]) -> float:
        """Mean nDCG@k of scores that come block by block; the mask is written into them."""
        held_out, found = self._held_out, []
        for rows, block in zip(self._blocks, scores, strict=True):
            if held_out.seen is not None:
                mask(block, Ragged.of(held_out.seen[rows]))
            offsets = held_out.relevant.offsets[rows[0] : rows[-1] + 2]
            items = held_out.relevant.items[offsets[0] : offsets[-1]]
            relevant = Ragged(offsets - offsets[0], items)
            hit = metrics.hits(top_k(block, self._k).items, relevant, n_items=block.shape[1])
            found.append(metrics.ndcg(hit, np.diff(offsets)))
        return float(np.concatenate(found).mean())


def _dense(matrix: Matrix) -> Floats:
    return np.asarray(matrix.toarray(), np.float32)


def _size(blocks: list[Floats]) -> float:
    """Root of the mean square."""
    squares = sum(float(np.einsum("ui,ui->", b, b, dtype=np.float64)) for b in blocks)
    return float(np.sqrt(squares / max(1, sum(block.size for block in blocks))))
