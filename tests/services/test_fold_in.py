"""Folding sales into the store: each once, whoever does it and however often."""

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pymongo.database import Database

from recgraph.errors import GenerationError
from recgraph.events import SaleEvent
from recgraph.generations import read_manifest, write_manifest
from recgraph.histories import identity_digest
from recgraph.ports import Recommended
from recgraph.services.fold_in import FoldIn, Sale
from recgraph.services.lists import read_live, write_live
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import publish, verify
from recgraph.serving import Serving, open_serving
from recgraph.weighing import EVENT
from tests.sample import NASTY_USERS, make_rated, write_sample_generation

pytestmark = pytest.mark.services

USERS = [*NASTY_USERS[:3], "new"]
START = datetime(2026, 1, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_generation(tmp_path_factory.mktemp("generations"))


@pytest.fixture(scope="module")
def serving(folder: Path) -> Serving:
    return open_serving(folder)


@pytest.fixture
def store(
    mongo_uri: str, mongo_database: Database[dict[str, Any]], folder: Path
) -> Iterator[MongoStore]:
    with open_store(mongo_uri, mongo_database.name) as opened:
        publish(opened, folder, keep=3)
        yield opened


def sales(n: int, partition: int = 0) -> list[Sale]:
    made = []
    for number in range(n):
        at = START + timedelta(minutes=number)
        event = SaleEvent(USERS[number % 4], str(1010 + number % 40), 1.0, at)
        made.append(Sale(f"e{partition}-{number}", event, partition, number))
    return made


def kept(store: MongoStore) -> dict[str, set[int]]:
    """User -> identities that the store holds."""
    found = {user_id: store.recommendations(user_id) for user_id in USERS}
    return {
        user_id: set(np.frombuffer(each.events, EVENT)["event"].tolist())
        for user_id, each in found.items()
        if each is not None
    }


def identities(made: list[Sale]) -> dict[str, set[int]]:
    return {
        user_id: {identity_digest(s.identity) for s in made if s.event.user_id == user_id}
        for user_id in USERS
    }


def test_the_order_and_the_batches_do_not_matter(store: MongoStore, serving: Serving) -> None:
    made = sales(60)
    whole = FoldIn(store, serving, "topic").fold(made)
    store.database.drop_collection(f"lists_{serving.manifest.id}")
    again = FoldIn(store, serving, "topic")
    shuffled = random.Random(5).sample(made, len(made)) + made[:20]
    for start in range(0, len(shuffled), 7):
        again.fold(shuffled[start : start + 7])
    for user_id in USERS:
        found = store.recommendations(user_id)
        assert found is not None
        assert [row.item_id for row in found.rows] == [
            row.item_id for row in whole[user_id].recommended
        ]
        assert found.freshness.offsets == whole[user_id].offsets
    assert kept(store) == identities(made)


def test_sales_again_write_nothing(store: MongoStore, serving: Serving) -> None:
    fold_in = FoldIn(store, serving, "topic")
    first = fold_in.fold(sales(12))
    assert fold_in.fold(sales(12)) == first
    second = FoldIn(store, serving, "topic").fold(sales(12))
    assert {user: live.revision for user, live in second.items()} == dict.fromkeys(USERS, 1)


def test_the_places_of_a_topic_made_anew_begin_anew(store: MongoStore, serving: Serving) -> None:
    FoldIn(store, serving, "topic").fold(sales(60))
    FoldIn(store, serving, "topic made anew").fold(sales(4, partition=1))
    found = store.recommendations("new")
    assert found is not None
    assert (found.freshness.topic_id, found.freshness.offsets) == ("topic made anew", {"1": 4})
    assert kept(store) == identities([*sales(60), *sales(4, partition=1)])


def test_writers_of_the_same_users_lose_nothing(store: MongoStore, serving: Serving) -> None:
    made = [sales(80, partition) for partition in range(3)]
    failures: list[BaseException] = []

    def fold(own: list[Sale]) -> None:
        fold_in = FoldIn(store, serving, "topic")
        try:
            for start in range(0, len(own), 4):
                fold_in.fold(own[start : start + 4])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=fold, args=(own,)) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert kept(store) == identities([sale for own in made for sale in own])
    found = store.recommendations(USERS[0])
    assert found is not None
    assert found.freshness.offsets == {"0": 77, "1": 77, "2": 77}


