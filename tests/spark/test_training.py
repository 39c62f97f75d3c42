"""A whole training on small event tables: generations, evaluation, and input that is too little."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from scipy import sparse

from recgraph import biases, blend, catalogue, fallback, generations, jobs, walk
from recgraph.config import Settings, load_settings
from recgraph.errors import GenerationError, NoInteractionsError
from recgraph.generations import Manifest
from recgraph.jobs import gating, training
from recgraph.lists import UNKNOWN
from recgraph.ports import Product
from recgraph.spark import events as spark_events
from recgraph.stages import Stages
from recgraph.tables import create_tables
from tests.spark.conftest import SMALL

START = datetime(2020, 1, 1, tzinfo=UTC)


def write_events(spark: SparkSession, settings: Settings, rows: list[dict[str, Any]]) -> None:
    """An event table with these events; what a row leaves out gets a default."""
    tables = jobs.tables_of(settings)
    create_tables(tables)
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


class Trained(NamedTuple):
    """A data folder and the one generation in it."""

    settings: Settings
    manifest: Manifest


@pytest.fixture(scope="module")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training on the shoppers, with titles of all that they buy; tests only read it."""
    folder = tmp_path_factory.mktemp("trained")
    settings = load_settings(data_dir=folder, gate_min_measured=5, **SMALL)
    write_events(spark, settings, shoppers())
    titles = [Product(f"item {number:02}", title=f"Item {number}") for number in range(20)]
    catalogue.write_catalogue(settings.catalogue_path, titles)
    return Trained(settings, training.train(spark, settings, Stages()))


def test_train_writes_one_complete_generation(trained: Trained) -> None:
    settings, manifest = trained
    folder = generations.resolve(settings.generations_dir, None)
    assert generations.read_manifest(folder) == manifest
    counts = manifest.counts
    assert (counts.events, counts.users, counts.items) == (360, 12, 20)
    assert counts.edges == counts.interactions + counts.recommendations
    assert manifest.seen == {"topic": {"0": 359, "1": 360}}
    assert pq.read_table(folder / generations.VERTICES).num_rows == counts.vertices == 32
    assert pq.read_table(folder / generations.EDGES).num_rows == counts.edges
    assert np.load(folder / generations.ITEM_FACTORS, mmap_mode="r").shape == (20, 8)
    popular = fallback.read_popular(folder / generations.POPULAR)
    assert (popular.segments, sorted(popular.of(UNKNOWN))) == ([], list(range(20)))
    user = pq.read_table(folder / generations.USERS).to_pylist()[0]
    assert user["bought"][0]["title"].startswith("Item ")
    assert not list(settings.generations_dir.glob(".*"))
    ours = {(row.task, row.recommender): row.ndcg for row in manifest.metrics.ranking}
    assert ours["next_basket", "als"] > ours["next_basket", "popular"]
    assert ours["next_basket", "als+walk"] > ours["next_basket", "popular"]
    assert manifest.metrics.model == "als+walk"
    assert manifest.coefficients.keys() == {"als", "walk"}
    assert manifest.metrics.test_days == pytest.approx(99 / 4, abs=0.5)


def test_the_files_of_a_generation_give_its_scores_again(trained: Trained) -> None:
    settings, manifest = trained
    folder = settings.generations_dir / manifest.id
    factors = pq.read_table(folder / generations.USER_FACTORS).to_pandas().set_index("index")
    items = blend.Items(
        np.load(folder / generations.ITEM_FACTORS),
        sparse.load_npz(folder / generations.ITEM_NEIGHBOURS),
    )
    sums = np.load(folder / generations.ITEM_SUMS)
    index = {row["item_id"]: row["item_index"] for row in _profiles(folder, generations.ITEMS)}
    coefficients = blend.Coefficients(**manifest.coefficients)
    for user in _profiles(folder, generations.USERS):
        ratings = np.zeros((1, 20), np.float32)
        for each in user["bought"]:
            ratings[0, index[each["item_id"]]] = np.log1p(np.float32(each["rating"]))
        one = blend.Users(
            np.array([factors.loc[user["user_index"], "factors"]], np.float32),
            walk.user_steps(sparse.csr_matrix(ratings), sums),
        )
        scores = blend.score(one, items, coefficients).whole()[0]
        assert len(user["recommended"]) == 3
        for row in user["recommended"]:
            assert row["score"] == pytest.approx(scores[index[row["item_id"]]], abs=1e-4)
            assert row["score"] == pytest.approx(sum(dict(row["parts"]).values()))
            bought = {each["item_id"] for each in user["bought"]}
            assert {each["item_id"] for each in row["because"]} <= bought


def _profiles(folder: Path, side: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / side).to_pylist()
    return rows


