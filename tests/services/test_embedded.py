"""The embedded broker and MongoDB server: real ones, each test with a data folder of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from pymongo import MongoClient

from recgraph.config import Settings, load_settings
from recgraph.errors import ServiceError
from recgraph.machine import find_mongo_server
from recgraph.services import processes
from recgraph.services.embedded import (
    ensure_kafka,
    ensure_mongo,
    kafka_service,
    mongo_service,
    service_states,
    stop_all,
)
from tests.conftest import java_problem, requires

pytestmark = pytest.mark.services


@pytest.fixture
def own(settings: Settings) -> Iterator[Settings]:
    """Settings of services that this test alone starts and kills."""
    requires(java_problem() is None, java_problem() or "")
    requires(find_mongo_server(), "the embedded MongoDB server is not installed")
    yield settings
    stop_all(settings)


def listening_addresses(pid: int) -> set[str]:
    connections = psutil.Process(pid).net_connections("inet")
    addresses = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return {address.removeprefix("::ffff:") for address in addresses}


def produce(bootstrap: str, topic: str, n: int) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for i in range(n):
        producer.send(topic, str(i).encode())
    producer.flush()
    producer.close()


def consume(bootstrap: str, topic: str) -> list[int]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=5000)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    values: list[int] = []
    while len(values) < end:
        values += [int(m.value) for ms in consumer.poll(1000).values() for m in ms]
    consumer.close()
    return values


def test_kafka_keeps_every_acknowledged_event_when_killed(own: Settings) -> None:
    bootstrap = ensure_kafka(own)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({"kept": {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    produce(bootstrap, "kept", 1000)
    broker = processes.running(kafka_service(own))
    assert broker is not None
    assert listening_addresses(broker.pid) == {"127.0.0.1"}

    broker.kill()
    broker.wait()
    assert ensure_kafka(own) == bootstrap
    assert consume(bootstrap, "kept") == list(range(1000))


def test_mongo_keeps_its_data_when_killed(own: Settings) -> None:
    uri = ensure_mongo(own)
    server = processes.running(mongo_service(own))
    assert server is not None
    assert listening_addresses(server.pid) == {"127.0.0.1"}
    client: MongoClient[dict[str, Any]]
    with MongoClient(uri) as client:
        client["kept"]["things"].insert_many([{"_id": i} for i in range(3000)])
    time.sleep(1.0)  # it writes its log behind the answer; what is published can be made again

    server.kill()
    server.wait()
    assert ensure_mongo(own) == uri
    with MongoClient(uri) as client:
        found = sorted(document["_id"] for document in client["kept"]["things"].find())
    assert found == list(range(3000))


def test_states_follow_the_services(own: Settings) -> None:
    assert [state.state for state in service_states(own)] == ["stopped", "stopped"]
    uri = ensure_mongo(own)
    kafka, mongo = service_states(own)
    assert kafka.state == "stopped"
    assert (mongo.state, mongo.address) == ("running", uri)
    assert mongo.memory_bytes is not None
    assert mongo.memory_bytes > 10_000_000
    assert stop_all(own) == ["mongodb"]
    assert [state.state for state in service_states(own)] == ["stopped", "stopped"]


def test_broken_data_folder_is_explained_with_the_log(own: Settings) -> None:
    data = own.services_dir / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=7\n")
    with pytest.raises(ServiceError, match=r"(?s)Kafka broker ended at once.*node id 7"):
        ensure_kafka(own)


def test_data_folder_with_a_name_from_anywhere_is_fine(own: Settings) -> None:
    own = own.model_copy(update={"data_dir": own.data_dir / "Δ ta=1: #2\\é"})
    try:
        assert ensure_kafka(own).startswith("127.0.0.1:")
        assert (own.services_dir / "kafka" / "data" / "meta.properties").is_file()
    finally:
        stop_all(own)


def test_comma_in_the_data_folder_is_refused(own: Settings) -> None:
    with pytest.raises(ServiceError, match="comma"):
        ensure_kafka(own.model_copy(update={"data_dir": own.data_dir / "a,b"}))


def test_your_own_servers_are_used_and_nothing_is_started(settings: Settings) -> None:
    yours = load_settings(
        data_dir=settings.data_dir,
        kafka_bootstrap="127.0.0.1:9",
        mongo_uri="mongodb://me:secret@127.0.0.1:9/",
    )
    assert ensure_kafka(yours) == "127.0.0.1:9"
    assert ensure_mongo(yours) == "mongodb://me:secret@127.0.0.1:9/"
    states = service_states(yours)
    assert [state.state for state in states] == ["silent", "silent"]
    assert "secret" not in str(states)
    assert stop_all(yours) == []
    assert not yours.services_dir.exists()


def test_your_own_servers_are_asked_whether_they_answer(service_settings: Settings) -> None:
    states = service_states(service_settings)
    assert [state.state for state in states] == ["running", "running"]
    assert [state.pid for state in states] == [None, None]


def test_missing_mongo_server_says_how_to_install_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ServiceError, match=r"recgraph\[embedded\].*RECGRAPH_MONGO_URI"):
        ensure_mongo(settings)


def run_recgraph(settings: Settings, *arguments: str) -> tuple[int, dict[str, Any]]:
    program = [sys.executable, "-c", "from recgraph.cli import main; main()", *arguments, "--json"]
    environment = {**os.environ, "RECGRAPH_DATA_DIR": str(settings.data_dir)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout)


def test_commands_start_show_and_stop_the_services(own: Settings) -> None:
    code, before = run_recgraph(own, "services")
    assert (code, [each["state"] for each in before["services"]]) == (1, ["stopped", "stopped"])
    code, started = run_recgraph(own, "up")
    assert (code, [each["state"] for each in started["services"]]) == (0, ["running", "running"])
    code, shown = run_recgraph(own, "services")
    assert code == 0
    assert [each["pid"] for each in shown["services"]] == [
        each["pid"] for each in started["services"]
    ]
    assert run_recgraph(own, "down") == (0, {"stopped": ["kafka", "mongodb"]})
    assert run_recgraph(own, "down") == (0, {"stopped": []})
