"""Histories: what serving makes of them is what the training made of the same events."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recgraph import generations
from recgraph.config import Settings
from recgraph.events import SaleEvent
from recgraph.histories import identity_digest
from recgraph.jobs import training
from recgraph.ports import Recommended
from recgraph.serving import open_serving
from recgraph.stages import Stages
from tests.spark.test_training import START, write_events


def mixed_events(n: int = 400) -> list[dict[str, Any]]:
    """Purchases, returns of both kinds, carts and views, some twice."""
    rng = np.random.default_rng(3)
    kinds = ["purchase"] * 6 + ["view", "cart", "return"]
    rows = [
        {
            "user_id": f"üser {rng.integers(15):02}",
            "product_id": f"item {rng.zipf(1.4) % 30:02}",
            "kind": str(rng.choice(kinds)),
            "quantity": float(
                rng.choice([1.0, 2.5, 300.0, -1.0, 0.0], p=[0.6, 0.2, 0.1, 0.05, 0.05])
            ),
            "occurred_at": START + timedelta(seconds=int(rng.integers(100 * 86_400))),
            "event_id": f"e{number}",
        }
        for number in range(n)
    ]
    return rows + rows[:40]


@pytest.fixture(scope="module", params=[True, False], ids=["new", "repeats"])
def trained(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The folder of a generation that was trained on mixed events; its lists may hold repeats."""
    folder = tmp_path_factory.mktemp("trained")
    settings = Settings(
        data_dir=folder,
        n_factors=8,
        k=5,
        min_user_items=2,
        walk_exponent=0.2,
        exclude_seen=request.param,
    )
    write_events(spark, settings, mixed_events())
    manifest = training.train(spark, settings, Stages())
    return settings.generations_dir / manifest.id


def rows_of(folder: Path, side: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / side).to_pylist()
    return rows


def test_a_history_holds_each_event_once(trained: Path) -> None:
    serving = open_serving(trained)
    rows = {row["event_id"]: row for row in mixed_events()}
    for user_id in {row["user_id"] for row in rows.values()}:
        own = {key: row for key, row in rows.items() if row["user_id"] == user_id}
        history = serving.history(user_id)
        assert sorted(history["event"].tolist()) == sorted(map(identity_digest, own))
        sales = [
            (key, SaleEvent(**{k: v for k, v in row.items() if k != "event_id"}))
            for key, row in own.items()
        ]
        packed = serving.packed(sales)
        assert sorted(packed.tolist()) == sorted(history.tolist())


def test_the_half_step_gives_the_factors_of_the_training(trained: Path) -> None:
    serving = open_serving(trained)
    fitted = pq.read_table(trained / generations.USER_FACTORS).to_pandas().set_index("index")
    for user in rows_of(trained, generations.USERS):
        users = serving._users(serving._pairs([serving.history(user["user_id"])]), 1)
        expected = fitted.loc[user["user_index"], "factors"]
        assert users.factors[0] == pytest.approx(expected, abs=1e-6)


def test_the_list_of_a_history_is_that_of_the_training(trained: Path) -> None:
    serving = open_serving(trained)
    for user in rows_of(trained, generations.USERS):
        rows = serving.recommend(serving.history(user["user_id"])).rows
        expected = user["recommended"]
        assert [row.item_id for row in rows] == [row["item_id"] for row in expected]
        for row, batch in zip(rows, expected, strict=True):
            assert row.score == pytest.approx(batch["score"], abs=1e-4, rel=1e-6)
            assert row.parts == pytest.approx(dict(batch["parts"]), abs=1e-4, rel=1e-6)
            assert row.source == batch["source"]
            assert [each.item_id for each in row.because] == [
                each["item_id"] for each in batch["because"]
            ]


def test_buyers_are_those_of_the_graph(trained: Path) -> None:
    serving = open_serving(trained)
    ids = [row["user_id"] for row in rows_of(trained, generations.USERS)]
    for item in rows_of(trained, generations.ITEMS):
        buyers = serving.histories.buyers_of(item["item_index"])
        assert sorted(ids[user] for user in buyers) == sorted(
            each["user_id"] for each in item["buyers"]
        )