def test_the_same_events_give_the_same_recommendations(
    spark: SparkSession, small: Settings, trained: Trained
) -> None:
    rows = [row | {"event_id": f"e{number}"} for number, row in enumerate(shoppers())]
    write_events(spark, small, rows[::-1] + rows[:50])
    manifest = training.train(spark, small, Stages())
    assert manifest.counts.duplicates == 50
    before = recommended(trained.settings.generations_dir / trained.manifest.id)
    assert recommended(small.generations_dir / manifest.id) == before


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
    counts = manifest.counts
    expected = biases.regularization_for(counts.interactions, counts.users, counts.items)
    assert manifest.regularization == expected
    assert {row.predictor for row in manifest.metrics.errors} == {"als", "biases", "constant"}
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


# --- the quality gate ---------------------------------------------------------------------------


def test_the_gate_compares_with_the_current_settings_only_when_they_differ(
    spark: SparkSession, trained: Trained, tmp_path: Path
) -> None:
    first = trained.manifest
    strict = trained.settings.model_copy(update={"data_dir": tmp_path / "data"})
    shutil.copytree(trained.settings.data_dir, strict.data_dir)
    assert (first.status, first.reason) == ("complete", None)
    assert first.verdict is not None
    assert first.verdict.compared_with is None
    assert {check.against for check in first.verdict.checks} <= {"popular", "recent"}

    again = training.train(spark, strict, Stages())
    assert again.verdict is not None
    assert again.verdict.notes == [f"the settings of {first.id} are the same"]
    assert "compare" not in again.seconds

    # Penalised so much that every factor is nearly nothing, and the lists are as good as random.
    worse = {"n_factors": 1, "n_iterations": 1, "regularization": 1e6, "walk_weight": 0.0}
    bad = strict.model_copy(update=worse)
    refused = training.train(spark, bad, Stages())
    assert refused.status == "rejected"
    assert refused.verdict is not None
    assert refused.verdict.compared_with == again.id
    assert "current" in {each.against for each in refused.verdict.checks if not each.passed}
    assert refused.reason == "; ".join(refused.verdict.reasons)
    assert "compare" in refused.seconds
    folder = strict.generations_dir / refused.id
    assert generations.read_manifest(folder) == refused
    assert pq.read_table(folder / generations.EDGES).num_rows == refused.counts.edges
    assert generations.resolve(strict.generations_dir, None).name == again.id
    with pytest.raises(GenerationError, match="no complete generation"):
        training.train(spark, strict, Stages(), current="20200101-000000-aaaa")


def test_a_model_of_ratings_worse_than_a_constant_is_refused(
    spark: SparkSession, small: Settings
) -> None:
    rng = np.random.default_rng(3)
    noise = [row | {"rating": float(rng.integers(1, 6))} for row in shoppers(n_items=40)]
    write_events(spark, small, noise)
    overfit = {"feedback": "explicit", "n_factors": 16, "regularization": 1e-4, "n_iterations": 10}
    manifest = training.train(spark, small.model_copy(update=overfit), Stages())
    assert manifest.status == "rejected"
    assert manifest.reason is not None
    assert re.fullmatch(r"RMSE [\d.]+ is above constant [\d.]+", manifest.reason)


def test_models_that_know_different_users_are_measured_on_those_both_know(
    spark: SparkSession, small: Settings
) -> None:
    rare = [
        {"user_id": f"rare {number:02}", "product_id": f"item {number:02}", "occurred_at": moment}
        for number in range(20)
        for moment in (START, START + timedelta(days=99))
    ]
    write_events(spark, small, shoppers() + rare)
    settings = small.model_copy(update={"gate_min_measured": 5, "exclude_seen": False})
    current = training.train(spark, settings, Stages())
    found = spark_events.read_events(spark, jobs.tables_of(settings))
    choosy = settings.model_copy(update={"min_user_items": 2})
    judged = gating.judge(found, choosy, current, Stages())
    n_users = {row.n_users for row in judged.metrics.ranking if row.task == "next_basket"}
    assert n_users == {12}
    before = {row.n_users for row in current.metrics.ranking if row.task == "next_basket"}
    assert before == {32}
    against = {check.against: check for check in judged.verdict.checks}
    alone = gating.judge(found, choosy, None, Stages())
    assert against["current"].value == pytest.approx(alone.verdict.checks[0].value)
    easy = current.metrics.ranking
    assert judged.metrics.model == "als+walk+repeat"
    ours = ("next_basket", judged.metrics.model)
    of_all = next(r.ndcg for r in easy if (r.task, r.recommender) == ours)
    assert against["current"].reference != pytest.approx(of_all)
