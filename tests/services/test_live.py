"""The live service on a real broker and a real store: every sale in its buyer's list, once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaConsumer
from pydantic import SecretStr
from pymongo.database import Database

from recgraph.config import Settings
from recgraph.errors import GenerationError
from recgraph.events import SaleEvent, encode_event, place_id
from recgraph.generations import Manifest, read_manifest, write_manifest
from recgraph.live_status import LiveReporter, read_statuses
from recgraph.ports import Recommendations, Recommended
from recgraph.services import kafka, live
from recgraph.services.embedded import ensure_mongo, service_states, stop_all
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import activate, publish, verify
from recgraph.serving import AS_TRAINED, Serving, open_serving
from tests.sample import NASTY_USERS, make_rated, write_sample_generation

pytestmark = pytest.mark.services

FIRST, SECOND = (f"2026010{day}-120000-5a3e" for day in (1, 2))
NOW = datetime(2026, 1, 6, tzinfo=UTC)
PATIENCE_S = 180.0


@pytest.fixture
def store(service_settings: Settings) -> Iterator[MongoStore]:
    """A store whose current generation is on disk, too; the topic is there and empty."""
    write_sample_generation(service_settings.generations_dir, generation_id=FIRST, n_items=80)
    assert service_settings.kafka_bootstrap is not None
    kafka.ensure_topic(service_settings.kafka_bootstrap, service_settings.topic, n_partitions=2)
    assert service_settings.mongo_uri is not None
    uri = service_settings.mongo_uri.get_secret_value()
    with open_store(uri, service_settings.mongo_database) as opened:
        publish(opened, service_settings.generations_dir / FIRST, keep=3)
        yield opened


@pytest.fixture
def settings(service_settings: Settings) -> Settings:
    return service_settings.model_copy(update={"live_topic": f"lists-{service_settings.topic}"})


def sale(user_id: str, item: int, number: int, **changes: Any) -> SaleEvent:
    at = NOW + timedelta(seconds=number)
    fields: dict[str, Any] = {"event_id": f"e{number}", "quantity": 1.0, "occurred_at": at}
    fields |= changes
    return SaleEvent(user_id=user_id, product_id=str(1000 + item), **fields)


def sales_of_many(n: int = 300, n_users: int = 12) -> list[SaleEvent]:
    """Sales of known and of new users, every fifth one twice."""
    users = [*NASTY_USERS, *(f"new {number}" for number in range(n_users - len(NASTY_USERS)))]
    made = [sale(users[i % n_users], 10 + (i * 7) % 60, i) for i in range(n)]
    return made + made[::5]


def send(settings: Settings, events: Sequence[SaleEvent | bytes]) -> None:
    """Send to the topic; without a key, so that a user's sales come on both partitions."""
    raws = [each if isinstance(each, bytes) else encode_event(each) for each in events]
    keyed = [(str(number % 2).encode(), raw) for number, raw in enumerate(raws)]
    assert settings.kafka_bootstrap is not None
    assert kafka.produce(settings.kafka_bootstrap, settings.topic, keyed).failed == 0


@contextmanager
def running(settings: Settings, store: MongoStore) -> Iterator[LiveReporter]:
    """Run the service in a thread."""
    stop, reporter = threading.Event(), LiveReporter(settings.live_status_dir)
    failures: list[BaseException] = []

    def target() -> None:
        try:
            live.run(
                settings,
                bootstrap=settings.kafka_bootstrap or "",
                store=store,
                stop=stop,
                reporter=reporter,
            )
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield reporter
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert not failures
    assert not thread.is_alive()


def started(settings: Settings, folder: Path) -> subprocess.Popen[bytes]:
    """Run the service in a process of its own."""
    names = ("data_dir", "kafka_bootstrap", "topic", "live_topic", "mongo_database")
    variables = {f"RECGRAPH_{name.upper()}": str(getattr(settings, name)) for name in names}
    assert settings.mongo_uri is not None
    variables["RECGRAPH_MONGO_URI"] = settings.mongo_uri.get_secret_value()
    with (folder / f"live-{time.monotonic_ns()}.log").open("wb") as log:
        command = [sys.executable, "-m", "recgraph.cli", "live", "--json"]
        return subprocess.Popen(
            command, env=os.environ | variables, stdout=log, stderr=log, cwd=folder
        )