def rated_events(n: int = 500) -> list[dict[str, Any]]:
    """Ratings, some changed later, some of one moment, one of 0; purchases; some of it twice."""
    rng = np.random.default_rng(5)
    rows = [
        {
            "user_id": f"üser {rng.integers(20):02}",
            "product_id": f"item {rng.zipf(1.4) % 30:02}",
            "kind": "rating",
            "quantity": 0.0,
            "rating": float(rng.integers(6)),
            "occurred_at": START + timedelta(hours=int(rng.integers(40))),
            "event_id": f"e{number}",
        }
        for number in range(n)
    ]
    for row in rows[::5]:
        row.update(kind="purchase", quantity=1.0, rating=None)
    return rows + rows[:40]


@pytest.fixture(scope="module", params=["spark", "local"])
def trained_on_ratings(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The folder of a generation that predicts ratings."""
    folder = tmp_path_factory.mktemp("rated")
    settings = Settings(
        data_dir=folder, feedback="explicit", engine=request.param, n_factors=8, k=5
    )
    write_events(spark, settings, rated_events())
    manifest = training.train(spark, settings, Stages())
    return settings.generations_dir / manifest.id


def test_ratings_fold_in_to_the_factors_of_the_training(trained_on_ratings: Path) -> None:
    serving = open_serving(trained_on_ratings)
    path = trained_on_ratings / generations.USER_FACTORS
    fitted = pq.read_table(path).to_pandas().set_index("index")
    for user in rows_of(trained_on_ratings, generations.USERS):
        users = serving._users(serving._pairs([serving.history(user["user_id"])]), 1)
        expected = np.array(fitted.loc[user["user_index"], "factors"])
        distance = np.linalg.norm(users.factors[0] - expected)
        assert distance < 1e-5 * np.linalg.norm(expected)
        taste = np.linalg.norm((users.factors[0] - expected)[:-2])
        assert taste < 1e-4 * np.linalg.norm(expected[:-2])


def test_lists_of_ratings_are_those_of_the_training(trained_on_ratings: Path) -> None:
    serving = open_serving(trained_on_ratings)
    for user in rows_of(trained_on_ratings, generations.USERS):
        rows = serving.recommend(serving.history(user["user_id"])).rows
        assert [row.item_id for row in rows] == [each["item_id"] for each in user["recommended"]]
        for row, batch in zip(rows, user["recommended"], strict=True):
            assert row.score == pytest.approx(batch["score"], rel=1e-5)
            assert (row.source, row.parts) == ("als", {"als": row.score})


def test_a_rating_is_packed_as_the_training_packs_it(trained_on_ratings: Path) -> None:
    serving = open_serving(trained_on_ratings)
    rows = {row["event_id"]: row for row in rated_events()}
    for user_id in {row["user_id"] for row in rows.values()}:
        sales = [
            (key, SaleEvent(**{k: v for k, v in row.items() if k != "event_id"}))
            for key, row in rows.items()
            if row["user_id"] == user_id
        ]
        packed = serving.packed(sales)
        assert sorted(packed.tolist()) == sorted(serving.history(user_id).tolist())


def test_a_new_rating_counts_and_a_purchase_does_not(trained_on_ratings: Path) -> None:
    serving = open_serving(trained_on_ratings)
    user = rows_of(trained_on_ratings, generations.USERS)[0]["user_id"]
    before = serving.recommend(serving.history(user)).rows
    first = before[0].item_id
    at = START + timedelta(days=30)

    def after(*ratings: float | None) -> list[Recommended]:
        sales = [
            (f"new {number}", SaleEvent(user, first, 1.0, at + timedelta(days=number), rating=each))
            for number, each in enumerate(ratings)
        ]
        return serving.recommend(serving.history(user, serving.packed(sales))).rows

    assert after(None) == before
    assert first not in {row.item_id for row in after(1.0)}
    assert after(5.0, 1.0) == after(1.0)
    assert after(1.0, None) == after(1.0)
    assert [row.score for row in after(1.0)] != [row.score for row in after(5.0)]
