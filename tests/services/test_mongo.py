"""MongoStore against a real server: the contract, the pointer, publishing, and a server killed."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from recgraph.config import Settings
from recgraph.errors import ConfigError, GenerationError, NotPublished, StoreError, StoreUnavailable
from recgraph.generations import read_manifest, write_manifest
from recgraph.ports import Product
from recgraph.services import embedded
from recgraph.services.connection import Connection
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import activate, ensure_published, prune, publish, verify
from tests.contracts.store import StoreContract
from tests.sample import write_sample_generation

pytestmark = pytest.mark.services

MongoDatabase = Database[dict[str, Any]]
FIRST, SECOND, THIRD = (f"2026010{day}-120000-5a3e" for day in (1, 2, 3))


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_generation(tmp_path_factory.mktemp("generations"))


@pytest.fixture
def empty_store(mongo_uri: str, mongo_database: MongoDatabase) -> Iterator[MongoStore]:
    with open_store(mongo_uri, mongo_database.name) as store:
        yield store


@pytest.fixture(scope="module")
def shared_store(mongo_uri: str, generation: Path) -> Iterator[MongoStore]:
    with open_store(mongo_uri, "test-contract") as store:
        publish(store, generation, keep=3)
        yield store
        store.database.client.drop_database("test-contract")


class TestMongoStore(StoreContract):
    @pytest.fixture
    def store(self, shared_store: MongoStore) -> MongoStore:
        return shared_store


# --- publish ------------------------------------------------------------------------------------


def documents(store: MongoStore) -> dict[str, list[dict[str, Any]]]:
    database = store.database
    return {
        name: sorted(database[name].find(), key=lambda document: str(document["_id"]))
        for name in database.list_collection_names()
    }


def test_publish_says_what_it_wrote(empty_store: MongoStore, generation: Path) -> None:
    steps: list[tuple[int, int]] = []
    done = publish(empty_store, generation, keep=3, on_progress=lambda *step: steps.append(step))
    assert (done.users, done.items, done.has_moved, done.dropped) == (40, 60, True, [])
    n_words = empty_store.n_words(done.generation)
    assert n_words is not None
    assert done.written == 2 * done.users + 2 * done.items + n_words
    assert steps[-1] == (done.written, done.written)
    assert steps == sorted(steps)


def test_publish_again_changes_nothing(empty_store: MongoStore, generation: Path) -> None:
    publish(empty_store, generation, keep=3)
    before = documents(empty_store)
    again = publish(empty_store, generation, keep=3)
    assert (again.written, again.has_moved) == (0, False)
    assert documents(empty_store) == before


def test_publish_again_brings_back_exactly_what_was_lost(
    empty_store: MongoStore, generation: Path
) -> None:
    publish(empty_store, generation, keep=3)
    before = documents(empty_store)
    manifest = read_manifest(generation)
    for kind, n_lost in (("users", 7), ("items", 5), ("neighbours", 3), ("words", 2)):
        collection = empty_store.collection(kind, manifest.id)
        for document in list(collection.find().limit(n_lost)):
            collection.delete_one({"_id": document["_id"]})
    lost = {"users": 7, "items": 5, "neighbours": 3, "words": 2}
    assert verify(empty_store, manifest) == lost
    assert publish(empty_store, generation, keep=3).written == 17
    assert documents(empty_store) == before
    assert verify(empty_store, manifest) == {}


def test_publish_refuses_a_rejected_generation(empty_store: MongoStore, tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path, status="rejected")
    with pytest.raises(GenerationError, match="was rejected: nDCG fell below"):
        publish(empty_store, folder, keep=3)
    assert empty_store.database.list_collection_names() == []


def test_publish_refuses_a_folder_without_manifest(empty_store: MongoStore, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="no complete generation"):
        publish(empty_store, tmp_path, keep=3)


def test_publish_of_a_broken_file_leaves_the_old_one_current(
    empty_store: MongoStore, tmp_path: Path
) -> None:
    publish(empty_store, write_sample_generation(tmp_path, generation_id=FIRST), keep=3)
    broken = write_sample_generation(tmp_path, generation_id=SECOND)
    part = next((broken / "users").glob("part-00001*"))
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(GenerationError, match="users cannot be read"):
        publish(empty_store, broken, keep=3)
    assert empty_store.current().manifest.id == FIRST


def test_publish_refuses_counts_that_differ_from_the_manifest(
    empty_store: MongoStore, tmp_path: Path
) -> None:
    folder = write_sample_generation(tmp_path)
    next((folder / "users").glob("part-00001*")).unlink()
    with pytest.raises(StoreError, match=r"holds 20 documents, but the manifest says 40"):
        publish(empty_store, folder, keep=3)
    with pytest.raises(NotPublished):
        empty_store.current()


def test_publish_keeps_the_newest_and_drops_the_rest(
    empty_store: MongoStore, tmp_path: Path
) -> None:
    for generation_id in (FIRST, SECOND, THIRD):
        folder = write_sample_generation(tmp_path, generation_id=generation_id)
        last = publish(empty_store, folder, keep=2)
    assert last.dropped == [FIRST]
    assert [each.manifest.id for each in empty_store.generations()] == [THIRD, SECOND]
    assert not any(FIRST in name for name in empty_store.database.list_collection_names())


def test_prune_never_drops_the_current_one(empty_store: MongoStore, tmp_path: Path) -> None:
    for generation_id in (SECOND, THIRD, FIRST):  # FIRST is current: rolled back
        publish(empty_store, write_sample_generation(tmp_path, generation_id=generation_id), keep=9)
    assert prune(empty_store, 1) == [THIRD, SECOND]
    assert empty_store.current().manifest.id == FIRST
    assert empty_store.user("u9") is not None


def test_prune_removes_what_a_killed_publish_left(empty_store: MongoStore, tmp_path: Path) -> None:
    empty_store.collection("users", FIRST).insert_one({"_id": "half"})
    empty_store.database["users_of_somebody_else"].insert_one({"_id": 1})
    publish(empty_store, write_sample_generation(tmp_path, generation_id=SECOND), keep=3)
    names = empty_store.database.list_collection_names()
    assert not any(FIRST in name for name in names)
    assert "users_of_somebody_else" in names


# --- the pointer --------------------------------------------------------------------------------


def test_pointer_moves_only_from_where_it_was_seen(empty_store: MongoStore, tmp_path: Path) -> None:
    publish(empty_store, write_sample_generation(tmp_path, generation_id=FIRST), keep=3)
    seen = empty_store.pointer()
    publish(empty_store, write_sample_generation(tmp_path, generation_id=SECOND), keep=3)
    with pytest.raises(StoreError, match="generations activate"):
        empty_store.move_pointer(FIRST, seen)
    with pytest.raises(StoreError, match="another publish moved the pointer"):
        empty_store.move_pointer(FIRST, None)
    assert empty_store.current().manifest.id == SECOND


def test_pointer_of_many_publishers_is_moved_by_one(empty_store: MongoStore) -> None:
    outcomes: list[str] = []

    def move(name: str) -> None:
        try:
            empty_store.move_pointer(name, None)
            outcomes.append("moved")
        except StoreError:
            outcomes.append("refused")

    threads = [threading.Thread(target=move, args=(f"g{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved"] + ["refused"] * 7


def test_another_reader_sees_the_switch_within_two_seconds(
    mongo_uri: str, empty_store: MongoStore, tmp_path: Path
) -> None:
    publish(empty_store, write_sample_generation(tmp_path, generation_id=FIRST), keep=3)
    with open_store(mongo_uri, empty_store.database.name) as reader:
        assert reader.current().manifest.id == FIRST
        publish(empty_store, write_sample_generation(tmp_path, generation_id=SECOND), keep=3)
        time.sleep(1.1)
        assert reader.current().manifest.id == SECOND


class Switch(CommandListener):
    """Makes another generation current as soon as one is read; notes which are read."""

    def __init__(self, move: Callable[[], object]) -> None:
        self.move = move
        self.read: set[str] = set()

    def started(self, event: CommandStartedEvent) -> None:
        collection = str(event.command.get("find", ""))
        if collection.endswith((FIRST, SECOND)):
            if not self.read:
                self.move()
            self.read.add(collection.partition("_")[2])

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.mark.parametrize("read", ["user", "item", "search"])
def test_a_switch_in_the_middle_of_a_read_mixes_no_generations(
    mongo_uri: str,
    empty_store: MongoStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: str,
) -> None:
    for generation_id in (SECOND, FIRST):
        publish(empty_store, write_sample_generation(tmp_path, generation_id=generation_id), keep=3)
    monkeypatch.setattr("recgraph.services.mongo.POINTER_CACHE_S", 0)
    switch = Switch(lambda: empty_store.move_pointer(SECOND, empty_store.pointer()))
    with MongoClient[dict[str, Any]](mongo_uri, event_listeners=[switch], tz_aware=True) as client:
        store = MongoStore(Connection(client, empty_store.database.name, "a test"))
        item = empty_store.popular(1)[0]
        assert getattr(store, read)({"user": "u9", "item": item.item_id}.get(read, item.item_id))
        assert switch.read == {FIRST}
        assert store.current().manifest.id == SECOND


def test_reader_never_meets_a_dropped_generation(
    mongo_uri: str, empty_store: MongoStore, tmp_path: Path
) -> None:
    publish(empty_store, write_sample_generation(tmp_path, generation_id=FIRST), keep=1)
    stop, misses, n_reads = threading.Event(), [], []

    def read() -> None:
        with open_store(mongo_uri, empty_store.database.name) as reader:
            while not stop.is_set():
                (n_reads if reader.user("u9") else misses).append(1)

    thread = threading.Thread(target=read)
    thread.start()
    for generation_id in (SECOND, THIRD):
        folder = write_sample_generation(tmp_path, generation_id=generation_id)
        assert publish(empty_store, folder, keep=1).dropped
    stop.set()
    thread.join()
    assert not misses
    assert n_reads


def test_indexes_answer_the_top_lists(empty_store: MongoStore, generation: Path) -> None:
    publish(empty_store, generation, keep=3)
    items = empty_store.collection("items", read_manifest(generation).id)
    for query in (
        {"popular_rank": {"$gte": 1, "$lte": 5}},
        {"recommended_rank": {"$gte": 1, "$lte": 5}},
        {"department": "Dairy", "department_rank": {"$gte": 1, "$lte": 5}},
    ):
        plan = str(items.find(query).explain()["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in plan, plan
        assert "COLLSCAN" not in plan


# --- catalogue ----------------------------------------------------------------------------------


def test_catalogue_is_inserted_then_replaced(empty_store: MongoStore) -> None:
    first = [Product("a", "Old"), Product("$b.c", "Other", "D", "B", "C")]
    assert empty_store.write_catalogue(first) == 2
    assert empty_store.write_catalogue(first) == 0
    assert empty_store.write_catalogue([Product("a", "New"), Product("c")]) == 2
    assert empty_store.write_catalogue([]) == 0
    found = {d["_id"]: d["title"] for d in empty_store.database["catalogue"].find()}
    assert found == {"a": "New", "$b.c": "Other", "c": None}


# --- servers that do not answer -----------------------------------------------------------------


def test_open_store_without_server_names_the_address_but_no_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        uri = f"mongodb://ann:S3cret%40@127.0.0.1:{port}/?serverSelectionTimeoutMS=300"
        with pytest.raises(StoreUnavailable) as caught, open_store(uri, "x"):
            pass
    message = str(caught.value)
    assert f"127.0.0.1:{port} does not answer" in message
    assert "S3cret" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "uri", ["S3cret", "http://ann:S3cret@x", "mongodb://ann:S3cret@@x:y", "mongodb://a:S3cret/@h:1"]
)
def test_open_store_with_a_wrong_uri_does_not_quote_it(uri: str) -> None:
    with pytest.raises(ConfigError, match="RECGRAPH_MONGO_URI") as caught, open_store(uri, "x"):
        pass
    assert "S3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


# --- a server that is killed --------------------------------------------------------------------


@contextmanager
def own_server(settings: Settings) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Give a server of the test's own, which the test may kill."""
    folder = settings.services_dir / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("ab") as log:
        command = embedded._mongo_command(folder, [port])
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not embedded._mongo_answers([port]):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"mongodb://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def test_server_killed_after_a_publish_is_made_whole_from_disk(
    settings: Settings, mongo_uri: str
) -> None:
    root = settings.generations_dir
    folder = write_sample_generation(root, n_users=1_000, n_items=3_000)
    manifest = read_manifest(folder)
    with own_server(settings) as (uri, process), open_store(uri, "recgraph") as store:
        publish(store, folder, keep=3)
        process.kill()
        with pytest.raises(StoreUnavailable):
            store.user("u9")
    with own_server(settings) as (uri, process), open_store(uri, "recgraph") as store:
        ensure_published(store, root, keep=3)
        assert verify(store, manifest) == {}
        assert store.current().manifest == manifest
        assert len(store.popular(10_000)) == 3_000
        assert all(store.user(f"u{index}") for index in range(8, 1_000))