def wait_until(is_done: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def expected(serving: Serving, events: list[SaleEvent], user_id: str) -> list[Recommended]:
    """The list of a user with all sales folded in at once."""
    own = [(each.event_id or "", each) for each in events if each.user_id == user_id]
    return serving.lists_of([serving.history(user_id, serving.packed(own))], AS_TRAINED)[0]


def assert_exact(store: MongoStore, folder: Path, events: list[SaleEvent]) -> None:
    """Every buyer has the list of all the buyer's sales, each counted once."""
    serving = open_serving(folder)
    for user_id in {each.user_id for each in events}:
        found = store.recommendations(user_id)
        assert found is not None
        n_sales = len({each.event_id for each in events if each.user_id == user_id})
        assert len(found.events) // 29 == n_sales
        rows = expected(serving, events, user_id)
        assert [row.item_id for row in found.rows] == [row.item_id for row in rows]
        assert [row.score for row in found.rows] == pytest.approx(
            [row.score for row in rows], rel=1e-4, abs=1e-6
        )


def is_folded_in(store: MongoStore, events: list[SaleEvent]) -> bool:
    n_sales = 0
    for user_id in {each.user_id for each in events}:
        found = store.recommendations(user_id)
        n_sales += 0 if found is None else len(found.events) // 29
    return n_sales == len({each.event_id for each in events})


def messages(settings: Settings) -> list[Recommendations]:
    """What stands on the topic of recommendations."""
    consumer = KafkaConsumer(
        settings.live_topic,
        bootstrap_servers=settings.kafka_bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3_000,
    )
    with_consumer = [msgspec.json.decode(each.value, type=Recommendations) for each in consumer]
    consumer.close()
    return with_consumer


def test_a_sale_changes_the_list_of_its_buyer(settings: Settings, store: MongoStore) -> None:
    user_id = NASTY_USERS[2]
    before = store.recommendations(user_id)
    assert before is not None
    assert before.freshness.source == "batch"
    profile = store.user(user_id)
    assert profile is not None
    wanted = next(
        i
        for i in range(10, 80)
        if str(1000 + i) not in {each.item_id for each in [*profile.bought, *before.rows]}
    )
    events = [sale(user_id, wanted, 1), sale(user_id, wanted, 2), sale("nobody yet", 12, 3)]
    with running(settings, store):
        send(settings, [*events, b"no sale", b"", encode_event(events[0])])
        wait_until(lambda: is_folded_in(store, events))
        wait_until(lambda: sum(m.user_id == "nobody yet" for m in messages(settings)))
    assert_exact(store, settings.generations_dir / FIRST, events)
    found, user = store.recommendations(user_id), store.user(user_id)
    assert found is not None
    assert user is not None
    assert (found.freshness.source, found.freshness.generation) == ("live", FIRST)
    assert found.freshness.event_at == events[1].occurred_at
    assert sum(found.freshness.offsets.values()) > 0
    assert user.recommended == found.rows
    assert user.freshness == found.freshness
    assert user.bought_degree == profile.bought_degree + 1
    (bought,) = (each for each in user.bought if each.item_id == str(1000 + wanted))
    assert (bought.n_events, bought.last_at) == (2, events[1].occurred_at)
    newcomer = store.user("nobody yet")
    assert newcomer is not None
    assert [each.item_id for each in newcomer.bought] == ["1012"]
    assert "1012" not in {row.item_id for row in newcomer.recommended}
    assert verify(store, read_manifest(settings.generations_dir / FIRST)) == {}
    sent = [each for each in messages(settings) if each.user_id == user_id]
    assert sent[-1].rows == found.rows
    assert sent[-1].freshness.revision == found.freshness.revision


def test_a_rating_on_the_topic_changes_the_list_of_its_user(
    settings: Settings, store: MongoStore
) -> None:
    folder = write_sample_generation(settings.generations_dir, generation_id=SECOND, n_items=80)
    publish(store, make_rated(folder), keep=3)
    user_id, serving = NASTY_USERS[2], open_serving(folder)
    first = serving.recommend(serving.history(user_id)).rows[0].item_id
    item = serving.items.index_of[first]
    stars = {"kind": "rating", "quantity": 0.0, "product_id": first}
    events = [
        msgspec.structs.replace(sale(user_id, item, number), **stars, rating=value)
        for number, value in enumerate((5.0, 1.0))
    ]
    with running(settings, store):
        send(settings, list(events))
        wait_until(lambda: is_folded_in(store, events))
        wait_until(lambda: any(each.user_id == user_id for each in messages(settings)))
    assert_exact(store, folder, events)
    found = store.recommendations(user_id)
    assert found is not None
    assert (found.freshness.source, found.freshness.generation) == ("live", SECOND)
    assert first not in {row.item_id for row in found.rows}


def test_kills_and_two_instances_leave_every_list_exact(
    settings: Settings, store: MongoStore, tmp_path: Path
) -> None:
    events = sales_of_many()
    processes = [started(settings, tmp_path) for _ in range(2)]
    try:
        for number in range(0, len(events), 60):
            send(settings, events[number : number + 60])
            victim = processes.pop(0)
            wait_until(lambda: sum(len(m.rows) > 0 for m in messages(settings)) > 0)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            processes.append(started(settings, tmp_path))
        wait_until(lambda: is_folded_in(store, events))
        assert_exact(store, settings.generations_dir / FIRST, events)
        wait_until(lambda: len(read_statuses(settings.live_status_dir)) == 2)
    finally:
        for process in processes:
            process.terminate()
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0]
    last = {each.user_id: each for each in messages(settings)}
    for user_id, sent in last.items():
        found = store.recommendations(user_id)
        assert found is not None
        assert sent.freshness.revision <= found.freshness.revision


