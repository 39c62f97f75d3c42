"""The job of training: event table -> one generation on disk, complete or rejected."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import structlog
from pyspark.sql import DataFrame, SparkSession
from scipy import sparse

from recgraph import fallback, generations, transforms
from recgraph.catalogue import read_catalogue
from recgraph.config import Settings
from recgraph.generations import Counts, Manifest
from recgraph.jobs import gating
from recgraph.jobs.features import with_reviews
from recgraph.jobs.source import read_products, read_source, require_source
from recgraph.ports import Product
from recgraph.recommend import Shelf
from recgraph.spark import blend, profiles, recommend
from recgraph.spark import graph as spark_graph
from recgraph.spark.catalogue import catalogued
from recgraph.spark.histories import write_histories
from recgraph.spark.interactions import EventCounts, training_interactions
from recgraph.spark.model import fit_als, index_interactions
from recgraph.stages import Stages
from recgraph.weighing import weighing_from_settings

_TRAINING_SETTINGS = (
    "train_on", "engine", "kind_weights", "half_life_days", "n_factors", "n_iterations",
    "regularization", "local_regularization", "local_exponent", "alpha", "transform", "rating_cap",
    "max_user_events", "bias_damping", "als_weight", "walk_weight", "walk_neighbours",
    "walk_exponent", "walk_half_life_days", "repeat_weight", "repeat_half_life_days", "seed",
    "min_user_items", "min_item_users", "content_weight", "cold_weight", "max_cold_items",
    "content_neighbours", "test_days", "test_share", "rating_prior", "k", "exclude_seen",
    "max_per_category", "popularity_discount", "max_listed_items",
)  # fmt: skip


class Trained(NamedTuple):
    """A model of all interactions, and the lists it gives."""

    model: blend.Model
    lists: DataFrame
    shelf: Shelf


def train(
    spark: SparkSession, settings: Settings, stages: Stages, *, current: str | None = None
) -> Manifest:
    """One generation on disk, complete or rejected, from all events or reviews there are now.

    Parameters
    ----------
    current
        The generation that it must keep up with; None, the newest complete one on disk.

    Raises
    ------
    NoInteractionsError
        There are no events, or none is left to train on.
    GenerationError
        ``current`` is not on disk.
    """
    require_source(settings)
    before = gating.current_manifest(settings, current)
    generation_id = generations.new_id()
    with structlog.contextvars.bound_contextvars(generation=generation_id):
        with stages("read", "reading events"):
            source = read_source(spark, settings)
        products = read_catalogue(settings.catalogue_path)
        judged = gating.judge(source.events, settings, before, stages, products)
        trained = _fit(source.events, products, settings, stages)
        with stages("graph", "building the graph"):
            catalogue = read_products(spark, settings)
            model = trained.model
            graph = spark_graph.build_graph(
                model.indexed, trained.lists, catalogue, model.neighbours
            )
        with generations.open_new(settings.generations_dir, generation_id) as folder:
            with stages("write", "writing the generation"):
                _write_frames(folder, graph, settings)
                _write_model(folder, trained)
                weighing = weighing_from_settings(settings)
                write_histories(folder, source.events, trained.model.indexed, weighing)
            manifest = Manifest(
                id=generation_id,
                created_at=datetime.now(UTC),
                status="complete" if judged.verdict.passed else "rejected",
                feedback=settings.feedback,
                settings={name: getattr(settings, name) for name in _TRAINING_SETTINGS},
                seen=source.seen,
                events_version=source.version,
                capped_users=source.capped,
                counts=_counts(source.counts, trained, graph),
                metrics=judged.metrics,
                degrees=spark_graph.degrees_of_items(graph),
                departments=spark_graph.departments_recommended(graph),
                coefficients=_coefficients(trained.model, settings),
                mean_rating=trained.model.factors.mean_rating,
                regularization=trained.model.factors.regularization,
                seconds=stages.seconds,
                reason="; ".join(judged.verdict.reasons) or None,
                verdict=judged.verdict,
            )
            generations.write_manifest(folder, manifest)
    return manifest


def _fit(
    found: DataFrame, products: Mapping[str, Product], settings: Settings, stages: Stages
) -> Trained:
    """The model of all events, and its lists."""
    with stages("interactions", "counting who bought what"):
        indexed = index_interactions(training_interactions(found, settings))
        indexed = with_reviews(catalogued(indexed, products, settings), settings)
    with stages("fit", f"fitting ALS to {indexed.n_interactions:,} interactions"):
        factors = fit_als(indexed, settings)
    with stages("walk", f"walking between {indexed.n_items:,} products"):
        model = blend.blended(indexed, factors, settings)
    with stages("recommend", f"choosing the top {settings.k} for {indexed.n_users:,} users"):
        shelf = recommend.shelf_of(model, settings)
        lists = recommend.recommend_top_k(model, settings, shelf)
    return Trained(model, lists, shelf)


def _counts(counted: EventCounts, trained: Trained, graph: spark_graph.Graph) -> Counts:
    indexed = trained.model.indexed
    return Counts(
        events=counted.events,
        duplicates=counted.duplicates,
        conflicts=counted.conflicts,
        users=indexed.n_users,
        items=indexed.n_items,
        interactions=indexed.n_interactions,
        cold_items=indexed.n_cold,
        density=indexed.n_interactions / (indexed.n_users * (indexed.n_items - indexed.n_cold)),
        recommendations=trained.lists.count(),
        vertices=indexed.n_users + indexed.n_items,
        edges=graph.edges.count(),
    )


def _write_frames(folder: Path, graph: spark_graph.Graph, settings: Settings) -> None:
    n = settings.max_neighbours
    frames: dict[str, DataFrame] = {
        generations.VERTICES: profiles.external_vertices(graph),
        generations.EDGES: profiles.external_edges(graph),
        generations.USERS: profiles.user_profiles(graph, max_neighbours=n),
        generations.ITEMS: profiles.item_profiles(graph, max_neighbours=n),
    }
    for name, frame in frames.items():
        frame.write.parquet(str(folder / name))


def _write_model(folder: Path, trained: Trained) -> None:
    """What scores are made from, so that others can make them again."""
    model = trained.model
    model.factors.users.write.parquet(str(folder / generations.USER_FACTORS))
    np.save(folder / generations.ITEM_FACTORS, model.factors.items)
    transforms.write_fitted(folder / generations.TRANSFORM, model.factors.transform)
    if model.side.items.neighbours is not None:
        path = folder / generations.ITEM_NEIGHBOURS
        sparse.save_npz(path, model.side.items.neighbours, compressed=False)
    if model.side.items.similar is not None:
        path = folder / generations.ITEM_CONTENT
        sparse.save_npz(path, model.side.items.similar, compressed=False)
    if len(model.side.item_sums):
        np.save(folder / generations.ITEM_SUMS, model.side.item_sums)
    if model.side.items.again is not None:
        np.save(folder / generations.ITEM_AGAIN, model.side.items.again)
    if model.side.items.discount is not None:
        np.save(folder / generations.ITEM_DISCOUNT, model.side.items.discount)
    item_ids = [product.item_id for product in model.indexed.products]
    fallback.write_popular(folder / generations.POPULAR, trained.shelf.popular, item_ids)


def _coefficients(model: blend.Model, settings: Settings) -> dict[str, float]:
    """What each part of a published score is multiplied by; parts that are off are left out."""
    counts = blend.of_lists(model.side.coefficients, exclude_seen=settings.exclude_seen)
    return {name: value for name, value in counts._asdict().items() if value}


def training_summary(manifest: Manifest) -> dict[str, Any]:
    """What `recgraph train --json` says of a generation."""
    return {
        "generation": manifest.id,
        "status": manifest.status,
        "reason": manifest.reason,
        "verdict": manifest.verdict,
        "feedback": manifest.feedback,
        **{name: getattr(manifest.counts, name) for name in manifest.counts.__struct_fields__},
        "metrics": manifest.metrics,
        "coverage": manifest.degrees.coverage,
        "capped_users": manifest.capped_users,
        "seconds": manifest.seconds,
    }
