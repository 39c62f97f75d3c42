"""The job of training: event table -> one complete generation on disk."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recgraph import generations
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.generations import Counts, Manifest, Metrics
from recgraph.jobs import tables_of
from recgraph.spark import events as spark_events
from recgraph.spark import graph as spark_graph
from recgraph.spark import recommend
from recgraph.spark.interactions import (
    EventCounts,
    count_events,
    distinct_events,
    drop_rare,
    interactions_from_events,
    weighing_from_settings,
)
from recgraph.spark.model import Factors, Indexed, fit_als, index_interactions
from recgraph.spark.scratch import materialize
from recgraph.split import cut_time
from recgraph.stages import Stages

_TRAINING_SETTINGS = (
    "kind_weights", "half_life_days", "n_factors", "n_iterations", "regularization", "alpha",
    "seed", "min_user_items", "min_item_users", "test_days", "k", "exclude_seen",
)  # fmt: skip


class Source(NamedTuple):
    """The events that a training is made from."""

    events: DataFrame
    """Each event identity once."""
    counts: EventCounts
    version: int
    """Version of the event table."""
    seen: dict[str, dict[str, int]]
    """Topic id -> partition -> next offset."""


class Trained(NamedTuple):
    """A model of all interactions, and the lists it gives."""

    indexed: Indexed
    factors: Factors
    lists: DataFrame


def require_events(settings: Settings) -> None:
    """Return where there is an event table; asked before Spark is started for nothing.

    Raises
    ------
    NoInteractionsError
        There is none.
    """
    if not (settings.events_dir / "_delta_log").exists():
        message = (
            f"there are no events in {settings.events_dir}. Send some and take them in: "
            "`recgraph import FILE`, or `recgraph replay FILE` and then `recgraph ingest --once`."
        )
        raise NoInteractionsError(message)


def train(spark: SparkSession, settings: Settings, stages: Stages) -> Manifest:
    """One complete generation on disk, from all events that are in the event table now.

    Raises
    ------
    NoInteractionsError
        There are no events, or none is left to train on.
    """
    require_events(settings)
    generation_id = generations.new_id()
    with structlog.contextvars.bound_contextvars(generation=generation_id):
        with stages("read", "reading events"):
            source = _read_source(spark, settings)
        with stages("evaluate", "training the evaluation model"):
            measured = _evaluate(source.events, settings)
        trained = _fit(source.events, settings, stages)
        with stages("graph", "building the graph"):
            catalogue = _read_catalogue(spark, settings)
            graph = spark_graph.build_graph(trained.indexed, trained.lists, catalogue)
        with generations.open_new(settings.generations_dir, generation_id) as folder:
            with stages("write", "writing the generation"):
                _write_frames(folder, graph, trained.factors, settings)
            manifest = Manifest(
                id=generation_id,
                created_at=datetime.now(UTC),
                status="complete",
                feedback=settings.feedback,
                settings={name: getattr(settings, name) for name in _TRAINING_SETTINGS},
                seen=source.seen,
                events_version=source.version,
                counts=_counts(source.counts, trained, graph),
                metrics=measured,
                degrees=spark_graph.degrees_of_items(graph),
                departments=spark_graph.departments_recommended(graph),
                seconds=stages.seconds,
            )
            generations.write_manifest(folder, manifest)
    return manifest


def _read_source(spark: SparkSession, settings: Settings) -> Source:
    """The event table as it is now; what comes in meanwhile is for the next training."""
    tables = tables_of(settings)
    version = spark_events.table_version(spark, tables.events)
    table = spark_events.read_events(spark, tables, version)
    found = materialize(distinct_events(table))
    return Source(found, count_events(found), version, spark_events.seen_offsets(table))


def _fit(found: DataFrame, settings: Settings, stages: Stages) -> Trained:
    """The model of all events, and its lists."""
    with stages("interactions", "counting who bought what"):
        indexed = index_interactions(_interactions(found, settings))
    with stages("fit", f"fitting ALS to {indexed.n_interactions:,} interactions"):
        factors = fit_als(indexed, settings)
    with stages("recommend", f"choosing the top {settings.k} for {indexed.n_users:,} users"):
        lists = recommend.recommend_top_k(factors, indexed, settings)
    return Trained(indexed, factors, lists)


def _interactions(found: DataFrame, settings: Settings) -> DataFrame:
    return drop_rare(
        interactions_from_events(found, weighing_from_settings(settings)),
        min_user_items=settings.min_user_items,
        min_item_users=settings.min_item_users,
    )


def _evaluate(found: DataFrame, settings: Settings) -> Metrics:
    """What a model trained on events before the cut does on those after it."""
    span = found.agg(
        F.min(C.OCCURRED_AT).alias("first"), F.max(C.OCCURRED_AT).alias("last")
    ).first()
    assert span is not None  # an aggregate without groups has one row
    cut_at = (
        cut_time(span["first"], span["last"], test_days=settings.test_days)
        if span["last"]
        else None
    )
    if cut_at is None:
        return Metrics(None, 0.0, [], [], "all events share one moment: nothing can be held back")
    test_days = (span["last"] - cut_at).total_seconds() / 86_400
    is_test = F.col(C.OCCURRED_AT) >= F.lit(cut_at)
    cut_at = cut_at.replace(tzinfo=UTC)
    try:
        indexed = index_interactions(_interactions(found.where(~is_test), settings))
    except NoInteractionsError:
        return Metrics(cut_at, test_days, [], [], "no interaction is left before the test period")
    factors = fit_als(indexed, settings)
    test = interactions_from_events(found.where(is_test), weighing_from_settings(settings))
    ranking, errors = recommend.evaluate(factors, indexed, test, settings)
    note = None if ranking else "no user of the test period bought anything known before it"
    return Metrics(cut_at, test_days, ranking, errors, note)


def _counts(counted: EventCounts, trained: Trained, graph: spark_graph.Graph) -> Counts:
    indexed = trained.indexed
    return Counts(
        events=counted.events,
        duplicates=counted.duplicates,
        conflicts=counted.conflicts,
        users=indexed.n_users,
        items=indexed.n_items,
        interactions=indexed.n_interactions,
        density=indexed.n_interactions / (indexed.n_users * indexed.n_items),
        recommendations=trained.lists.count(),
        vertices=indexed.n_users + indexed.n_items,
        edges=graph.edges.count(),
    )


def _read_catalogue(spark: SparkSession, settings: Settings) -> DataFrame | None:
    path = settings.catalogue_path
    return spark.read.parquet(str(path)) if path.exists() else None


def _write_frames(
    folder: Path, graph: spark_graph.Graph, factors: Factors, settings: Settings
) -> None:
    frames: dict[str, DataFrame] = {
        generations.VERTICES: spark_graph.external_vertices(graph),
        generations.EDGES: spark_graph.external_edges(graph),
        generations.USERS: spark_graph.user_profiles(graph, max_neighbours=settings.max_neighbours),
        generations.ITEMS: spark_graph.item_profiles(graph, max_neighbours=settings.max_neighbours),
        generations.USER_FACTORS: factors.users,
    }
    for name, frame in frames.items():
        frame.write.parquet(str(folder / name))
    np.save(folder / generations.ITEM_FACTORS, factors.items)


def training_summary(manifest: Manifest) -> dict[str, Any]:
    """What `recgraph train --json` says of a generation."""
    return {
        "generation": manifest.id,
        "feedback": manifest.feedback,
        **{name: getattr(manifest.counts, name) for name in manifest.counts.__struct_fields__},
        "metrics": manifest.metrics,
        "coverage": manifest.degrees.coverage,
        "seconds": manifest.seconds,
    }
