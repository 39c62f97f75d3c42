"""The live service while its broker is killed, frozen, or has lost the topic: no sale is lost."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient
from pymongo.database import Database

from recgraph.config import Settings, load_settings
from recgraph.services import kafka, processes
from recgraph.services.embedded import ensure_kafka, kafka_service, stop_all
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import publish
from tests.conftest import java_problem, requires
from tests.sample import NASTY_USERS, write_sample_generation
from tests.services.test_live import (
    FIRST,
    assert_exact,
    is_folded_in,
    running,
    sale,
    send,
    wait_until,
)

pytestmark = pytest.mark.services

AWAY_S = 20.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a broker that these tests alone kill and freeze."""
    problem = java_problem()
    requires(problem is None, problem or "")
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("broker")
        patch.chdir(folder)
        settings = load_settings(data_dir=folder)
    ensure_kafka(settings)
    yield settings
    stop_all(settings)


@pytest.fixture
def settings(
    broker: Settings,
    settings: Settings,
    mongo_uri: str,
    topic: str,
    mongo_database: Database[dict[str, Any]],
) -> Settings:
    found = load_settings(
        data_dir=settings.data_dir,
        kafka_bootstrap=ensure_kafka(broker),
        mongo_uri=mongo_uri,
        mongo_database=mongo_database.name,
        topic=topic,
        live_topic=f"lists-{topic}",
    )
    kafka.ensure_topic(found.kafka_bootstrap or "", topic, n_partitions=2)
    return found


@pytest.fixture
def store(settings: Settings, mongo_uri: str) -> Iterator[MongoStore]:
    folder = write_sample_generation(settings.generations_dir, generation_id=FIRST, n_items=80)
    with open_store(mongo_uri, settings.mongo_database) as opened:
        publish(opened, folder, keep=3)
        yield opened


def process_of(broker: Settings) -> psutil.Process:
    process = processes.running(kafka_service(broker))
    assert process is not None
    return process


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_broker_that_was_away_brings_every_sale(
    settings: Settings, broker: Settings, store: MongoStore, fault: str
) -> None:
    events = [sale(NASTY_USERS[0], 20, 1), sale("new", 21, 2), sale("new", 22, 3)]
    with running(settings, store) as reporter:
        send(settings, events[:2])
        wait_until(lambda: is_folded_in(store, events[:2]))
        process = process_of(broker)
        process.kill() if fault == "kill" else process.suspend()
        gone_at = time.monotonic()
        wait_until(lambda: reporter.status.problem is not None)
        assert "Kafka" in (reporter.status.problem or "")
        assert is_folded_in(store, events[:2])
        time.sleep(max(0.0, gone_at + AWAY_S - time.monotonic()))
        process.send_signal(signal.SIGCONT) if fault == "freeze" else ensure_kafka(broker)
        send(settings, events[2:])
        wait_until(lambda: is_folded_in(store, events))
        wait_until(lambda: reporter.status.problem is None)
    assert_exact(store, settings.generations_dir / FIRST, events)


def test_a_topic_that_is_made_anew_is_begun_from_its_start(
    settings: Settings, store: MongoStore
) -> None:
    bare = [sale("new", 20 + number, number, event_id=None) for number in range(6)]
    with running(settings, store):
        send(settings, bare[:3])
        wait_until(lambda: n_sales(store, "new") == 3)
        admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
        admin.delete_topics([settings.topic])
        wait_until(lambda: settings.topic not in admin.list_topics())
        admin.close()
        kafka.ensure_topic(settings.kafka_bootstrap or "", settings.topic, n_partitions=2)
        send(settings, bare[3:])
        wait_until(lambda: n_sales(store, "new") == 6)
        time.sleep(1)
        assert n_sales(store, "new") == 6


def n_sales(store: MongoStore, user_id: str) -> int:
    """Sales of a user's list since the training."""
    found = store.recommendations(user_id)
    return 0 if found is None else len(found.events) // 29
