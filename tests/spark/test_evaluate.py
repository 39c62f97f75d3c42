"""Ranking metrics and errors from Spark, on a checkerboard whose answers are known."""

import numpy as np
import pytest
from pyspark.sql import DataFrame

from recgraph.config import Settings
from recgraph.generations import RankingMetrics
from recgraph.intervals import interval_of_users, user_sums
from recgraph.spark import blend
from recgraph.spark.evaluate import evaluate
from recgraph.spark.model import Indexed, index_interactions
from recgraph.spark.recommend import pool_of, recommend_top_k

DIAGONAL = [(f"user {u:02}", f"item {u:02}", 1.0) for u in range(20)]
"""What the checkerboard withholds."""


def purchases(spark_of: DataFrame, rows: list[tuple[str, str, float]]) -> DataFrame:
    frame = spark_of.sparkSession.createDataFrame(
        rows, "user_id string, item_id string, rating float"
    )
    return frame.selectExpr("*", "true as is_bought")


def ranking_of(
    indexed: Indexed, test: DataFrame, settings: Settings
) -> dict[tuple[str, str], RankingMetrics]:
    ranking, _ = evaluate(blend.fit(indexed, settings), test, settings)
    return {(row.task, row.recommender): row for row in ranking}


def test_evaluate_finds_the_withheld_item(checkerboard: DataFrame, small: Settings) -> None:
    indexed = index_interactions(checkerboard)
    test = purchases(checkerboard, [*DIAGONAL, ("stranger", "item 01", 1.0)])
    ranking, errors = evaluate(blend.fit(indexed, small), test, small)
    found = {(row.task, row.recommender): row for row in ranking}
    both = ("als+walk", "als", "walk", "popular", "recent")
    only_next = {("next_basket", name) for name in ("als+walk+repeat", "repeats")}
    assert set(found) == only_next | {
        (task, name) for name in both for task in ("next_basket", "new_items")
    }
    assert found["new_items", "als+walk"].ndcg == found["new_items", "walk"].ndcg == 1.0
    als = found["new_items", "als"]
    assert (als.k, als.n_users) == (3, 20)
    assert (als.ndcg, als.recall, als.map, als.mrr, als.hit_rate) == (1.0,) * 5
    assert als.precision == pytest.approx(1 / 3)
    assert (als.ndcg_low, als.ndcg_high) == (1.0, 1.0)
    assert als.coverage == 1.0  # each item is withheld from one user
    assert als.novelty == pytest.approx(1.152003)  # each has 9 of 20 users: -log2(9 / 20)
    popular = found["new_items", "popular"]
    assert popular.ndcg_low is not None
    assert popular.ndcg_high is not None
    assert popular.ndcg_low < popular.ndcg < popular.ndcg_high < 0.9
    assert found["next_basket", "repeats"].recall == 0.0  # nobody bought it before
    assert {row.predictor: row.n_pairs for row in errors} == {"als": 40, "constant": 40}
    by_name = {row.predictor: row for row in errors}
    assert by_name["constant"].rmse == pytest.approx(0.5)


def test_evaluate_says_how_lists_spread_over_the_items(
    checkerboard: DataFrame, small: Settings
) -> None:
    found = ranking_of(index_interactions(checkerboard), purchases(checkerboard, DIAGONAL), small)
    same_for_all = found["next_basket", "popular"]  # all are as popular: the first three items
    assert same_for_all.coverage == 3 / 20
    assert same_for_all.gini == pytest.approx(1 - 3 / 20)
    assert same_for_all.top_share == pytest.approx(1 / 3)


def test_evaluate_takes_what_was_bought_lately_from_the_end_of_training(
    checkerboard: DataFrame, small: Settings
) -> None:
    is_recent = "item_id = 'item 07' and user_id < 'user 10'"
    later = f"case when {is_recent} then timestamp '2020-03-01' else last_at end as last_at"
    moved = checkerboard.drop("last_at").join(
        checkerboard.selectExpr("user_id", "item_id", later), ["user_id", "item_id"]
    )
    test = purchases(checkerboard, [(f"user {u:02}", "item 07", 1.0) for u in range(20)])
    one = small.model_copy(update={"k": 1})
    indexed = index_interactions(moved)
    found = ranking_of(indexed, test, one)
    assert found["next_basket", "recent"].ndcg == 1.0
    assert found["next_basket", "popular"].ndcg == 0.0
    long_ago = one.model_copy(update={"recent_days": 365.0})
    assert ranking_of(indexed, test, long_ago)["next_basket", "recent"].ndcg == 0.0


