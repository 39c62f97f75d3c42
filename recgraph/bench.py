"""A choice of settings -> how well it foretells what is held out: where all tries are measured.

What is measured is what a training would make: the walk, too, leads to the strongest neighbours
only. What is held in memory is, for each of ALS and walk, a score of every item for each validation
user.
"""

import time
from collections.abc import Iterable

import msgspec
import numpy as np

from recgraph import metrics, recommender
from recgraph.dataset import Rows, days_spanned
from recgraph.model import Floats, Matrix, Ragged, mask, score_users, top_k
from recgraph.recommender import Choice
from recgraph.repeats import with_again
from recgraph.validation import Validation

_WALK_WEIGHTS = (0.0, 0.15, 0.3, 0.6, 1.0, 1.7, 3.0, 6.0)
"""Weights beside an ALS of weight 1; so are those of the repeats."""
_REPEAT_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 20.0, 60.0)
_EXPONENTS = (0.3, 0.5, 0.0, 0.2, 0.4, 0.1, 0.6)
"""Those that are the best most often come first, for the time may not do for all."""
_OF_ALS = (
    *("transform", "cap", "half_life_days", "n_factors", "regularization", "exponent", "alpha"),
    *("n_iterations", "seed"),
)
"""Fields of a choice that ALS depends on."""
_OF_WALK = ("half_life_days", "walk_half_life_days", "walk_exponent", "n_neighbours")
"""Those that the walk depends on."""
_HALF_LIVES = (0.04, 0.12, 0.4)
"""Half-lives that are tried, as shares of the time spanned; and none at all."""


def half_lives(rows: Rows, present: float | None) -> list[float | None]:
    """Half-lives worth a try, in days: the present one first, none at all, shares of the time."""
    if rows.times is None:
        return [None]
    span = days_spanned(rows)
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
        self._walks: tuple[object, list[Floats]] = (None, [])
        self._factors: tuple[object, list[Floats]] = (None, [])
        self._is_new = held_out.seen is not None

    def measure(self, choice: Choice) -> Floats:
        """nDCG@k of each validation user by a choice as it stands."""
        return self._blended(self._signals(choice), choice)

    def best_walk(self, start: Choice, limit: float) -> Choice:
        """The start with the half-life, then the exponent of the walk that do best beside its ALS.

        Each with the weight that suits it: what leads to other items than ALS is worth more than
        what is good alone.

        Parameters
        ----------
        limit
            Nothing further is tried after this moment of the monotonic clock.
        """
        best, values = self.best_weights(start)
        grids = {
            "walk_half_life_days": half_lives(self._held_out.train, start.walk_half_life_days),
            "walk_exponent": _EXPONENTS,
        }
        for name, each in ((name, each) for name, grid in grids.items() for each in grid):
            if time.monotonic() > limit:
                break
            if each != getattr(best, name):
                choice, found = self.best_weights(msgspec.structs.replace(best, **{name: each}))
                if found.mean() > values.mean():
                    best, values = choice, found
        return best

    def best_repeats(self, start: Choice) -> Choice:
        """The start with the half-life of the repeats that does best alone."""
        if self._is_new:
            return msgspec.structs.replace(start, repeat_weight=0.0)
        choices = [
            msgspec.structs.replace(start, repeat_half_life_days=half_life)
            for half_life in half_lives(self._held_out.train, start.repeat_half_life_days)
        ]
        return max(choices, key=lambda each: self._ndcg(self._repeated(each)).mean())

    def best_weights(self, choice: Choice) -> tuple[Choice, Floats]:
        """The choice with the weights of walk and repeats that do best, one after the other.

        And the nDCG@k of each validation user by it.
        """
        grids = {"repeat_weight": _REPEAT_WEIGHTS, "walk_weight": _WALK_WEIGHTS}
        if self._is_new:
            del grids["repeat_weight"]
        signals, best = self._signals(choice), np.empty(0, np.float32)
        for name, weights in grids.items():
            tried = [
                msgspec.structs.replace(choice, **{name: weight})
                for weight in sorted({*weights, getattr(choice, name)})
            ]
            values = [self._blended(signals, each) for each in tried]
            place = int(np.argmax([each.mean() for each in values]))
            best, choice = values[place], tried[place]
        return choice, best

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

    def _blended(self, signals: dict[str, list[Floats]], choice: Choice) -> Floats:
        """nDCG@k of the signals with the weights of the choice."""
        weights = [np.float32(getattr(choice, name)) for name in signals]
        return self._ndcg(
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
        """Scores of the walk; those of the last one are kept, for other fits beside it."""
        key = tuple(getattr(choice, name) for name in _OF_WALK)
        if key != self._walks[0]:
            held_out = self._held_out
            steps, neighbours = recommender.fit_walk(held_out.train, held_out.shape, choice)
            starts = steps[held_out.users]
            self._walks = key, [_dense(starts[rows] @ neighbours) for rows in self._blocks]
        return self._walks[1]

    def _repeated(self, choice: Choice) -> list[Floats]:
        held_out = self._held_out
        own = recommender.own_purchases(held_out.train, held_out.shape, choice)[held_out.users]
        own = with_again(own, recommender.fit_again(held_out.train, held_out.shape, choice))
        return [_dense(own[rows]) for rows in self._blocks]

    def _ndcg(self, scores: Iterable[Floats]) -> Floats:
        """nDCG@k of scores that come block by block; the mask is written into them."""
        held_out, found = self._held_out, []
        for rows, block in zip(self._blocks, scores, strict=True):
            if held_out.seen is not None:
                mask(block, Ragged.of(held_out.seen[rows]))
            offsets = held_out.relevant.offsets[rows[0] : rows[-1] + 2]
            items = held_out.relevant.items[offsets[0] : offsets[-1]]
            relevant = Ragged(offsets - offsets[0], items)
            hit = metrics.hits(top_k(block, self._k).items, relevant, n_items=block.shape[1])
            found.append(metrics.ndcg(hit, np.diff(offsets)))
        return np.concatenate(found)


def _dense(matrix: Matrix) -> Floats:
    return np.asarray(matrix.toarray(), np.float32)


def _size(blocks: list[Floats]) -> float:
    """Root of the mean square."""
    squares = sum(float(np.einsum("ui,ui->", b, b, dtype=np.float64)) for b in blocks)
    return float(np.sqrt(squares / max(1, sum(block.size for block in blocks))))
