"""A whole training on small event tables: generations, evaluation, and input that is too little."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recgraph import catalogue, generations, jobs
from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.jobs import training
from recgraph.ports import Product
from recgraph.spark import events as spark_events
from recgraph.stages import Stages

START = datetime(2020, 1, 1, tzinfo=UTC)


def write_events(spark: SparkSession, settings: Settings, rows: list[dict[str, Any]]) -> None:
    """An event table with these events; what a row leaves out gets a default."""
    tables = jobs.tables_of(settings)
    spark_events.create_tables(spark, tables)
    full = [
        {
            "event_id": f"e{number}",
            "user_id": "u",
            "product_id": "p",
            "quantity": 1.0,
            "rating": None,
            "kind": "purchase",
            "occurred_at": START + timedelta(days=number % 100),
            "topic_id": "topic",
            "partition": number % 2,
            "offset": number,
            "ingested_at": START,
        }
        | row
        for number, row in enumerate(rows)
    ]
    schema = spark_events.read_events(spark, tables).schema
    frame = spark.createDataFrame(full, schema)
    frame.write.format("delta").mode("append").save(str(tables.events))


def shoppers(n_users: int = 12, n_items: int = 20) -> list[dict[str, Any]]:
    """Two tastes: even users buy even items, odd users odd ones; a few each week."""
    rng = np.random.default_rng(7)
    return [
        {
            "user_id": f"user {user:02}",
            "product_id": f"item {2 * int(rng.integers(n_items // 2)) + user % 2:02}",
            "occurred_at": START + timedelta(days=int(rng.integers(100))),
        }
        for user in range(n_users)
        for _ in range(30)
    ]


def recommended(folder: Path) -> list[tuple[str, str, int, float]]:
    table = pq.read_table(folder / generations.EDGES).to_pandas()
    edges = table[table["kind"] == "recommended"].sort_values(["src", "rank"])
    columns = (edges[name].tolist() for name in ("src", "dst", "rank", "score"))
    return list(zip(*columns, strict=True))


def test_train_writes_one_complete_generation(spark: SparkSession, small: Settings) -> None:
    write_events(spark, small, shoppers())
    titles = [Product(f"item {number:02}", title=f"Item {number}") for number in range(20)]
    catalogue.write_catalogue(small.catalogue_path, titles)
    manifest = training.train(spark, small, Stages())
    folder = generations.resolve(small.generations_dir, None)
    assert generations.read_manifest(folder) == manifest
    counts = manifest.counts
    assert (counts.events, counts.users, counts.items) == (360, 12, 20)
    assert counts.edges == counts.interactions + counts.recommendations
    assert manifest.seen == {"topic": {"0": 359, "1": 360}}
    assert pq.read_table(folder / generations.VERTICES).num_rows == counts.vertices == 32
    assert pq.read_table(folder / generations.EDGES).num_rows == counts.edges
    assert np.load(folder / generations.ITEM_FACTORS, mmap_mode="r").shape == (20, 8)
    user = pq.read_table(folder / generations.USERS).to_pylist()[0]
    assert user["bought"][0]["title"].startswith("Item ")
    assert not list(small.generations_dir.glob(".*"))
    ours = {(row.task, row.recommender): row.ndcg for row in manifest.metrics.ranking}
    assert ours["next_basket", "als"] > ours["next_basket", "popular"]
    assert manifest.metrics.test_days == pytest.approx(99 / 4, abs=0.5)


def test_the_same_events_give_the_same_recommendations(
    spark: SparkSession, small: Settings, tmp_path: Path
) -> None:
    rows = [row | {"event_id": f"e{number}"} for number, row in enumerate(shoppers())]
    found = []
    for name, order in (("one", rows), ("two", rows[::-1] + rows[:50])):
        settings = small.model_copy(update={"data_dir": tmp_path / name})
        write_events(spark, settings, order)
        manifest = training.train(spark, settings, Stages())
        found.append(recommended(settings.generations_dir / manifest.id))
    assert manifest.counts.duplicates == 50
    assert found[0] == found[1]


def test_explicit_feedback_predicts_ratings(spark: SparkSession, small: Settings) -> None:
    rows = [
        row | {"event_id": f"{row['user_id']}{number}", "rating": 5.0 if number % 3 else 1.0}
        for number, row in enumerate(shoppers())
    ]
    rows.append({"user_id": "silent", "rating": None})
    write_events(spark, small, rows)
    explicit = small.model_copy(update={"feedback": "explicit"})
    manifest = training.train(spark, explicit, Stages())
    assert manifest.feedback == "explicit"
    assert manifest.counts.users == 12  # who rated nothing says nothing
    assert {row.predictor for row in manifest.metrics.errors} == {"als", "constant"}
    users = pd.DataFrame(
        pq.read_table(small.generations_dir / manifest.id / generations.USERS).to_pylist()
    )
    ratings = {each["rating"] for bought in users["bought"] for each in bought}
    assert ratings <= {1.0, 5.0}


def test_one_event_makes_a_generation_without_lists(spark: SparkSession, small: Settings) -> None:
    write_events(spark, small, [{}])
    manifest = training.train(spark, small, Stages())
    assert (manifest.counts.users, manifest.counts.recommendations) == (1, 0)
    assert manifest.metrics.note == "all events share one moment: nothing can be held back"
    assert manifest.degrees.coverage == 0.0


def test_one_user_only_is_trained(spark: SparkSession, small: Settings) -> None:
    write_events(spark, small, [{"product_id": f"p{number}"} for number in range(8)])
    manifest = training.train(spark, small, Stages())
    assert (manifest.counts.users, manifest.counts.items) == (1, 8)
    assert manifest.metrics.note == "no user of the test period bought anything known before it"


def test_nobody_left_after_filtering_says_so_and_leaves_no_generation(
    spark: SparkSession, small: Settings
) -> None:
    write_events(spark, small, shoppers())
    strict = small.model_copy(update={"min_user_items": 1000})
    with pytest.raises(NoInteractionsError, match="RECGRAPH_MIN_USER_ITEMS"):
        training.train(spark, strict, Stages())
    assert generations.list_generations(small.generations_dir) == []


def test_all_returned_is_nothing_to_train_on(spark: SparkSession, small: Settings) -> None:
    write_events(spark, small, [{"quantity": 1.0}, {"quantity": -1.0}])
    with pytest.raises(NoInteractionsError, match="more purchases than returns"):
        training.train(spark, small, Stages())


def test_strange_ids_go_through_whole(spark: SparkSession, small: Settings) -> None:
    ids = ["a b", 'q"q', "$where", "a.b", "🥐", "<b>x</b>", "a,b", "line\nbreak"]
    write_events(spark, small, [{"user_id": each, "product_id": each} for each in ids])
    manifest = training.train(spark, small, Stages())
    folder = small.generations_dir / manifest.id
    vertices = pq.read_table(folder / generations.VERTICES).to_pydict()["id"]
    assert set(vertices) == {f"{kind}:{each}" for kind in "ui" for each in ids}