def test_evaluate_explicit_is_better_than_the_mean(
    checkerboard: DataFrame, small: Settings
) -> None:
    rated = checkerboard.withColumn("rating", checkerboard["rating"] * 5).union(
        checkerboard.selectExpr(
            "user_id",
            "concat('bad', item_id)",
            "1.0f as rating",
            "recent_rating",
            "repeat_rating",
            "early_rating",
            "n_events",
            "is_bought",
            "last_at",
        )
    )
    train = rated.where("crc32(concat(user_id, item_id)) % 5 > 0")
    test = rated.where("crc32(concat(user_id, item_id)) % 5 = 0")
    explicit = small.model_copy(update={"feedback": "explicit", "regularization": 0.01})
    indexed = index_interactions(train)
    ranking, errors = evaluate(blend.fit(indexed, explicit), test, explicit)
    by_name = {row.predictor: row for row in errors}
    assert by_name["als"].rmse < by_name["constant"].rmse / 2
    assert by_name["constant"].rmse == pytest.approx(2.0, abs=0.2)
    assert {row.recommender for row in ranking} == {"als", "popular", "recent", "repeats"}


def rated(frame: DataFrame) -> DataFrame:
    """The checkerboard with ratings that differ: user u gives 1 to 5 stars by item."""
    stars = "cast(1 + pmod(hash(user_id, item_id), 5) as float) as rating"
    return frame.selectExpr(stars, *(name for name in frame.columns if name != "rating"))


def test_known_and_unknown_pairs_of_a_user_count_as_one_user(
    checkerboard: DataFrame, small: Settings
) -> None:
    explicit = small.model_copy(update={"feedback": "explicit"})
    model = blend.fit(index_interactions(rated(checkerboard)), explicit)
    pairs = [(f"user {u:02}", f"item {u:02}", 1.0 + u % 5) for u in range(20)]
    pairs += [(f"user {u:02}", "a stranger", 1.0 + u % 5) for u in range(10)]
    _, errors = evaluate(model, purchases(checkerboard, pairs), explicit)
    constant = next(row for row in errors if row.predictor == "constant")
    row = model.indexed.interactions.agg({"rating": "avg"}).first()
    assert row is not None
    squares = np.array([(row[0] - rating) ** 2 for _, _, rating in pairs])
    users = np.array([int(user[-2:]) for user, _, _ in pairs])
    expected = interval_of_users(user_sums(users, squares))
    assert expected is not None
    assert (constant.n_pairs, constant.n_known) == (30, 20)
    assert constant.rmse_low == pytest.approx(expected.low**0.5)
    assert constant.rmse_high == pytest.approx(expected.high**0.5)


def test_lists_of_some_users_are_measured_and_the_errors_of_all(
    checkerboard: DataFrame, small: Settings
) -> None:
    explicit = small.model_copy(update={"feedback": "explicit", "max_ranked_users": 7})
    model = blend.fit(index_interactions(rated(checkerboard)), explicit)
    ranking, errors = evaluate(model, purchases(checkerboard, DIAGONAL), explicit)
    assert {row.n_users for row in ranking} == {7}
    assert {row.n_pairs for row in errors} == {20}


def test_lists_of_predicted_ratings_come_from_the_items_with_most_of_them(
    checkerboard: DataFrame, small: Settings
) -> None:
    limits = {"feedback": "explicit", "max_listed_items": 4, "k": 2}
    explicit = small.model_copy(update=limits)
    rows = rated(checkerboard).where("item_id < 'item 06' or user_id < 'user 12'")
    model = blend.fit(index_interactions(rows), explicit)
    pool = pool_of(model, explicit)
    assert pool is not None
    assert pool.tolist() == [0, 1, 2, 3]
    listed = recommend_top_k(model, explicit.model_copy(update={"exclude_seen": False}))
    scores = {
        row["index"]: model.factors.items[pool] @ np.array(row["factors"], np.float32)
        for row in model.factors.users.collect()
    }
    lists: dict[int, list[int]] = {user: [] for user in scores}
    for row in listed.orderBy("user_index", "rank").collect():
        lists[row["user_index"]].append(row["item_index"])
    for user, found in scores.items():
        assert lists[user] == np.argsort(-found)[:2].tolist()
    new = recommend_top_k(model, explicit).collect()
    seen = {(row["user_index"], row["item_index"]) for row in model.indexed.interactions.collect()}
    assert {row["item_index"] for row in new} <= {0, 1, 2, 3}
    assert not seen & {(row["user_index"], row["item_index"]) for row in new}
    test = purchases(checkerboard, DIAGONAL)
    ranking, _ = evaluate(model, test, explicit)
    als = next(row for row in ranking if row.recommender == "als")
    assert als.coverage <= 4 / 20
