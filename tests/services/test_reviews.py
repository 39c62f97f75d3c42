"""Reviews in MongoDB: written once, found by product, spread before they come."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pymongo.database import Database

from recgraph.errors import InputError
from recgraph.services import reviews
from recgraph.services.connection import open_connection
from recgraph.services.reviews import MongoReviews

pytestmark = pytest.mark.services

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("review_id", "user_id", "item_id", "title", "text")),
        ("rating", pa.float64()),
        ("reviewed_at", pa.timestamp("us", "UTC")),
        ("helpful_votes", pa.int64()),
        ("verified", pa.bool_()),
        *((name, pa.string()) for name in ("variant", "source_format", "reason")),
    ]
)


def row(number: int, item: str, **changes: Any) -> dict[str, Any]:
    return {
        "review_id": f"{number:032x}",
        "user_id": f"user {number}",
        "item_id": item,
        "rating": float(number % 5 + 1),
        "title": "$where",
        "text": None,
        "reviewed_at": datetime(2018, 1, 1 + number, tzinfo=UTC),
        "source_format": "2018",
    } | changes


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six reviews of two products, one of them twice, and a line that was rejected."""
    rows = [row(number, "tea" if number % 2 else "cake") for number in range(6)]
    rows += [rows[0], {"reason": "not_json"}]
    path = tmp_path / "lines"
    write_deltalake(str(path), pa.Table.from_pylist(rows, SCHEMA))
    return path


@pytest.fixture
def mongo(mongo_uri: str, mongo_database: Database[dict[str, Any]]) -> Iterator[MongoReviews]:
    with open_connection(mongo_uri, mongo_database.name) as connection:
        yield MongoReviews(connection)


def test_publishing_twice_changes_nothing(mongo: MongoReviews, table: Path) -> None:
    done: list[tuple[int, int]] = []
    first = mongo.publish(table, lambda n, total: done.append((n, total)))
    assert (first.read, first.written, first.held, first.is_sharded) == (7, 6, 6, False)
    assert done[-1] == (7, 7)
    before = list(mongo.database["reviews"].find().sort("_id"))
    again = mongo.publish(table, lambda n, total: None)
    assert (again.read, again.written, again.held) == (7, 0, 6)
    assert list(mongo.database["reviews"].find().sort("_id")) == before


def test_the_reviews_of_a_product_come_newest_first(mongo: MongoReviews, table: Path) -> None:
    mongo.publish(table, lambda n, total: None)
    found = mongo.of_item("tea", limit=2)
    assert [each["_id"] for each in found] == [f"{5:032x}", f"{3:032x}"]
    assert found[0]["reviewed_at"] == datetime(2018, 1, 6, tzinfo=UTC)
    assert "text" not in found[0]  # nobody wrote one
    assert mongo.of_item("nothing", limit=2) == []


def test_every_query_is_answered_by_the_index(mongo: MongoReviews, table: Path) -> None:
    mongo.publish(table, lambda n, total: None)
    assert sorted(mongo.some_items(5)) == ["cake", "tea"]
    plans = mongo.explain(["tea", "cake"])
    assert [plan.returned for plan in plans][:2] == [3, 6]
    for plan in plans:
        assert plan.stages[0] == "IXSCAN"
        assert plan.index == "item_id_1_reviewed_at_-1"
        assert plan.examined is None or plan.examined <= 6


def test_no_table_says_what_to_do(mongo: MongoReviews, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recgraph reviews load"):
        mongo.publish(tmp_path / "none", lambda n, total: None)


def test_a_router_is_told_from_a_server() -> None:
    assert reviews.is_sharded({"ismaster": True, "msg": "isdbgrid"})
    assert not reviews.is_sharded({"ismaster": True, "setName": "rs0"})


def test_a_cluster_spreads_the_collection_by_the_hash_of_the_product() -> None:
    assert reviews.sharding_commands("shop") == [
        {"enableSharding": "shop"},
        {"shardCollection": "shop.reviews", "key": {"item_id": "hashed"}},
    ]


def test_the_plan_of_a_cluster_is_read() -> None:
    found = {
        "queryPlanner": {
            "winningPlan": {
                "stage": "SHARD_MERGE",
                "shards": [
                    {"winningPlan": {"stage": "FETCH", "inputStage": {"stage": "IXSCAN"}}},
                ],
            }
        },
        "executionStats": {"nReturned": 3, "totalDocsExamined": 3},
    }
    plan = reviews.plan_of("x", {"find": "reviews"}, found)
    assert plan.stages == ["IXSCAN", "FETCH", "SHARD_MERGE"]
    assert (plan.examined, plan.returned, plan.index) == (3, 3, None)