def test_ensure_published_publishes_the_newest_to_an_empty_store(
    empty_store: MongoStore, tmp_path: Path
) -> None:
    assert ensure_published(empty_store, tmp_path, keep=3) is None
    write_sample_generation(tmp_path, generation_id=FIRST)
    write_sample_generation(tmp_path, generation_id=SECOND)
    done = ensure_published(empty_store, tmp_path, keep=3)
    assert done is not None
    assert done.generation == SECOND
    assert ensure_published(empty_store, tmp_path, keep=3) is None


def test_ensure_published_does_not_undo_a_rollback(empty_store: MongoStore, tmp_path: Path) -> None:
    old = write_sample_generation(tmp_path, generation_id=FIRST)
    write_sample_generation(tmp_path, generation_id=SECOND)
    publish(empty_store, old, keep=3)
    empty_store.collection("users", FIRST).delete_one({"_id": "u9"})
    done = ensure_published(empty_store, tmp_path, keep=3)
    assert done is not None
    assert (done.generation, done.written) == (FIRST, 1)


def test_activate_goes_back_without_the_disk(empty_store: MongoStore, tmp_path: Path) -> None:
    for generation_id in (FIRST, SECOND):
        publish(empty_store, write_sample_generation(tmp_path, generation_id=generation_id), keep=3)
    done = activate(empty_store, tmp_path / "elsewhere", FIRST, keep=3)
    assert (done.generation, done.written, done.has_moved) == (FIRST, 0, True)
    assert empty_store.current().manifest.id == FIRST