def test_a_new_generation_is_taken_up_with_later_sales_folded_in(
    settings: Settings, store: MongoStore
) -> None:
    root, user_id = settings.generations_dir, NASTY_USERS[0]
    seen_by_both = [sale(user_id, 20 + i, i) for i in range(4)]
    later = [sale(user_id, 30, 10), sale("new", 31, 11), sale("new", 32, 12)]
    write_sample_generation(root, generation_id=SECOND, n_items=80, seed=11)
    with running(settings, store) as reporter:
        send(settings, seen_by_both)
        wait_until(lambda: is_folded_in(store, seen_by_both))
        assert settings.kafka_bootstrap is not None
        extent = kafka.read_extent(settings.kafka_bootstrap, settings.topic)
        see(root / SECOND, {extent.topic_id: extent.ends})
        send(settings, later)
        wait_until(lambda: is_folded_in(store, [*seen_by_both, *later]))
        activate(store, root, SECOND, keep=3)
        wait_until(lambda: is_folded_in(store, later))
        assert_exact(store, root / SECOND, later)
        assert reporter.status.generation == SECOND
        activate(store, root, FIRST, keep=3)
        wait_until(lambda: is_folded_in(store, [*seen_by_both, *later]))
    assert_exact(store, root / FIRST, [*seen_by_both, *later])


def see(folder: Path, seen: dict[str, dict[str, int]]) -> None:
    """Say that the training of a generation has seen these offsets."""
    manifest: Manifest = read_manifest(folder)
    write_manifest(folder, msgspec.structs.replace(manifest, seen=seen))


def test_a_lost_store_is_filled_again(
    settings: Settings, store: MongoStore, mongo_database: Database[dict[str, Any]]
) -> None:
    events = [sale(NASTY_USERS[0], 20, 1), sale("new", 21, 2)]
    with running(settings, store):
        send(settings, events)
        wait_until(lambda: is_folded_in(store, events))
    mongo_database.client.drop_database(mongo_database.name)
    with running(settings, store):
        wait_until(lambda: store.pointer() is not None)
        wait_until(lambda: is_folded_in(store, events))
    assert_exact(store, settings.generations_dir / FIRST, events)


