"""Explicit ratings -> biased ALS -> predicted ratings, with its search; in this process.

A rating is the mean, plus the user's and the item's bias, plus what ALS finds in the residual;
predictions are clipped to the scale of the ratings.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
import optuna

from recgraph import biases, metrics
from recgraph.biases import Biases
from recgraph.dataset import Rows, last_ratings
from recgraph.engines import local
from recgraph.model import Floats, Ints, Matrix
from recgraph.split import split_by_time
from recgraph.tuning import HELD_OUT_SHARE, HELD_OUT_SPAN, search


class Choice(msgspec.Struct, frozen=True):
    """Settings of the biased ALS."""

    n_factors: int = 64
    regularization: float = 0.1
    """Multiplied by the number of ratings (ALS-WR)."""
    damping: float = 5.0
    """Ratings that draw a bias towards 0."""
    n_iterations: int = 12
    seed: int = 42


class Model(NamedTuple):
    """A biased ALS, and the scale its predictions are clipped to."""

    biases: Biases
    factors: local.Factors
    lowest: float
    highest: float


def fit(ratings: Matrix, choice: Choice) -> Model:
    """The model of the ratings, the last of each pair."""
    found = biases.fit_biases(ratings, damping=choice.damping)
    factors = local.fit_explicit(
        biases.residuals(ratings, found),
        n_factors=choice.n_factors,
        regularization=choice.regularization,
        n_iterations=choice.n_iterations,
        seed=choice.seed,
    )
    return Model(found, factors, float(ratings.data.min()), float(ratings.data.max()))


def predict(model: Model, users: Ints, items: Ints) -> Floats:
    """Ratings of pairs, within the scale; an index of -1 is unknown and counts as average."""
    known_users, known_items = users >= 0, items >= 0
    predicted = np.full(len(users), model.biases.mean, np.float32)
    predicted[known_users] += model.biases.users[users[known_users]]
    predicted[known_items] += model.biases.items[items[known_items]]
    both = known_users & known_items
    predicted[both] += np.einsum(
        "pf,pf->p", model.factors.users[users[both]], model.factors.items[items[both]]
    )
    return np.clip(predicted, model.lowest, model.highest)


def tune(
    rows: Rows,
    shape: tuple[int, int],
    *,
    minutes: float,
    by_time: bool = False,
    max_trials: int | None = None,
    seed: int = 42,
    on_trial: Callable[[Choice, float], None] = lambda choice, value: None,
) -> tuple[Choice, float]:
    """The settings of the biased ALS with the least RMSE on held-out ratings, and that RMSE."""
    limit = time.monotonic() + minutes * 60
    if by_time and rows.times is not None:
        span = int(rows.times.max() - rows.times.min())
        is_test = split_by_time(rows.times, test_span=span * HELD_OUT_SPAN)
    else:
        is_test = np.random.default_rng(seed).random(len(rows.users)) < HELD_OUT_SHARE
    if not is_test.any() or is_test.all():
        return Choice(seed=seed), float("nan")
    train = last_ratings(rows.where(~is_test), shape)
    test = rows.where(is_test)
    found: list[tuple[float, Choice]] = []

    def objective(trial: optuna.Trial) -> float:
        began = time.monotonic()
        choice = Choice(
            n_factors=trial.suggest_categorical("n_factors", (8, 16, 32, 64, 128)),
            regularization=trial.suggest_float("regularization", 0.01, 1.0, log=True),
            damping=trial.suggest_float("damping", 0.5, 30.0, log=True),
            seed=seed,
        )
        model = fit(train, choice)
        errors = predict(model, test.users, test.items).astype(np.float64) - test.ratings
        value = metrics.rmse(errors)
        found.append((value, choice))
        on_trial(choice, value)
        if 2 * time.monotonic() - began > limit:
            trial.study.stop()
        return value

    first = {"n_factors": 32, "regularization": 0.1, "damping": 5.0}
    search(objective, first=first, direction="minimize", seed=seed, n=max_trials)
    value, choice = min(found, key=lambda each: each[0])
    return choice, value
