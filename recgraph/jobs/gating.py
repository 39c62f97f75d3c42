"""Events -> what evaluation models, trained before a cut, did after it, and the gate's verdict."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph import gate, generations
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.gate import Rules
from recgraph.generations import ErrorMetrics, Manifest, Metrics, RankingMetrics, Verdict
from recgraph.jobs.features import with_reviews
from recgraph.ports import Product
from recgraph.spark import blend
from recgraph.spark.catalogue import catalogued
from recgraph.spark.evaluate import evaluate
from recgraph.spark.held_out import held_out_period
from recgraph.spark.interactions import interactions_from_events, training_interactions
from recgraph.spark.model import index_interactions
from recgraph.stages import Stages
from recgraph.weighing import weighing_from_settings


class Judged(NamedTuple):
    """How good a generation is, and whether that is good enough."""

    metrics: Metrics
    verdict: Verdict


class _Split(NamedTuple):
    """The events before a moment, and what was bought or rated from it on."""

    before: DataFrame
    test: DataFrame
    """user_id, item_id, rating, is_bought: a row a pair, weighed by the present settings."""
    cut_at: datetime
    """UTC-aware."""
    test_days: float
    products: Mapping[str, Product]
    """The catalogue."""


class _Model(NamedTuple):
    """An evaluation model, and the settings that it was trained with."""

    found: blend.Model
    settings: Settings


class _Compared(NamedTuple):
    """Both models on the same events of the same users and items; None where there is only one."""

    new: Metrics
    current: Metrics | None = None
    note: str | None = None


def judge(
    found: DataFrame,
    settings: Settings,
    current: Manifest | None,
    stages: Stages,
    products: Mapping[str, Product] = MappingProxyType({}),
) -> Judged:
    """What the settings are worth on these events, and what the gate says of it.

    Parameters
    ----------
    found
        Each event identity once.
    current
        The generation that is current. When it was made with other settings, a model with those
        is trained as well, before the same cut, and both are compared.
    products
        The catalogue.
    """
    with stages("evaluate", "training the evaluation model"):
        split = _split(found, products, settings)
        if split is None:
            nothing = "all events share one moment: nothing can be held back"
            return _judged(_Compared(Metrics(None, 0.0, [], [], nothing)), settings, current)
        try:
            model = _fit(split, settings)
        except NoInteractionsError:
            nothing = "no interaction is left before the test period"
            return _judged(_Compared(_metrics(split, [], [], nothing)), settings, current)
        measured = _measure(split, model)
    compared = _compare(split, model, measured, current, stages)
    return _judged(compared, settings, current)._replace(metrics=gate.finite(measured))


def current_manifest(settings: Settings, generation_id: str | None) -> Manifest | None:
    """The generation to keep up with: the one named, or the newest complete one on disk.

    Raises
    ------
    GenerationError
        The one that is named is not on disk, or a manifest cannot be read.
    """
    root = settings.generations_dir
    if generation_id is not None:
        return generations.read_manifest(generations.resolve(root, generation_id))
    listed = generations.list_generations(root)
    return next((each for each in listed if each.status == "complete"), None)


def _judged(compared: _Compared, settings: Settings, current: Manifest | None) -> Judged:
    rules = Rules(
        feedback=settings.feedback,
        task=gate.task_of(exclude_seen=settings.exclude_seen),
        k=settings.k,
        margin=settings.gate_margin,
        min_measured=settings.gate_min_measured,
    )
    verdict = gate.judge(compared.new, compared.current, rules)
    notes = [*verdict.notes, *filter(None, [compared.note])]
    compared_with = current.id if current else None
    verdict = msgspec.structs.replace(verdict, compared_with=compared_with, notes=notes)
    return Judged(compared.new, verdict)


def _split(found: DataFrame, products: Mapping[str, Product], settings: Settings) -> _Split | None:
    """The events parted at the cut, or None when all share one moment."""
    period = held_out_period(found, settings)
    if period is None:
        return None
    is_test = F.col(C.OCCURRED_AT) >= F.lit(period.start)
    return _Split(
        before=found.where(~is_test),
        test=interactions_from_events(found.where(is_test), weighing_from_settings(settings)),
        cut_at=period.start.replace(tzinfo=UTC),
        test_days=(period.last - period.start).total_seconds() / 86_400,
        products=products,
    )


def _fit(split: _Split, settings: Settings) -> _Model:
    indexed = index_interactions(training_interactions(split.before, settings))
    indexed = catalogued(indexed, split.products, settings)
    indexed = with_reviews(indexed, settings, before=split.cut_at)
    return _Model(blend.fit(indexed, settings), settings)


def _measure(split: _Split, model: _Model) -> Metrics:
    ranking, errors = evaluate(model.found, split.test, model.settings)
    note = None if ranking else "no user of the test period bought anything known before it"
    metrics = _metrics(split, ranking, errors, note)
    return msgspec.structs.replace(metrics, model=blend.name_of_lists(model.found, model.settings))


def _metrics(
    split: _Split, ranking: list[RankingMetrics], errors: list[ErrorMetrics], note: str | None
) -> Metrics:
    return Metrics(split.cut_at, split.test_days, ranking, errors, note)


def _compare(
    split: _Split, model: _Model, measured: Metrics, current: Manifest | None, stages: Stages
) -> _Compared:
    """The new model beside one with the settings of the current generation, if they differ."""
    if current is None or measured.note:
        return _Compared(measured)
    settings = model.settings
    if current.feedback != settings.feedback:
        note = f"{current.id} is of {current.feedback} feedback: not compared with it"
        return _Compared(measured, note=note)
    trained_on = current.settings.get("train_on", "sales")
    if trained_on != settings.train_on:
        return _Compared(measured, note=f"{current.id} is of {trained_on}: not compared with it")
    earlier = gate.settings_before(current.settings, settings)
    if earlier == settings:
        return _Compared(measured, note=f"the settings of {current.id} are the same")
    with stages("compare", f"training an evaluation model with the settings of {current.id}"):
        try:
            other = _fit(split, earlier)
        except NoInteractionsError:
            note = f"the settings of {current.id} leave nothing to train on: not compared with it"
            return _Compared(measured, note=note)
        return _on_common_ground(split, model, measured, other)


def _on_common_ground(split: _Split, model: _Model, measured: Metrics, other: _Model) -> _Compared:
    """Both models measured on the users and items that both know.

    Settings such as min_user_items change who is measured at all: a model that knows only those
    who buy much has the easier test.
    """
    ours, theirs = model.found.indexed, other.found.indexed
    if (ours.n_users, ours.n_items) == (theirs.n_users, theirs.n_items):
        return _Compared(measured, _measure(split, other))
    test = split.test
    for indexed in (ours, theirs):
        test = test.join(indexed.users, C.USER_ID, "left_semi")
        test = test.join(indexed.items, C.ITEM_ID, "left_semi")
    common = split._replace(test=test)
    return _Compared(_measure(common, model), _measure(common, other))
