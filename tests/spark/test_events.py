"""The stream from a real topic to the Delta tables: each message once, whatever happens."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from delta.tables import DeltaTable
from kafka import KafkaAdminClient
from pyspark.sql import SparkSession

from recgraph import jobs
from recgraph.config import Settings, load_settings
from recgraph.errors import NoInteractionsError, ServiceError
from recgraph.jobs import ingesting, training
from recgraph.ports import Progress
from recgraph.services import kafka
from recgraph.spark import events as spark_events
from recgraph.stages import Stages

pytestmark = pytest.mark.services


@pytest.fixture
def stream(settings: Settings, kafka_bootstrap: str, topic: str) -> Settings:
    """The test's settings with a real broker and a fresh topic, which is there."""
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=2)
    return load_settings(
        data_dir=settings.data_dir,
        kafka_bootstrap=kafka_bootstrap,
        topic=topic,
        max_events_per_batch=400,
        driver_memory="1g",
    )


def message(number: int, **changes: object) -> tuple[bytes, bytes]:
    event = {
        "event_id": f"e{number}",
        "user_id": f"u{number % 7}",
        "product_id": f"p{number % 11}",
        "quantity": 1,
        "occurred_at": "2020-01-01T00:00:00Z",
    }
    return str(number % 7).encode(), msgspec.json.encode(event | changes)


def send(stream: Settings, messages: Iterable[tuple[bytes | None, bytes]]) -> None:
    assert stream.kafka_bootstrap is not None
    assert kafka.produce(stream.kafka_bootstrap, stream.topic, messages).failed == 0


def ingest(spark: SparkSession, stream: Settings, **changes: Any) -> Progress:
    assert stream.kafka_bootstrap is not None
    return ingesting.ingest(
        spark,
        stream,
        bootstrap=stream.kafka_bootstrap,
        extent=kafka.read_extent(stream.kafka_bootstrap, stream.topic),
        **{"once": True, "stop": threading.Event()} | changes,
    )


def event_ids(spark: SparkSession, stream: Settings) -> list[str]:
    frame = spark_events.read_events(spark, jobs.tables_of(stream))
    return sorted(row["event_id"] for row in frame.collect())


def test_good_events_and_rubbish_part_ways(spark: SparkSession, stream: Settings) -> None:
    send(stream, [message(number) for number in range(1000)])
    send(stream, [(None, b"rubbish"), message(1, quantity="many"), (b"k", b'{"user_id": "\xff"}')])
    send(stream, [message(2000, event_id=None, user_id="a b", product_id="$x.🥐")])
    progress = ingest(spark, stream)
    assert (progress.accepted, progress.rejected) == (1001, 3)
    rejected = spark_events.read_rejected(spark, jobs.tables_of(stream)).collect()
    assert {bytes(row["raw"]): row["reason"] for row in rejected} == {
        b"rubbish": "not_json",
        message(1, quantity="many")[1]: "wrong_type",
        b'{"user_id": "\xff"}': "not_json",
    }
    without_id = [each for each in event_ids(spark, stream) if "/" in each]
    assert len(without_id) == 1  # its identity is its place: topic id, partition, offset


def test_an_empty_topic_gives_nothing_and_training_says_so(
    spark: SparkSession, stream: Settings
) -> None:
    assert ingest(spark, stream).accepted == 0
    with pytest.raises(NoInteractionsError):
        training.train(spark, stream, Stages())


def test_training_without_any_table_says_what_to_do(
    spark: SparkSession, settings: Settings
) -> None:
    with pytest.raises(NoInteractionsError, match="recgraph ingest --once"):
        training.train(spark, settings, Stages())


def test_a_batch_that_is_run_again_is_written_once(spark: SparkSession, stream: Settings) -> None:
    send(stream, [message(number) for number in range(50)] + [(None, b"rubbish")])
    ingest(spark, stream)
    # As a crash before Spark noted its end leaves it: the batch is run again.
    for commit in list(stream.data_dir.glob("checkpoints/*/*/commits/*0*")):
        commit.unlink()
    progress = ingest(spark, stream)
    assert (progress.accepted, progress.rejected) == (50, 1)


def test_a_lost_checkpoint_goes_on_from_the_table(spark: SparkSession, stream: Settings) -> None:
    send(stream, [message(number) for number in range(300)])
    ingest(spark, stream)
    (checkpoint,) = stream.data_dir.glob("checkpoints/*/*")
    checkpoint.rename(stream.data_dir / "lost")
    send(stream, [message(number) for number in range(300, 500)])
    assert ingest(spark, stream).accepted == 500
    assert event_ids(spark, stream) == sorted(f"e{number}" for number in range(500))


def test_a_lost_checkpoint_with_a_partition_without_events(
    spark: SparkSession, stream: Settings
) -> None:
    one_user = [(b"same key", message(number)[1]) for number in range(20)]
    send(stream, one_user[:10])
    ingest(spark, stream)
    (checkpoint,) = stream.data_dir.glob("checkpoints/*/*")
    checkpoint.rename(stream.data_dir / "lost")
    send(stream, one_user[10:])
    assert ingest(spark, stream).accepted == 20
    assert len(set(event_ids(spark, stream))) == 20