def test_a_list_that_was_written_meanwhile_is_refused(store: MongoStore, serving: Serving) -> None:
    made = FoldIn(store, serving, "topic").fold(sales(4))
    lists = store.collection("lists", serving.manifest.id)
    assert not write_live(lists, made)
    later = {user: msgspec.structs.replace(live, revision=2) for user, live in made.items()}
    assert write_live(lists, later)
    assert not write_live(lists, later)
    assert read_live(lists, ["nobody"])["nobody"].revision == 0


def test_a_list_that_came_before_the_publisher_is_no_newcomers(
    store: MongoStore, serving: Serving, folder: Path
) -> None:
    store.collection("lists", serving.manifest.id).delete_one({"_id": USERS[0]})
    FoldIn(store, serving, "topic").fold(sales(8))
    assert verify(store, serving.manifest) == {"lists": 1}
    publish(store, folder, keep=3)
    assert verify(store, serving.manifest) == {}
    assert kept(store) == identities(sales(8))


def test_no_more_events_are_kept_than_the_training_looks_at(
    store: MongoStore, tmp_path: Path
) -> None:
    folder = write_sample_generation(tmp_path)
    manifest = read_manifest(folder)
    few = msgspec.structs.replace(manifest, settings=manifest.settings | {"max_user_events": 5})
    write_manifest(folder, few)
    fold_in = FoldIn(store, open_serving(folder), "topic")
    fold_in.fold(sales(60))
    before = store.recommendations("new")
    fold_in.fold(sales(60))
    assert store.recommendations("new") == before
    assert kept(store)["new"] == {identity_digest(f"e0-{n}") for n in (43, 47, 51, 55, 59)}


def test_a_generation_of_ratings_without_their_mean_is_refused(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    explicit = msgspec.structs.replace(read_manifest(folder), feedback="explicit")
    write_manifest(folder, explicit)
    with pytest.raises(GenerationError, match="without their mean"):
        open_serving(folder)


def rating(user_id: str, item_id: str, number: int, value: float | None) -> Sale:
    event = SaleEvent(user_id, item_id, 1.0, START + timedelta(minutes=number), rating=value)
    return Sale(f"r{number}", event, 0, number)


def assert_same(found: list[Recommended], expected: list[Recommended]) -> None:
    assert [row.item_id for row in found] == [row.item_id for row in expected]
    scores = [row.score for row in expected]
    assert [row.score for row in found] == pytest.approx(scores, rel=1e-6)


def test_a_rating_changes_the_list_of_its_user_and_a_purchase_does_not(
    mongo_uri: str, mongo_database: Database[dict[str, Any]], tmp_path: Path
) -> None:
    folder = make_rated(write_sample_generation(tmp_path))
    serving = open_serving(folder)
    user = USERS[0]
    with open_store(mongo_uri, mongo_database.name) as store:
        publish(store, folder, keep=3)
        fold_in = FoldIn(store, serving, "topic")
        trained = serving.recommend(serving.history(user)).rows
        item = trained[0].item_id
        fold_in.fold([rating(user, item, 0, None), rating("new", item, 1, None)])
        bought, newcomer = store.recommendations(user), store.recommendations("new")
        fold_in.fold([rating(user, item, 2, 5.0), rating(user, item, 3, 1.0)])
        rated, profile = store.recommendations(user), store.user(user)
        assert bought is not None
        assert newcomer is not None
        assert rated is not None
        assert profile is not None
        assert_same(bought.rows, trained)
        assert {row.source for row in newcomer.rows} == {"popular"}
        assert item not in {row.item_id for row in rated.rows}
        last = serving.packed([("r3", rating(user, item, 3, 1.0).event)])
        assert_same(rated.rows, serving.recommend(serving.history(user, last)).rows)
        assert (rated.freshness.revision, rated.freshness.offsets) == (2, {"0": 4})
        (row,) = (each for each in profile.bought if each.item_id == item)
        assert (row.rating, row.n_events) == (1.0, 2)
        assert row.last_at == START + timedelta(minutes=3)
        again = FoldIn(store, serving, "topic").fold([rating(user, item, 2, 5.0)])
        assert again[user].revision == 2
