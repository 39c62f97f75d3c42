"""The job of tuning: event table -> the settings that foretell its validation period best.

The test period, the last ``test_days``, is never looked at: it is what `recgraph train` measures
on. Settings are chosen on as many days before it. Spark only gathers; the search then runs in this
process, on the local engine, with the penalty of the engine that will train.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import SparkSession

from recgraph import explicit, tuned, tuning
from recgraph.config import Settings
from recgraph.dataset import Rows
from recgraph.errors import NoInteractionsError
from recgraph.jobs.source import read_source
from recgraph.recommender import Choice
from recgraph.spark.model import penalty_of_purchases
from recgraph.spark.scratch import materialize
from recgraph.spark.tuning import Parted, gather, gather_ratings, part
from recgraph.stages import Stages
from recgraph.tuned import Tuned, TunedTrial
from recgraph.validation import Validation, validation

OnTrial = Callable[[TunedTrial], None]

_SETTINGS = {"damping": "bias_damping"}
"""Field of `explicit.Choice` -> the setting, where that has another name."""
_EXPONENTS = {"spark": (1.0,), "local": (0.0, 0.5, 1.0)}
"""How penalties may grow with the number of ratings, by engine."""


class Budget(NamedTuple):
    """How long a search may take; what is used up first ends it."""

    minutes: float
    trials: int | None


class Gathered(NamedTuple):
    """What a search works on, without Spark."""

    held_out: Validation | None
    """For implicit feedback."""
    ratings: Rows | None
    """For explicit feedback."""
    shape: tuple[int, int]
    on: dict[str, Any]
    """What is said of it."""


def gather_events(spark: SparkSession, settings: Settings, stages: Stages) -> Gathered:
    """The events before the test period, on the driver.

    Raises
    ------
    NoInteractionsError
        There is nothing to learn from, or nothing to foretell.
    """
    with stages("read", "reading events"):
        events = materialize(read_source(spark, settings).events)
        whole = part(events, settings)
        inner = None if whole is None else part(whole.before, settings)
    if whole is None or inner is None:
        message = (
            "the events span too little time: a validation and a test period would leave nothing "
            "to learn from. Take in more events, or make RECGRAPH_TEST_DAYS smaller."
        )
        raise NoInteractionsError(message)
    with stages("interactions", "counting who bought what"):
        if settings.feedback == "explicit":
            return _gather_ratings(whole, settings)
        return _gather_purchases(inner, whole.cut_at, settings)


def _gather_purchases(parted: Parted, end: datetime, settings: Settings) -> Gathered:
    found = gather(parted, settings)
    held_out = validation(
        found.train, found.test, exclude_seen=settings.exclude_seen, seed=settings.seed
    )
    if not len(held_out.users):
        message = (
            f"no known user bought anything fit for a list from {parted.cut_at:%Y-%m-%d} to "
            f"{end:%Y-%m-%d}: nothing can be tuned on. Take in more events."
        )
        raise NoInteractionsError(message)
    on = _sizes(held_out.shape, found.n_interactions, found.share) | {
        "validation_users": len(held_out.users),
        "validation_from": parted.cut_at.replace(tzinfo=UTC),
        "validation_to": end.replace(tzinfo=UTC),
    }
    return Gathered(held_out, None, held_out.shape, on)


def _gather_ratings(whole: Parted, settings: Settings) -> Gathered:
    rows, shape, share = gather_ratings(whole.before, settings)
    on = _sizes(shape, len(rows.users), share)
    on["validation_to"] = whole.cut_at.replace(tzinfo=UTC)
    return Gathered(None, rows, shape, on)


def _sizes(shape: tuple[int, int], n_interactions: int, share: float) -> dict[str, Any]:
    return {
        "users": shape[0],
        "items": shape[1],
        "interactions": n_interactions,
        "sampled_share_of_users": share,
    }


def search(
    gathered: Gathered, settings: Settings, budget: Budget, on_trial: OnTrial = lambda trial: None
) -> Tuned:
    """The best settings within the budget, beside the present ones; nothing is written."""
    began = time.monotonic()
    trials: list[TunedTrial] = []

    def keep(value: float, seconds: float, chosen: dict[str, Any]) -> None:
        trials.append(TunedTrial(value, seconds, chosen))
        on_trial(trials[-1])

    run = _search_ratings if settings.feedback == "explicit" else _search_purchases
    best, value, before = run(gathered, settings, budget, keep)
    task = "new items" if settings.exclude_seen else "the next basket"
    is_explicit = settings.feedback == "explicit"
    return Tuned(
        created_at=datetime.now(UTC),
        measure="RMSE" if is_explicit else f"nDCG@{settings.k} of {task}",
        value=value,
        value_before=before,
        settings=best,
        conditions=tuned.conditions_of(settings),
        on=gathered.on,
        seconds=round(time.monotonic() - began, 1),
        trials=trials,
    )


_Keep = Callable[[float, float, dict[str, Any]], None]
_Result = tuple[dict[str, Any], float, float]


def _search_purchases(
    gathered: Gathered, settings: Settings, budget: Budget, keep: _Keep
) -> _Result:
    assert gathered.held_out is not None  # `_gather_purchases` made it
    found = tuning.tune(
        gathered.held_out,
        choice_from_settings(settings),
        k=settings.k,
        minutes=budget.minutes,
        max_trials=budget.trials,
        exponents=_EXPONENTS[settings.engine],
        seed=settings.seed,
        on_trial=lambda each: keep(
            each.value, each.seconds, settings_from_choice(each.choice, settings)
        ),
    )
    return settings_from_choice(found.best, settings), found.value, found.start_value


def _search_ratings(gathered: Gathered, settings: Settings, budget: Budget, keep: _Keep) -> _Result:
    assert gathered.ratings is not None  # `_gather_ratings` made it
    given = {name: getattr(settings, _SETTINGS.get(name, name)) for name in explicit.FIELDS}
    start = explicit.default_choice(gathered.ratings, **given)
    last = time.monotonic()

    def chosen(choice: explicit.Choice) -> dict[str, Any]:
        return {_SETTINGS.get(n, n): getattr(choice, n) for n in explicit.FIELDS if n != "seed"}

    def on_trial(choice: explicit.Choice, value: float) -> None:
        nonlocal last
        last, seconds = time.monotonic(), time.monotonic() - last
        keep(value, seconds, chosen(choice))

    found = explicit.tune(
        gathered.ratings,
        gathered.shape,
        start,
        minutes=budget.minutes,
        by_time=True,
        max_trials=budget.trials,
        on_trial=on_trial,
    )
    return chosen(found.best), found.value, found.start_value


def choice_from_settings(settings: Settings) -> Choice:
    """The settings as a search has them: with the penalty of the engine that trains."""
    is_local = settings.engine == "local"
    return Choice(
        transform=settings.transform,
        cap=settings.rating_cap,
        half_life_days=settings.half_life_days,
        n_factors=settings.n_factors,
        regularization=(
            settings.local_regularization if is_local else penalty_of_purchases(settings)
        ),
        exponent=settings.local_exponent if is_local else 1.0,
        alpha=settings.alpha,
        n_iterations=settings.n_iterations,
        seed=settings.seed,
        als_weight=settings.als_weight,
        walk_weight=settings.walk_weight,
        walk_exponent=settings.walk_exponent,
        walk_half_life_days=settings.walk_half_life_days,
        n_neighbours=settings.walk_neighbours,
        repeat_weight=0.0 if settings.exclude_seen else settings.repeat_weight,
        repeat_half_life_days=settings.repeat_half_life_days,
    )


def settings_from_choice(choice: Choice, settings: Settings) -> dict[str, Any]:
    """A choice as settings, by their names: those that a search changes."""
    same = (
        *("transform", "half_life_days", "n_factors", "n_iterations", "alpha"),
        *("walk_weight", "walk_exponent", "walk_half_life_days"),
    )
    chosen = {name: getattr(choice, name) for name in same}
    if settings.engine == "local":
        chosen |= {
            "local_regularization": choice.regularization,
            "local_exponent": choice.exponent,
        }
    else:
        chosen["regularization"] = choice.regularization
    if not settings.exclude_seen:
        chosen |= {
            "repeat_weight": choice.repeat_weight,
            "repeat_half_life_days": choice.repeat_half_life_days,
        }
    return chosen
