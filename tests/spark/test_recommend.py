"""Lists beyond the score: cold items, caps, hidden items, discounts and the fallback chain."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from recgraph import content
from recgraph.config import Settings, load_settings
from recgraph.ports import Product
from recgraph.spark import blend
from recgraph.spark.catalogue import catalogued
from recgraph.spark.evaluate import evaluate
from recgraph.spark.model import index_interactions
from recgraph.spark.recommend import recommend_top_k, shelf_of
from tests.spark.conftest import interactions

COLOURS = ("even", "odd")
SOLD = {
    f"item {i:02}": Product(
        f"item {i:02}",
        title=f"{COLOURS[i % 2]} thing",
        department=COLOURS[i % 2],
        category=f"group {i // 5}",
    )
    for i in range(20)
}
COLD = {
    "fresh even": Product("fresh even", title="Even novelty", department="even"),
    "fresh odd": Product("fresh odd", title="Odd novelty", department="odd"),
    "nothing known": Product("nothing known"),
}


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    small = {"n_factors": 8, "n_iterations": 4, "k": 3, "cold_weight": 3.0}
    return load_settings(data_dir=tmp_path_factory.mktemp("lists"), **small)


@pytest.fixture(scope="module")
def model(spark: SparkSession, chosen: Settings) -> blend.Model:
    """The checkerboard with a catalogue: each colour is a department, and has a cold item."""
    rows = [
        (f"user {u:02}", f"item {i:02}", 1.0)
        for u in range(20)
        for i in range(20)
        if u % 2 == i % 2 and (u, i) not in {(u, u), (u, (u + 2) % 20)}
    ]
    indexed = index_interactions(interactions(spark, rows))
    return blend.fit(catalogued(indexed, SOLD | COLD, chosen), chosen)


def rows_of(model: blend.Model, settings: Settings) -> list[dict[str, Any]]:
    found = recommend_top_k(model, settings).orderBy("user_index", "rank").collect()
    return [row.asDict(recursive=True) for row in found]


def test_cold_items_come_last_and_those_without_content_not_at_all(model: blend.Model) -> None:
    assert (model.indexed.n_items, model.indexed.n_cold) == (22, 2)
    assert [each.item_id for each in model.indexed.products[20:]] == ["fresh even", "fresh odd"]
    assert (model.side.items.factors[20:] == 0).all()
    assert model.side.items.neighbours is not None
    assert model.side.items.neighbours[20:].nnz == 0


def test_a_cold_item_is_recommended_to_who_bought_what_it_resembles(
    model: blend.Model, chosen: Settings
) -> None:
    cold = [row for row in rows_of(model, chosen) if row["item_index"] >= 20]
    assert {row["user_index"] for row in cold} == set(range(20))
    for row in cold:
        colour = row["user_index"] % 2
        assert row["item_index"] == 20 + colour
        assert (row["source"], row["als"], row["walk"]) == ("content", 0, 0)
        assert row["score"] == pytest.approx(row["content"])
        assert {each["item_index"] % 2 for each in row["because"]} == {colour}
        assert all(0 < each["share"] < row["content"] for each in row["because"])


def test_cold_items_leave_the_scores_of_the_others_alone(
    spark: SparkSession, model: blend.Model, chosen: Settings
) -> None:
    for row in rows_of(model, chosen):
        if row["item_index"] < 20:
            assert row["content"] == 0
            assert row["score"] == pytest.approx(row["als"] + row["walk"])


def test_a_purchase_of_a_cold_item_counts_in_the_test(
    spark: SparkSession, model: blend.Model, chosen: Settings
) -> None:
    bought = [("user 00", "fresh even", 1.0), ("user 01", "item 01", 1.0)]
    test = spark.createDataFrame(bought, "user_id string, item_id string, rating float")
    ranking, _ = evaluate(model, test.selectExpr("*", "true as is_bought"), chosen)
    found = {row.recommender: row for row in ranking if row.task == "new_items"}
    assert blend.name_of_lists(model, chosen) == "als+walk+content"
    assert (found["als+walk+content"].n_users, found["als+walk+content"].recall) == (2, 1.0)


def test_cap_and_hidden_departments_hold_in_every_list(
    model: blend.Model, chosen: Settings
) -> None:
    rules = {"max_per_category": 1, "hidden_departments": ["odd"], "exclude_seen": False, "k": 5}
    lists: dict[int, list[int]] = {}
    for row in rows_of(model, chosen.model_copy(update=rules)):
        lists.setdefault(row["user_index"], []).append(row["item_index"])
    assert len(lists) == 20
    for items in lists.values():
        assert all(item % 2 == 0 for item in items)
        groups = Counter(item // 5 for item in items if item < 20)
        assert max(groups.values()) == 1


def test_hidden_ids_come_from_a_file(model: blend.Model, chosen: Settings, tmp_path: Path) -> None:
    path = tmp_path / "hidden.txt"
    path.write_text("item 02\nfresh odd\n")
    found = rows_of(model, chosen.model_copy(update={"hidden_path": path}))
    assert not {2, 21} & {row["item_index"] for row in found}


def test_popularity_discount_divides_the_whole_score_and_its_parts(
    model: blend.Model, chosen: Settings
) -> None:
    discounted = model._replace(
        side=model.side._replace(
            items=model.side.items._replace(discount=np.full(22, 0.5, np.float32))
        )
    )
    for before, after in zip(rows_of(model, chosen), rows_of(discounted, chosen), strict=True):
        assert before["item_index"] == after["item_index"]
        assert after["score"] == pytest.approx(before["score"] / 2, rel=1e-5)
        assert after["score"] == pytest.approx(after["als"] + after["walk"] + after["content"])
        assert [each["share"] for each in after["because"]] == pytest.approx(
            [each["share"] / 2 for each in before["because"]], rel=1e-5
        )


def test_who_has_no_signal_gets_the_department_and_then_what_is_popular(
    spark: SparkSession, chosen: Settings
) -> None:
    alone = {"als_weight": 0.0, "max_cold_items": 0, "k": 4}
    settings = chosen.model_copy(update=alone)
    rows = [("shopper", "item 01", 1.0), ("shopper", "item 03", 1.0), ("other", "item 03", 1.0)]
    rows += [("hermit", "item 02", 1.0), ("viewer", "item 03", 1.0)]
    rows += [(f"fan {n}", "item 04", 1.0) for n in range(3)]
    frame = interactions(spark, rows).withColumnRenamed("is_bought", "was")
    frame = frame.selectExpr("*", "user_id <> 'viewer' as is_bought").drop("was")
    model = blend.fit(catalogued(index_interactions(frame), SOLD, settings), settings)
    names = [row["user_id"] for row in model.indexed.users.orderBy("user_index").collect()]
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows_of(model, settings):
        item = model.indexed.products[row["item_index"]].item_id
        found.setdefault(names[row["user_index"]], []).append((item, row["source"]))
        is_own = row["source"] == "walk"
        assert (row["score"] > 0) == is_own
        assert (row["walk"] is not None) == is_own
        assert bool(row["because"]) == is_own
    segment, everybody = "popular_in_segment", "popular"
    assert found["other"] == [("item 01", "walk"), ("item 04", everybody), ("item 02", everybody)]
    assert found["hermit"] == [
        ("item 04", segment), ("item 03", everybody), ("item 01", everybody),
    ]  # fmt: skip
    assert [source for _, source in found["viewer"]] == [everybody] * 4
    assert found["viewer"][0][0] == "item 04"
    shelf = shelf_of(model, settings)
    assert shelf.popular.segments == ["even", "odd"]


def test_content_counts_between_sold_items_when_asked(
    spark: SparkSession, chosen: Settings
) -> None:
    rows = [("a", "item 00", 1.0), ("b", "item 01", 1.0), ("c", "item 02", 1.0)]
    settings = chosen.model_copy(update={"content_weight": 2.0, "max_cold_items": 0, "k": 1})
    model = blend.fit(
        catalogued(index_interactions(interactions(spark, rows)), SOLD, settings), settings
    )
    found = {row["user_index"]: row for row in rows_of(model, settings)}
    assert (found[0]["item_index"], found[2]["item_index"]) == (2, 0)
    assert found[0]["content"] > 0
    likeness = content.features(model.indexed.products)
    assert model.side.items.similar is not None
    assert model.side.items.similar[0, 2] == pytest.approx((likeness @ likeness.T)[0, 2])
