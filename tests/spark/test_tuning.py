"""Events -> what a search works on, the cap of users, transforms as the core has them."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from pyspark.sql import SparkSession
from scipy import sparse

from recgraph import transforms, tuned
from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.jobs import tuning
from recgraph.spark import transforms as spark_transforms
from recgraph.spark.interactions import distinct_events
from recgraph.spark.model import index_interactions
from recgraph.spark.tuning import gather, part
from recgraph.spark.users import cap_users
from recgraph.stages import Stages
from recgraph.transforms import Transform
from tests.spark.conftest import interactions
from tests.spark.test_interactions import events
from tests.spark.test_training import START, shoppers, write_events


@pytest.mark.parametrize("name", ["count", "log", "binary", "cap", "bm25"])
def test_ratings_are_transformed_as_in_the_core(
    name: Transform, spark: SparkSession, settings: Settings
) -> None:
    rng = np.random.default_rng(3)
    dense = np.round(rng.random((6, 5)) * 4, 2) * (rng.random((6, 5)) < 0.6) + np.eye(6, 5)
    rows = [(f"u{u}", f"i{i}", float(dense[u, i])) for u, i in zip(*np.nonzero(dense), strict=True)]
    indexed = index_interactions(interactions(spark, rows))
    chosen = settings.model_copy(update={"transform": name, "rating_cap": 0.7})
    fitted = spark_transforms.fit(indexed.interactions, 5, chosen)
    found = spark_transforms.transformed(indexed.interactions, fitted)
    matrix = sparse.csr_matrix(dense.astype(np.float32))
    theirs = transforms.fit(matrix, name, cap=0.7)
    expected = transforms.transformed(matrix, theirs).toarray()
    for row in found.collect():
        assert row["rating"] == pytest.approx(
            expected[row["user_index"], row["item_index"]], rel=1e-5
        )


def test_a_bot_is_cut_to_its_newest_events_and_named(spark: SparkSession) -> None:
    bot = [{"user": "bot", "product": f"p{day}", "day": day} for day in range(9)]
    frame = distinct_events(events(spark, *bot, {"user": "u"}, {"user": "u"}))
    found = cap_users(frame, 3)
    assert found.users == {"bot": 9}
    kept = sorted((row["user_id"], row["product_id"]) for row in found.events.collect())
    assert kept == [("bot", "p6"), ("bot", "p7"), ("bot", "p8"), ("u", "p"), ("u", "p")]
    assert set(found.events.columns) == set(frame.columns)
    assert cap_users(frame, 9).events is frame


def test_what_is_gathered_ends_before_the_test_period(spark: SparkSession, small: Settings) -> None:
    write_events(spark, small, [*shoppers(), {"user_id": "late", "occurred_at": _day(99)}])
    found = tuning.gather_events(spark, small, Stages())
    held_out = found.held_out
    assert held_out is not None
    assert found.on["validation_from"] == START + timedelta(days=74 * 3 / 4)
    assert held_out.train.times is not None
    assert held_out.train.times.max() < found.on["validation_from"].timestamp()
    assert held_out.shape == (12, 20), "nobody who came after the cut"
    assert len(held_out.relevant.items) > 0


def test_gathered_days_add_up_to_the_ratings_of_training(
    spark: SparkSession, settings: Settings
) -> None:
    frame = events(
        spark,
        {"product": "a", "day": 0},
        {"product": "a", "day": 0},
        {"product": "a", "day": 3},
        {"product": "b", "day": 1},
        {"product": "b", "day": 2, "quantity": -1},
        {"product": "c", "day": 2, "kind": "view"},
        {"product": "c", "day": 40},
    )
    parted = part(distinct_events(frame), settings.model_copy(update={"test_days": 10.0}))
    assert parted is not None
    found = gather(parted, settings)
    rows = found.train
    assert rows.is_bought is not None
    days = zip(rows.items.tolist(), rows.ratings.tolist(), rows.is_bought.tolist(), strict=True)
    assert list(days) == [(0, 2.0, True), (0, 1.0, True), (1, pytest.approx(0.1), False)]
    assert found.test.toarray().tolist() == [[0, 1]]
    assert (found.n_interactions, found.share) == (2, 1.0)


def test_a_search_ends_with_settings_that_training_takes(
    spark: SparkSession, small: Settings
) -> None:
    write_events(spark, small, shoppers())
    blind = small.model_copy(update={"regularization": 5.0, "walk_weight": 0.0})
    gathered = tuning.gather_events(spark, blind, Stages())
    seen: list[tuned.TunedTrial] = []
    found = tuning.search(gathered, blind, tuning.Budget(1.0, 4), seen.append)
    assert found.trials == seen
    assert found.is_better
    assert found.value > found.value_before
    assert found.measure == "nDCG@3 of new items"
    tuned.write_tuned(small.tuned_path, found)
    again = tuned.with_tuned(small).settings
    assert again.regularization == found.settings["regularization"] <= 1


def test_ratings_are_tuned_by_their_error(spark: SparkSession, small: Settings) -> None:
    explicit = small.model_copy(update={"feedback": "explicit"})
    rated = [
        row | {"kind": "rating", "rating": float(1 + number % 5)}
        for number, row in enumerate(shoppers())
    ]
    write_events(spark, explicit, rated)
    gathered = tuning.gather_events(spark, explicit, Stages())
    found = tuning.search(gathered, explicit, tuning.Budget(1.0, 3))
    assert found.measure == "RMSE"
    assert found.value <= found.value_before
    assert set(found.settings) == {"n_factors", "regularization", "bias_damping", "n_iterations"}


def test_too_short_a_history_is_said(spark: SparkSession, small: Settings) -> None:
    write_events(spark, small, [{"occurred_at": START}, {"occurred_at": START}])
    with pytest.raises(NoInteractionsError, match="span too little time"):
        tuning.gather_events(spark, small, Stages())


def _day(number: int) -> datetime:
    return START + timedelta(days=number)
