"""Training interactions -> the settings that did best on a part held out of them; a seeded search.

It never sees the test. For each ALS that Optuna proposes, every weight of the walk is tried on the
same validation users: fitting is what costs, blending is nearly free. The walk is searched first
and alone, for its exponent only scales the columns of one product.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import optuna

from recgraph import metrics, recommender, walk
from recgraph.dataset import Rows, rating_matrix
from recgraph.engines import local
from recgraph.model import Floats, Ints, Matrix, Ragged, mask, score_users, top_k
from recgraph.recommender import Choice
from recgraph.split import split_at_random, split_by_time

OnTrial = Callable[["Trial"], None]

_MAX_USERS = 1_000
"""Validation users at most, seeded."""
HELD_OUT_SHARE = 0.15
"""Share of each user's rows that is held out, where there are no times."""
HELD_OUT_SPAN = 1 / 8
"""Share of the time that is held out, where there are times."""
_WEIGHTS = (0.0, 0.15, 0.3, 0.6, 1.0, 1.7, 3.0, 6.0)
"""Weights of the walk beside an ALS of weight 1."""
_EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_HALF_LIVES = (0.04, 0.12, 0.4)
"""Half-lives that are tried, as shares of the time spanned; and none at all."""
_N_FACTORS = (32, 64, 128, 256)
_PATIENCE = 30
"""A search ends after so many tries without a better one."""
_WALK_SHARE = 0.25
"""Share of the budget after which the search of the walk ends."""
_DAY = 86_400


class Trial(NamedTuple):
    """One try."""

    number: int
    choice: Choice
    value: float
    """nDCG@k on the validation; for explicit feedback RMSE."""
    seconds: float


class Found(NamedTuple):
    """What a search found."""

    best: Choice
    value: float
    trials: list[Trial]


class Validation(NamedTuple):
    """What is held out of the training rows."""

    train: Rows
    users: Ints
    """Users with something held out, sampled."""
    relevant: Ragged
    """What is held out of each of ``users``."""
    seen: Matrix | None
    """What is left out of the lists of each of ``users``, ``(len(users), n_items)``."""


def hold_out(
    rows: Rows, shape: tuple[int, int], *, exclude_seen: bool, by_time: bool, seed: int
) -> Validation:
    """A part of the rows to validate on: the last of the time, or a share of each user's rows."""
    if by_time and rows.times is not None:
        span = int(rows.times.max() - rows.times.min())
        is_test = split_by_time(rows.times, test_span=span * HELD_OUT_SPAN)
    else:
        is_test = _share_of_pairs(rows, shape, seed)
    train = rows.where(~is_test)
    known = rating_matrix(train, shape)
    test = rating_matrix(rows.where(is_test), shape)
    test.data[:] = 1
    if exclude_seen:
        test = (test - test.multiply(known > 0)).tocsr()
        test.eliminate_zeros()
    is_asked = (np.diff(test.indptr) > 0) & (np.diff(known.indptr) > 0)
    users = np.random.default_rng(seed).permutation(np.flatnonzero(is_asked))[:_MAX_USERS]
    seen = known[users] if exclude_seen else None
    return Validation(train, users, recommender.ragged(test[users]), seen)


