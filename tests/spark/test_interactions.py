"""Events -> interactions: duplicates, conflicts, returns, ratings."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from recgraph.config import Settings
from recgraph.repeats import strengths
from recgraph.spark.interactions import (
    count_events,
    distinct_events,
    drop_rare,
    interactions_from_events,
)
from recgraph.weighing import weighing_from_settings

IMPLICIT = weighing_from_settings(Settings(half_life_days=None))
DAY = datetime(2020, 1, 1, tzinfo=UTC)
SCHEMA = (
    "event_id string, user_id string, product_id string, quantity double, rating double, "
    "kind string, occurred_at timestamp, partition int, offset long, ingested_at timestamp"
)


def events(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """Event rows with defaults: user u buys one of p, an event a day."""
    full = [
        (
            row.get("event_id", f"e{number}"),
            row.get("user", "u"),
            row.get("product", "p"),
            float(row.get("quantity", 1)),
            row.get("rating"),
            row.get("kind", "purchase"),
            DAY + timedelta(days=row.get("day", number)),
            0,
            number,
            DAY + timedelta(days=400, seconds=number),
        )
        for number, row in enumerate(rows)
    ]
    return spark.createDataFrame(full, SCHEMA)


def ratings(frame: DataFrame) -> dict[tuple[str, str], float]:
    return {(row["user_id"], row["item_id"]): row["rating"] for row in frame.collect()}


def test_distinct_events_keeps_the_first_copy_and_counts_conflicts(spark: SparkSession) -> None:
    frame = events(
        spark,
        {"event_id": "a", "quantity": 1, "day": 5},
        {"event_id": "a", "quantity": 1, "day": 5},
        {"event_id": "a", "quantity": 9, "day": 5},
        {"event_id": "b"},
    )
    found = distinct_events(frame)
    assert count_events(found) == (2, 2, 1)
    assert sorted(row["quantity"] for row in found.collect()) == [1.0, 1.0]


def test_count_events_of_nothing_is_zero(spark: SparkSession) -> None:
    assert count_events(distinct_events(events(spark).where("false"))) == (0, 0, 0)


def test_implicit_rating_counts_purchases_less_returns(spark: SparkSession) -> None:
    frame = events(
        spark,
        {"product": "bread", "quantity": 2},
        {"product": "bread", "quantity": 89_638},
        {"product": "bread", "quantity": -1},
        {"product": "shoes", "quantity": 1},
        {"product": "shoes", "quantity": -1},
        {"product": "bag", "quantity": 0},
    )
    assert ratings(interactions_from_events(frame, IMPLICIT)) == {("u", "bread"): 1.0}


def test_kinds_have_weights_and_only_purchases_are_bought(spark: SparkSession) -> None:
    frame = events(
        spark,
        {"product": "tea", "kind": "view"},
        {"product": "tea", "kind": "cart"},
        {"product": "cake", "kind": "view"},
        {"product": "cake", "kind": "purchase"},
        {"product": "hat", "kind": "purchase"},
        {"product": "hat", "kind": "return"},
    )
    rows = interactions_from_events(frame, IMPLICIT).collect()
    found = {row["item_id"]: (row["rating"], row["is_bought"]) for row in rows}
    assert found == {
        "tea": (pytest.approx(0.4), False),
        "cake": (pytest.approx(1.1), True),
    }


def test_old_events_decay_and_returns_weigh_as_they_are_old(spark: SparkSession) -> None:
    frame = events(
        spark,
        {"product": "old", "day": 0},
        {"product": "new", "day": 20},
        {"product": "back", "day": 0},
        {"product": "back", "day": 10, "quantity": -1},
    )
    decayed = interactions_from_events(frame, IMPLICIT._replace(half_life_days=10.0))
    assert ratings(decayed) == {("u", "old"): pytest.approx(0.25), ("u", "new"): 1.0}


def test_each_rating_decays_with_its_own_half_life(spark: SparkSession) -> None:
    frame = events(spark, {"day": 0}, {"day": 10}, {"product": "new", "day": 20})
    weighing = IMPLICIT._replace(
        half_life_days=None, walk_half_life_days=10.0, repeat_half_life_days=20.0
    )
    rows = interactions_from_events(frame, weighing).where("item_id = 'p'").collect()
    found = [(row["rating"], row["recent_rating"], row["repeat_rating"]) for row in rows]
    assert found == [(2.0, 0.25, pytest.approx(0.5 + 0.5**0.5))]


def test_silence_weakens_a_repeat_and_what_was_early_is_known(spark: SparkSession) -> None:
    days = (0, 1, 2, 40)
    frame = events(spark, *({"day": day} for day in days), {"product": "new", "day": 60})
    rows = interactions_from_events(frame, IMPLICIT._replace(repeat_half_life_days=20.0))
    row = rows.where("item_id = 'p'").collect()[0]
    early, late = sum(0.5 ** ((60 - day) / 20) for day in days[:3]), 0.5
    expected = strengths(np.array([early + late]), np.array([20.0]), 20.0)[0]
    assert expected < early + late
    assert row["repeat_rating"] == pytest.approx(expected, rel=1e-5)
    assert row["early_rating"] == pytest.approx(early, rel=1e-5)


def test_a_view_or_a_return_is_no_coming_back(spark: SparkSession) -> None:
    def row(*further: dict[str, object]) -> Row:
        frame = events(
            spark, {"day": 10}, {"day": 11}, {"day": 12}, {"product": "new", "day": 60}, *further
        )
        weighing = IMPLICIT._replace(repeat_half_life_days=20.0, walk_half_life_days=20.0)
        return interactions_from_events(frame, weighing).where("item_id = 'p'").collect()[0]

    plain, viewed = row(), row({"kind": "view", "day": 0}, {"kind": "view", "day": 59})
    returned = row({"quantity": -1, "day": 59})
    assert viewed["recent_rating"] == plain["recent_rating"], "the first purchase counts"
    assert viewed["early_rating"] == returned["early_rating"] == plain["early_rating"]
    assert viewed["last_at"] == returned["last_at"] == plain["last_at"]
    total = sum(0.5 ** ((60 - day) / 20) for day in (10, 11, 12))
    for found, more in ((viewed, 0.1 * (0.5 ** (60 / 20) + 0.5 ** (1 / 20))), (plain, 0.0)):
        expected = strengths(np.array([total + more]), np.array([48.0]), 20.0)[0]
        assert found["repeat_rating"] == pytest.approx(expected, rel=1e-4)


def test_a_fresh_return_leaves_no_rating_below_nothing(spark: SparkSession) -> None:
    frame = events(spark, {"day": 0}, {"day": 0}, {"day": 400, "quantity": -1})
    row = interactions_from_events(frame, IMPLICIT).collect()[0]
    assert (row["rating"], row["recent_rating"], row["repeat_rating"]) == (1.0, 0.0, 0.0)


def test_a_return_takes_back_whatever_sign_its_quantity_has(spark: SparkSession) -> None:
    frame = events(
        spark,
        {"product": "hat"},
        {"product": "hat", "kind": "return", "quantity": -1},
        {"product": "tea"},
        {"product": "tea", "kind": "return", "quantity": 1},
        {"product": "tea", "kind": "view", "quantity": 0},
    )
    rows = interactions_from_events(frame, IMPLICIT).collect()
    found = [(row["item_id"], row["rating"], row["is_bought"]) for row in rows]
    assert found == [("tea", pytest.approx(0.1), False)]


def test_what_was_bought_long_ago_is_still_bought(spark: SparkSession) -> None:
    frame = events(spark, {"product": "old", "day": 0}, {"product": "new", "day": 300})
    rows = interactions_from_events(frame, IMPLICIT._replace(half_life_days=7.0)).collect()
    found = {row["item_id"]: (row["rating"], row["is_bought"]) for row in rows}
    assert found == {"old": (pytest.approx(1e-6), True), "new": (1.0, True)}


def test_interactions_know_when_the_last_purchase_was(spark: SparkSession) -> None:
    frame = events(spark, {"day": 3}, {"day": 9}, {"day": 1})
    row = interactions_from_events(frame, IMPLICIT).collect()[0]
    assert row["n_events"] == 3
    assert row["last_at"].date() == (DAY + timedelta(days=9)).date()


def test_explicit_rating_is_the_one_given_last(spark: SparkSession) -> None:
    frame = events(
        spark,
        {"rating": 2.0, "day": 8},
        {"rating": 5.0, "day": 3},
        {"rating": None, "day": 9},
        {"product": "unrated"},
    )
    assert ratings(interactions_from_events(frame, IMPLICIT._replace(feedback="explicit"))) == {
        ("u", "p"): 2.0
    }


def test_drop_rare_leaves_out_users_and_items_with_too_few(spark: SparkSession) -> None:
    frame = events(
        spark,
        {"user": "a", "product": "x"},
        {"user": "b", "product": "x"},
        {"user": "b", "product": "y"},
    )
    kept = drop_rare(interactions_from_events(frame, IMPLICIT), min_user_items=1, min_item_users=2)
    assert set(ratings(kept)) == {("a", "x"), ("b", "x")}
    none = drop_rare(kept, min_user_items=2, min_item_users=1)
    assert none.count() == 0