def test_activate_publishes_what_the_store_lacks(empty_store: MongoStore, tmp_path: Path) -> None:
    write_sample_generation(tmp_path, generation_id=FIRST)
    assert activate(empty_store, tmp_path, FIRST, keep=3).written > 0
    with pytest.raises(GenerationError, match="no complete generation"):
        activate(empty_store, tmp_path, SECOND, keep=3)


def test_ensure_published_says_when_the_disk_cannot_help(
    empty_store: MongoStore, tmp_path: Path
) -> None:
    publish(empty_store, write_sample_generation(tmp_path / "far", generation_id=FIRST), keep=3)
    assert ensure_published(empty_store, tmp_path / "here", keep=3) is None
    empty_store.collection("users", FIRST).delete_one({"_id": "u9"})
    with pytest.raises(StoreError, match="lost documents of generation"):
        ensure_published(empty_store, tmp_path / "here", keep=3)


def test_record_keeps_keys_that_mongodb_may_refuse(empty_store: MongoStore, tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    manifest = read_manifest(folder)
    odd: dict[str, object] = {"a.b": 1, "$c": {"d\x00e": None}}
    changed = type(manifest)(
        **{n: getattr(manifest, n) for n in manifest.__struct_fields__} | {"settings": odd}
    )
    write_manifest(folder, changed)
    publish(empty_store, folder, keep=3)
    assert empty_store.current().manifest.settings == odd