def _share_of_pairs(rows: Rows, shape: tuple[int, int], seed: int) -> Any:
    """Rows of the pairs that are held out: a pair's rows stay together."""
    keys = rows.users.astype(np.int64) * shape[1] + rows.items
    pairs, of_row = np.unique(keys, return_inverse=True)
    return split_at_random(pairs // shape[1], share=HELD_OUT_SHARE, seed=seed)[of_row]


def tune(
    rows: Rows,
    shape: tuple[int, int],
    *,
    k: int,
    minutes: float,
    exclude_seen: bool = True,
    by_time: bool = True,
    max_trials: int | None = None,
    start: Choice | None = None,
    seed: int = 42,
    on_trial: OnTrial = lambda trial: None,
) -> Found:
    """The best settings for implicit feedback within a budget; the first try is ``start``.

    Parameters
    ----------
    minutes, max_trials
        The search ends when either is used up; a fit that has begun is finished.
    """
    started = time.monotonic()
    start = start or default_choice(rows, shape)
    held_out = hold_out(rows, shape, exclude_seen=exclude_seen, by_time=by_time, seed=seed)
    if len(held_out.users) == 0:
        return Found(start, float("nan"), [])
    limit = started + minutes * 60
    walked = _best_walk(held_out, shape, start, k, limit=started + minutes * 60 * _WALK_SHARE)
    trials: list[Trial] = []

    def try_als(trial: optuna.Trial) -> float:
        began = time.monotonic()
        choice = msgspec.structs.replace(walked.choice, **_proposed(trial, rows))
        factors = recommender.fit_als(held_out.train, shape, choice)
        value, weight = _best_weight(factors, walked.scores, held_out, k)
        choice = msgspec.structs.replace(choice, walk_weight=weight)
        done = Trial(trial.number, choice, value, time.monotonic() - began)
        trials.append(done)
        on_trial(done)
        if time.monotonic() + done.seconds > limit:
            trial.study.stop()
        return value

    search(try_als, first=_as_parameters(start), direction="maximize", seed=seed, n=max_trials)
    best = max(trials, key=lambda trial: trial.value)
    return Found(best.choice, best.value, trials)


def default_choice(rows: Rows, shape: tuple[int, int]) -> Choice:
    """Settings that are good without a search, from how much each user did.

    Where users have few items each, the confidence in a purchase must stand out more against all
    that was not bought. Measured on Online Retail and on samples of Complete Journey.
    """
    per_user = len(rows.users) / max(1, shape[0])
    is_thin = per_user < 100
    n_factors = 128 if min(shape) > 1_000 else 64
    if is_thin:
        return Choice(
            n_factors=n_factors,
            alpha=10.0,
            regularization=60.0,
            transform="binary",
            walk_transform="binary",
            walk_weight=0.5,
        )
    span = 0.0 if rows.times is None else float(rows.times.max() - rows.times.min()) / _DAY
    half_life = span / 6 if span else None
    return Choice(
        n_factors=64,
        alpha=1.0,
        regularization=20.0,
        half_life_days=half_life,
        walk_half_life_days=span / 26 if span else None,
        walk_exponent=0.3,
        walk_weight=0.6,
    )


def _proposed(trial: optuna.Trial, rows: Rows) -> dict[str, Any]:
    """The part of a choice that Optuna proposes."""
    proposed: dict[str, Any] = {
        "n_factors": trial.suggest_categorical("n_factors", _N_FACTORS),
        "regularization": trial.suggest_float("regularization", 0.3, 1_000, log=True),
        "alpha": trial.suggest_float("alpha", 0.3, 100, log=True),
        "transform": trial.suggest_categorical("transform", ("log", "binary")),
    }
    if rows.times is not None:
        share = trial.suggest_categorical("half_life", (0.0, *_HALF_LIVES))
        proposed["half_life_days"] = _days(rows, share)
    return proposed


def _as_parameters(choice: Choice) -> dict[str, Any]:
    """The start as parameters of Optuna; what it cannot hold is left to it."""
    return {
        "n_factors": choice.n_factors,
        "regularization": choice.regularization,
        "alpha": choice.alpha,
        "transform": choice.transform,
        "half_life": 0.12 if choice.half_life_days else 0.0,
    }


def _days(rows: Rows, share: float) -> float | None:
    """A half-life from its share of the time spanned; None for 0."""
    if not share or rows.times is None:
        return None
    return max(1.0, float(rows.times.max() - rows.times.min()) / _DAY * share)


def search(
    objective: Callable[[optuna.Trial], float],
    *,
    first: dict[str, Any],
    direction: Literal["minimize", "maximize"],
    seed: int,
    n: int | None,
) -> None:
    """Run a seeded search; the first try is ``first``, so that it is never worse than that."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6, multivariate=False)
    study = optuna.create_study(direction=direction, sampler=sampler)
    study.enqueue_trial(first, skip_if_exists=True)
    study.optimize(objective, n_trials=n, callbacks=[_stop_without_progress])


def _stop_without_progress(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    if trial.number - study.best_trial.number >= _PATIENCE:
        study.stop()


class _Walked(NamedTuple):
    """The walk that did best alone."""

    choice: Choice
    scores: list[Floats]
    """Its scores of the validation users, block by block."""


def _best_walk(
    held_out: Validation, shape: tuple[int, int], start: Choice, k: int, *, limit: float
) -> _Walked:
    """The exponent and half-life of the walk that do best without ALS."""
    best, value = _Walked(start, []), -1.0
    half_lives = [None, *(_days(held_out.train, share) for share in _HALF_LIVES)]
    if held_out.train.times is None:
        half_lives = [None]
    for half_life in half_lives:
        choice = msgspec.structs.replace(start, walk_half_life_days=half_life)
        products, sums = _walk_products(held_out, shape, choice)
        for exponent in _EXPONENTS:
            by_item = walk.power(sums, -exponent)
            scores = [block * by_item for block in products]
            found = _mean_ndcg(scores, held_out, k)
            if found > value:
                choice = msgspec.structs.replace(choice, walk_exponent=exponent)
                best, value = _Walked(choice, scores), found
        if time.monotonic() > limit:
            break
    return best


def _walk_products(
    held_out: Validation, shape: tuple[int, int], choice: Choice
) -> tuple[list[Floats], Floats]:
    """Walk scores of the validation users without the last scaling, and the sums it is made of.

    Exact, without the truncation to neighbours; ``4 * n_users * n_items`` bytes.
    """
    first = recommender.weighed(held_out.train, shape, choice.walk_transform, None)
    last = recommender.weighed(
        held_out.train, shape, choice.walk_transform, choice.walk_half_life_days
    )
    steps = walk.item_steps(first, last, exponent=0.0)
    sums = np.asarray(first.sum(axis=0)).ravel()
    starts = walk.user_steps(first[held_out.users], sums)
    blocks = [
        np.asarray(((starts[rows] @ steps.back) @ steps.on).toarray(), np.float32)
        for rows in recommender.blocks_of(np.arange(len(held_out.users)), shape[1])
    ]
    return blocks, np.asarray(last.sum(axis=0)).ravel()


def _best_weight(
    factors: local.Factors, walked: list[Floats], held_out: Validation, k: int
) -> tuple[float, float]:
    """The best mean nDCG over the weights of the walk, and that weight."""
    n_items = len(factors.items)
    als = [
        score_users(factors.users[rows], factors.items)
        for rows in recommender.blocks_of(held_out.users, n_items)
    ]
    ratio = _size(als) / (_size(walked) or 1.0)
    found = []
    for weight in _WEIGHTS:
        factor = np.float32(weight * ratio)
        blended = (a + factor * w for a, w in zip(als, walked, strict=True))
        found.append((_mean_ndcg(blended, held_out, k), weight))
    return max(found)


def _mean_ndcg(scores: Any, held_out: Validation, k: int) -> float:
    """Mean nDCG@k of the validation users; the scores come block by block."""
    found = []
    n_relevant = np.diff(held_out.relevant.offsets)
    start = 0
    for block in scores:
        rows = slice(start, start + len(block))
        if held_out.seen is not None:
            block = mask(block.copy(), recommender.ragged(held_out.seen[rows]))
        offsets = held_out.relevant.offsets[start : start + len(block) + 1]
        items = held_out.relevant.items[offsets[0] : offsets[-1]]
        relevant = Ragged(offsets - offsets[0], items)
        hit = metrics.hits(top_k(block, k).items, relevant, n_items=block.shape[1])
        found.append(metrics.ndcg(hit, n_relevant[rows]))
        start += len(block)
    return float(np.concatenate(found).mean())


def _size(blocks: list[Floats]) -> float:
    """Root of the mean square."""
    squares = sum(float(np.einsum("ui,ui->", b, b, dtype=np.float64)) for b in blocks)
    return float(np.sqrt(squares / max(1, sum(block.size for block in blocks))))
