"""Explicit ratings -> biased ALS -> predicted ratings, with its search; in this process.

A rating is the mean, plus the user's and the item's bias, plus what ALS finds in the residual
(`recgraph.biases`); predictions are clipped to the scale of the ratings.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import optuna

from recgraph import biases, metrics
from recgraph.dataset import Rows, last_ratings
from recgraph.engines import local
from recgraph.model import Floats, Ints, Matrix
from recgraph.tuning import search
from recgraph.validation import is_held_out

OnTrial = Callable[["Choice", float], None]


class Choice(msgspec.Struct, frozen=True):
    """Settings of the biased ALS."""

    n_factors: int = 64
    regularization: float = 0.1
    """Multiplied by the number of ratings (ALS-WR)."""
    damping: float = 5.0
    """Ratings that draw a bias towards 0."""
    n_iterations: int = 12
    seed: int = 42


FIELDS = Choice.__struct_fields__


def default_choice(rows: Rows, **given: Any) -> Choice:
    """The settings without a search: as given, and the penalty, if it is not, by the ratings."""
    chosen = {name: value for name, value in given.items() if value is not None}
    n_users, n_items = (max(1, len(np.unique(each))) for each in (rows.users, rows.items))
    regularization = biases.regularization_for(max(1, len(rows.users)), n_users, n_items)
    return Choice(**{"regularization": regularization} | chosen)


class Model(NamedTuple):
    """A biased ALS: a prediction is the product of two rows, clipped to the scale."""

    users: Floats
    """`biases.joined`, and a last row for a user who is not known."""
    items: Floats
    """The same for items."""
    lowest: float
    highest: float


class Found(NamedTuple):
    """What a search found; the figures are RMSE."""

    best: Choice
    value: float
    start_value: float
    """What the settings did that the search began with."""


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
    # The last row is of whoever is not known, whom the index -1 finds: no bias and no taste.
    found = found._replace(users=np.append(found.users, 0), items=np.append(found.items, 0))
    one_more = ((0, 1), (0, 0))
    users, items = biases.joined(
        np.pad(factors.users, one_more), np.pad(factors.items, one_more), found
    )
    return Model(users, items, float(ratings.data.min()), float(ratings.data.max()))


def predict(model: Model, users: Ints, items: Ints) -> Floats:
    """Ratings of pairs, within the scale; an index of -1 is unknown and counts as average."""
    predicted: Floats = np.einsum("pf,pf->p", model.users[users], model.items[items])
    return np.clip(predicted, model.lowest, model.highest)


def without_taste(model: Model) -> Model:
    """The model that predicts by mean and biases alone."""
    return model._replace(users=biases.without_taste(model.users))


def tune(
    rows: Rows,
    shape: tuple[int, int],
    start: Choice,
    *,
    minutes: float,
    by_time: bool = False,
    max_trials: int | None = None,
    on_trial: OnTrial = lambda choice, value: None,
) -> Found:
    """The settings of the biased ALS with the least RMSE on held-out ratings."""
    limit = time.monotonic() + minutes * 60
    is_test = is_held_out(rows, by_time=by_time, seed=start.seed)
    if not is_test.any() or is_test.all():
        return Found(start, float("nan"), float("nan"))
    train = last_ratings(rows.where(~is_test), shape)
    test = rows.where(is_test)
    found: list[tuple[float, Choice]] = []

    def objective(trial: optuna.Trial) -> float:
        began = time.monotonic()
        choice = _proposed(trial, start)
        predicted = predict(fit(train, choice), test.users, test.items)
        value = metrics.rmse(predicted.astype(np.float64) - test.ratings)
        found.append((value, choice))
        on_trial(choice, value)
        if 2 * time.monotonic() - began > limit:
            trial.study.stop()
        return value

    first = {"n_factors": start.n_factors, "regularization": start.regularization}
    first["damping"] = start.damping
    search(objective, first=first, direction="minimize", seed=start.seed, n=max_trials)
    value, choice = min(found, key=lambda each: each[0])
    return Found(choice, value, found[0][0])


def _proposed(trial: optuna.Trial, start: Choice) -> Choice:
    n_factors = sorted({8, 16, 32, 64, 128, start.n_factors})
    return msgspec.structs.replace(
        start,
        n_factors=trial.suggest_categorical("n_factors", n_factors),
        regularization=trial.suggest_float("regularization", 0.01, 1.0, log=True),
        damping=trial.suggest_float("damping", 0.5, 30.0, log=True),
    )
