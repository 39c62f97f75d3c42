"""ALS on a checkerboard: what is withheld must be recommended; the same input, the same lists."""

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.spark.model import fit_als, index_interactions
from recgraph.spark.recommend import evaluate, recommend_top_k


def lists(frame: DataFrame) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in frame.orderBy("user_index", "rank").collect():
        found.setdefault(row["user_index"], []).append(row["item_index"])
    return found


def test_withheld_item_is_recommended_first(checkerboard: DataFrame, small: Settings) -> None:
    indexed = index_interactions(checkerboard)
    assert (indexed.n_users, indexed.n_items, indexed.n_interactions) == (20, 20, 180)
    factors = fit_als(indexed, small)
    assert factors.items.shape == (20, 8)
    found = lists(recommend_top_k(factors, indexed, small))
    assert {user: items[0] for user, items in found.items()} == {user: user for user in range(20)}


def test_seen_items_are_recommended_only_when_asked(
    checkerboard: DataFrame, small: Settings
) -> None:
    indexed = index_interactions(checkerboard)
    factors = fit_als(indexed, small)
    seen = {(row["user_index"], row["item_index"]) for row in indexed.interactions.collect()}
    without = recommend_top_k(factors, indexed, small).collect()
    assert not seen & {(row["user_index"], row["item_index"]) for row in without}
    repeats = small.model_copy(update={"exclude_seen": False})
    found = recommend_top_k(factors, indexed, repeats).collect()
    assert len(seen & {(row["user_index"], row["item_index"]) for row in found}) > 20


def test_recommend_top_k_equals_mllib(checkerboard: DataFrame, small: Settings) -> None:
    indexed = index_interactions(checkerboard)
    factors = fit_als(indexed, small)
    repeats = small.model_copy(update={"exclude_seen": False, "max_score_block_mb": 1})
    users = {row["index"]: np.array(row["factors"]) for row in factors.users.collect()}
    for row in recommend_top_k(factors, indexed, repeats).collect():
        score = users[row["user_index"]] @ factors.items[row["item_index"]]
        assert row["score"] == pytest.approx(score, abs=1e-5)
        better = (users[row["user_index"]] @ factors.items.T > score + 1e-6).sum()
        assert better <= row["rank"] - 1


def test_the_same_input_gives_the_same_lists(checkerboard: DataFrame, small: Settings) -> None:
    runs = []
    for n_partitions in (1, 5):
        indexed = index_interactions(checkerboard.repartition(n_partitions))
        frame = recommend_top_k(fit_als(indexed, small), indexed, small)
        runs.append([tuple(row) for row in frame.orderBy("user_index", "rank").collect()])
    assert runs[0] == runs[1]


def test_one_user_only_gets_what_is_left(spark: SparkSession, small: Settings) -> None:
    frame = spark.createDataFrame(
        [("only", "a", 1.0)], "user_id string, item_id string, rating float"
    )
    frame = frame.selectExpr(
        "*", "1 as n_events", "true as is_bought", "current_timestamp() as last_at"
    )
    indexed = index_interactions(frame)
    assert recommend_top_k(fit_als(indexed, small), indexed, small).count() == 0


def test_nothing_to_train_on_says_what_to_do(checkerboard: DataFrame) -> None:
    with pytest.raises(NoInteractionsError, match="no interaction is left to train on"):
        index_interactions(checkerboard.where("false"))


def test_evaluate_finds_the_withheld_item(checkerboard: DataFrame, small: Settings) -> None:
    indexed = index_interactions(checkerboard)
    rows = [(f"user {u:02}", f"item {u:02}", 1.0) for u in range(20)]
    rows.append(("stranger", "item 01", 1.0))
    spark = checkerboard.sparkSession
    test = spark.createDataFrame(rows, "user_id string, item_id string, rating float")
    test = test.selectExpr("*", "true as is_bought")
    ranking, errors = evaluate(fit_als(indexed, small), indexed, test, small)
    found = {(row.task, row.recommender): row for row in ranking}
    assert found["new_items", "als"].ndcg == 1.0
    assert found["new_items", "als"].n_users == 20
    assert found["new_items", "popular"].ndcg < 0.9
    assert found["next_basket", "repeats"].recall == 0.0  # nobody bought it before
    assert {row.predictor: row.n_pairs for row in errors} == {"als": 40, "constant": 40}
    by_name = {row.predictor: row for row in errors}
    assert by_name["constant"].rmse == pytest.approx(0.5)


def test_evaluate_explicit_is_better_than_the_mean(
    checkerboard: DataFrame, small: Settings
) -> None:
    rated = checkerboard.withColumn("rating", checkerboard["rating"] * 5).union(
        checkerboard.selectExpr(
            "user_id",
            "concat('bad', item_id)",
            "1.0f as rating",
            "n_events",
            "is_bought",
            "last_at",
        )
    )
    train = rated.where("crc32(concat(user_id, item_id)) % 5 > 0")
    test = rated.where("crc32(concat(user_id, item_id)) % 5 = 0")
    explicit = small.model_copy(update={"feedback": "explicit", "regularization": 0.01})
    indexed = index_interactions(train)
    _, errors = evaluate(fit_als(indexed, explicit), indexed, test, explicit)
    by_name = {row.predictor: row for row in errors}
    assert by_name["als"].rmse < by_name["constant"].rmse / 2
    assert by_name["constant"].rmse == pytest.approx(2.0, abs=0.2)