def test_sales_without_an_id_are_told_apart_by_their_place(
    settings: Settings, store: MongoStore
) -> None:
    bare = sale("new", 20, 1, event_id=None)
    with running(settings, store):
        send(settings, [bare, bare, bare])
        wait_until(lambda: is_folded_in(store, [sale("new", 20, i) for i in range(3)]))
    found = store.user("new")
    assert found is not None
    assert found.bought[0].n_events == 3
    assert place_id("t", 1, 2) == "t/1/2"


def test_live_ends_with_a_summary(settings: Settings, store: MongoStore, tmp_path: Path) -> None:
    process = started(settings, tmp_path)
    send(settings, [sale("new", 20, 1), b"no sale"])
    wait_until(lambda: is_folded_in(store, [sale("new", 20, 1)]))
    wait_until(lambda: any(each.events for each in read_statuses(settings.live_status_dir)))
    began = time.monotonic()
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert time.monotonic() - began < 30
    (log,) = tmp_path.glob("live-*.log")
    summary = json.loads(log.read_text().splitlines()[-1])
    assert (summary["events"], summary["rejected"], summary["lists"]) == (1, 1, 1)
    assert summary["reasons"] == {"not_json": 1}
    assert read_statuses(settings.live_status_dir) == []


def test_a_store_that_is_lost_under_the_service_is_filled_again(
    settings: Settings, store: MongoStore, mongo_database: Database[dict[str, Any]]
) -> None:
    events = [sale(NASTY_USERS[0], 20, 1), sale("new", 21, 2)]
    more = [*events, sale("new", 22, 3)]
    with running(settings, store):
        send(settings, events)
        wait_until(lambda: is_folded_in(store, events))
        mongo_database.client.drop_database(mongo_database.name)
        send(settings, more[-1:])
        wait_until(lambda: store.pointer() is not None)
        wait_until(lambda: is_folded_in(store, more))
    assert_exact(store, settings.generations_dir / FIRST, more)


@pytest.fixture
def own_store(settings: Settings) -> Iterator[Settings]:
    """The settings with a MongoDB server that this test alone starts and kills."""
    own = settings.model_copy(update={"mongo_uri": None, "data_dir": settings.data_dir / "own"})
    uri = SecretStr(ensure_mongo(own))
    yield own.model_copy(update={"mongo_uri": uri})
    stop_all(own)


def test_a_store_that_is_killed_and_comes_back_has_every_sale(own_store: Settings) -> None:
    assert own_store.kafka_bootstrap is not None
    assert own_store.mongo_uri is not None
    kafka.ensure_topic(own_store.kafka_bootstrap, own_store.topic, n_partitions=2)
    folder = write_sample_generation(own_store.generations_dir, generation_id=FIRST, n_items=80)
    events = sales_of_many(60)
    with open_store(own_store.mongo_uri.get_secret_value(), own_store.mongo_database) as store:
        publish(store, folder, keep=3)
        with running(own_store, store) as reporter:
            send(own_store, events[:30])
            wait_until(lambda: is_folded_in(store, events[:30]))
            embedded = own_store.model_copy(update={"mongo_uri": None})
            (pid,) = [state.pid for state in service_states(embedded) if state.pid]
            os.kill(pid, signal.SIGKILL)
            send(own_store, events[30:])
            wait_until(lambda: reporter.status.problem is not None)
            assert "MongoDB" in (reporter.status.problem or "")
            ensure_mongo(embedded)
            wait_until(lambda: reporter.status.problem is None)
            wait_until(lambda: is_folded_in(store, events))
        assert_exact(store, folder, events)
        assert verify(store, read_manifest(folder)) == {}


def test_a_generation_that_is_not_on_this_machine_is_said(
    settings: Settings, store: MongoStore
) -> None:
    shutil.rmtree(settings.generations_dir / FIRST)
    reporter = LiveReporter(settings.live_status_dir)
    with pytest.raises(GenerationError, match=r"no generation\.json|no complete generation"):
        live.run(
            settings,
            bootstrap=settings.kafka_bootstrap or "",
            store=store,
            stop=threading.Event(),
            reporter=reporter,
        )