def test_a_topic_made_anew_repeats_nothing_and_skips_nothing(
    spark: SparkSession, stream: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    send(stream, [message(number, event_id=None) for number in range(30)])
    ingest(spark, stream)
    make_topic_anew(stream, n_partitions=3)
    send(stream, [message(number, event_id=None) for number in range(20)])
    assert ingest(spark, stream).accepted == 50
    assert len(set(event_ids(spark, stream))) == 50
    assert "made anew" in "".join(capsys.readouterr())


@pytest.mark.parametrize("n_later", [5, 90])
def test_a_topic_made_anew_while_it_is_read_is_noticed(
    spark: SparkSession, stream: Settings, n_later: int
) -> None:
    slow = stream.model_copy(update={"batch_seconds": 10})
    send(stream, [message(number, event_id=None) for number in range(30)])

    def make_anew(progress: Progress, next_offsets: object) -> None:
        if progress.accepted == 30 and describe().id == first:
            make_topic_anew(stream, n_partitions=2)
            # Be it less or more than there was: offsets alone do not tell.
            send(stream, [message(number, event_id=None) for number in range(n_later)])
        if progress.accepted > 30:
            stop.set()

    def describe() -> kafka.Topic:
        return kafka.describe_topic(str(stream.kafka_bootstrap), stream.topic)

    first, stop = describe().id, threading.Event()
    with pytest.raises(ServiceError, match=r"made anew.*Nothing is lost; start it again"):
        ingest(spark, slow, once=False, on_poll=make_anew, stop=stop)
    assert ingest(spark, stream).accepted == 30 + n_later
    assert len(set(event_ids(spark, stream))) == 30 + n_later


def make_topic_anew(stream: Settings, *, n_partitions: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=stream.kafka_bootstrap)
    admin.delete_topics([stream.topic])
    while stream.topic in admin.list_topics():
        time.sleep(0.1)
    admin.close()
    kafka.ensure_topic(str(stream.kafka_bootstrap), stream.topic, n_partitions=n_partitions)


@pytest.mark.parametrize("while_it_runs", [False, True])
def test_partitions_that_are_added_are_said_and_read_from_their_start(
    spark: SparkSession,
    stream: Settings,
    capsys: pytest.CaptureFixture[str],
    while_it_runs: bool,
) -> None:
    send(stream, [message(number) for number in range(40)])
    stop = threading.Event()

    def grow(progress: Progress, next_offsets: object) -> None:
        if progress.accepted == 40 and describe() == 2:
            add_partitions()
        if progress.accepted == 100:
            stop.set()

    def describe() -> int:
        return kafka.describe_topic(str(stream.kafka_bootstrap), stream.topic).n_partitions

    def add_partitions() -> None:
        admin = KafkaAdminClient(bootstrap_servers=stream.kafka_bootstrap)
        admin.create_partitions({stream.topic: 5})
        admin.close()
        send(stream, [(str(number).encode(), message(number)[1]) for number in range(40, 100)])

    if while_it_runs:
        ingest(spark, stream, once=False, on_poll=grow, stop=stop)
    else:
        ingest(spark, stream)
        add_partitions()
        ingest(spark, stream)
    assert event_ids(spark, stream) == sorted(f"e{number}" for number in range(100))
    said = "".join(capsys.readouterr())
    assert "more partitions than before" in said
    assert all(number in said for number in "234")


def test_only_one_ingest_writes_the_tables(spark: SparkSession, stream: Settings) -> None:
    with ingesting.only_ingest(stream), pytest.raises(ServiceError, match="another ingest"):
        ingest(spark, stream)


def test_compaction_leaves_every_event_once(spark: SparkSession, stream: Settings) -> None:
    often = stream.model_copy(update={"max_events_per_batch": 40, "compact_every_batches": 2})
    send(stream, [message(number) for number in range(120)])
    assert ingest(spark, often).accepted == 120
    assert event_ids(spark, often) == sorted(f"e{number}" for number in range(120))
    history = DeltaTable.forPath(spark, str(often.events_dir)).history()
    assert history.where("operation = 'OPTIMIZE'").count() >= 1


def test_killed_at_any_moment_every_event_is_there_once(
    spark: SparkSession, stream: Settings
) -> None:
    n_events, n_kills = 4000, 2
    send(stream, [message(number) for number in range(n_events)])
    for kill in range(n_kills):
        process = start_ingest(stream)
        wait_for_commits(stream.events_dir, more_than=2 * kill + 1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(event_ids(spark, stream)) < n_events  # the kills came in between
    assert ingest(spark, stream).accepted == n_events
    assert event_ids(spark, stream) == sorted(f"e{number}" for number in range(n_events))


def start_ingest(stream: Settings) -> subprocess.Popen[bytes]:
    """`recgraph ingest` in a process of its own; its JVM ends with it."""
    names = ("data_dir", "kafka_bootstrap", "topic", "max_events_per_batch", "driver_memory")
    variables = {f"RECGRAPH_{name.upper()}": str(getattr(stream, name)) for name in names}
    command = [sys.executable, "-m", "recgraph.cli", "ingest"]
    return subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.DEVNULL)


def wait_for_commits(table: Path, *, more_than: int) -> None:
    deadline = time.monotonic() + 180
    while len(list(table.glob("_delta_log/*.json"))) <= more_than:
        assert time.monotonic() < deadline, "ingest wrote nothing"
        time.sleep(0.05)
