"""All signals on a checkerboard: what is withheld must be recommended; same input, same lists."""

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.spark import blend
from recgraph.spark.model import fit_als, index_interactions
from recgraph.spark.recommend import recommend_top_k
from tests.spark.conftest import interactions


def lists(frame: DataFrame) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in frame.orderBy("user_index", "rank").collect():
        found.setdefault(row["user_index"], []).append(row["item_index"])
    return found


@pytest.mark.parametrize("engine", ["spark", "local"])
def test_withheld_item_is_recommended_first(
    checkerboard: DataFrame, small: Settings, engine: str
) -> None:
    indexed = index_interactions(checkerboard)
    assert (indexed.n_users, indexed.n_items, indexed.n_interactions) == (20, 20, 180)
    chosen = small.model_copy(update={"engine": engine, "local_regularization": 0.5})
    model = blend.fit(indexed, chosen)
    assert model.factors.items.shape == (20, 8)
    found = lists(recommend_top_k(model, small))
    assert {user: items[0] for user, items in found.items()} == {user: user for user in range(20)}


def test_seen_items_are_recommended_only_when_asked(
    checkerboard: DataFrame, small: Settings
) -> None:
    indexed = index_interactions(checkerboard)
    model = blend.fit(indexed, small)
    seen = {(row["user_index"], row["item_index"]) for row in indexed.interactions.collect()}
    without = recommend_top_k(model, small).collect()
    assert not seen & {(row["user_index"], row["item_index"]) for row in without}
    repeats = small.model_copy(update={"exclude_seen": False})
    found = recommend_top_k(model, repeats).collect()
    assert len(seen & {(row["user_index"], row["item_index"]) for row in found}) > 20


def test_without_the_walk_the_order_is_that_of_als(
    checkerboard: DataFrame, small: Settings
) -> None:
    alone = {"exclude_seen": False, "walk_weight": 0.0, "repeat_weight": 0.0}
    settings = small.model_copy(update={**alone, "max_score_block_mb": 1})
    model = blend.fit(index_interactions(checkerboard), settings)
    count = model.side.coefficients.als
    assert count > 0
    users = {row["index"]: np.array(row["factors"]) for row in model.factors.users.collect()}
    for row in recommend_top_k(model, settings).collect():
        scores = count * (model.factors.items @ users[row["user_index"]])
        score = scores[row["item_index"]]
        assert row["score"] == pytest.approx(score, abs=1e-5)
        assert (scores > score + 1e-6).sum() <= row["rank"] - 1
        assert (row["source"], row["walk"], row["repeat"], row["because"]) == (
            "als",
            None,
            None,
            [],
        )


def test_a_score_is_the_sum_of_its_parts_and_says_which_purchases_led_there(
    checkerboard: DataFrame, small: Settings
) -> None:
    model = blend.fit(index_interactions(checkerboard), small)
    found = recommend_top_k(model, small).collect()
    assert {row["repeat"] for row in found} == {None}
    for row in found:
        assert row["score"] == pytest.approx(row["als"] + row["walk"], rel=1e-12)
    for row in (row for row in found if row["rank"] == 1):  # the item withheld from the user
        assert row["source"] == "als+walk"
        led = [each["item_index"] for each in row["because"]]
        assert len(led) == 3
        assert {item % 2 for item in led} == {row["user_index"] % 2}
        # Nine purchases lead there, all alike.
        assert 3 * sum(each["share"] for each in row["because"]) == pytest.approx(row["walk"])


def test_repeats_count_where_lists_may_hold_what_was_bought(
    checkerboard: DataFrame, small: Settings
) -> None:
    model = blend.fit(index_interactions(checkerboard), small)
    settings = small.model_copy(update={"exclude_seen": False})
    for row in recommend_top_k(model, settings).collect():
        total = row["als"] + row["walk"] + row["repeat"]
        assert row["score"] == pytest.approx(total, rel=1e-12)
        assert row["source"] == "als+walk+repeat"  # what was bought outweighs the rest


def test_the_same_input_gives_the_same_lists(checkerboard: DataFrame, small: Settings) -> None:
    runs = []
    for n_partitions in (1, 5):
        indexed = index_interactions(checkerboard.repartition(n_partitions))
        frame = recommend_top_k(blend.fit(indexed, small), small)
        runs.append([tuple(row) for row in frame.orderBy("user_index", "rank").collect()])
    assert runs[0] == runs[1]


def test_one_user_only_gets_what_is_left(spark: SparkSession, small: Settings) -> None:
    frame = interactions(spark, [("only", "a", 1.0)])
    indexed = index_interactions(frame)
    assert recommend_top_k(blend.fit(indexed, small), small).count() == 0


def test_nothing_to_train_on_says_what_to_do(checkerboard: DataFrame) -> None:
    with pytest.raises(NoInteractionsError, match="no interaction is left to train on"):
        index_interactions(checkerboard.where("false"))


@pytest.mark.parametrize("engine", ["spark", "local"])
def test_ratings_are_predicted_from_biases_and_taste(
    spark: SparkSession, small: Settings, engine: str
) -> None:
    """Users like even or odd items; user u rates u / 10 higher than user 0."""
    tastes = {(u, i): 3 + u / 10 + (-1) ** (u + i) for u in range(10) for i in range(12)}
    rows = [(f"u{u:02}", f"i{i:02}", rating) for (u, i), rating in tastes.items() if u != i]
    table = spark.createDataFrame(rows, "user_id string, item_id string, rating float")
    frame = table.selectExpr("*", "1 as n_events", "true as is_bought", "current_date() as last_at")
    settings = {"engine": engine, "feedback": "explicit", "regularization": 0.01}
    indexed = index_interactions(frame)
    factors = fit_als(indexed, small.model_copy(update=settings))
    assert factors.items.shape == (12, small.n_factors + 2)
    users = {row["index"]: np.array(row["factors"]) for row in factors.users.collect()}
    for each in range(10):
        assert factors.items[each] @ users[each] == pytest.approx(tastes[each, each], abs=0.3)
