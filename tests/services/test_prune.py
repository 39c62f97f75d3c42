"""Pruning while somebody publishes: what is being filled is no leftover."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import prune, publish, verify
from tests.sample import write_sample_generation

pytestmark = pytest.mark.services

OLD, NEW = (f"2026010{day}-120000-5a3e" for day in (1, 2))


@pytest.fixture
def store(mongo_uri: str, mongo_database: "Database[dict[str, Any]]") -> Iterator[MongoStore]:
    with open_store(mongo_uri, mongo_database.name) as opened:
        yield opened


def folder_of(root: Path, generation_id: str) -> Path:
    return write_sample_generation(root, generation_id=generation_id)


def test_an_older_generation_that_is_published_again_is_not_pruned_meanwhile(
    store: MongoStore, tmp_path: Path
) -> None:
    publish(store, folder_of(tmp_path, NEW), keep=1)
    old = folder_of(tmp_path, OLD)
    pruned: list[list[str]] = []

    def prune_once(done: int, total: int) -> None:
        if done and not pruned:  # some of it is there, and no record yet
            pruned.append(prune(store, keep=1))

    done = publish(store, old, keep=2, on_progress=prune_once)
    assert pruned == [[]]
    assert (done.generation, done.has_moved) == (OLD, True)
    held = {each.manifest.id: each.manifest for each in store.generations()}
    assert set(held) == {OLD, NEW}
    assert verify(store, held[OLD]) == {}


def test_what_a_killed_publish_left_is_pruned_after_a_while(
    store: MongoStore, tmp_path: Path
) -> None:
    publish(store, folder_of(tmp_path, NEW), keep=1)
    store.collection("users", OLD).insert_one({"_id": "left"})
    state = store.database["state"]
    mark = {"_id": f"publishing {OLD}", "at": datetime.now(UTC)}
    state.insert_one(mark)
    assert prune(store, keep=1) == []
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    state.replace_one({"_id": mark["_id"]}, mark | {"at": long_ago})
    assert prune(store, keep=1) == [OLD]
