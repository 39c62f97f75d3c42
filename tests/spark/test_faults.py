"""Faults that ingest meets: a full disk, a checkpoint that is broken, messages of any size."""

import secrets
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from recgraph import jobs
from recgraph.cli.rejected import ensure_rejected_topic
from recgraph.config import Settings
from recgraph.errors import ServiceError
from recgraph.jobs import ingesting
from recgraph.services import kafka
from recgraph.spark import events as spark_events
from tests.spark.test_events import event_ids, ingest, message, send, stream
from tests.spark.test_rejected import read_records

__all__ = ["stream"]  # a fixture

pytestmark = pytest.mark.services

_MIB = 1024 * 1024
_DISK_MIB = 8


@pytest.fixture
def small_disk(settings: Settings) -> Iterator[Path]:
    """The data folder on a disk of some megabytes; containers may mount none, even in CI."""
    settings.data_dir.mkdir()
    options = f"mount -t tmpfs -o size={_DISK_MIB}m tmpfs".split()
    done = subprocess.run([*options, settings.data_dir], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no disk may be mounted here: {done.stderr.strip()}")
    yield settings.data_dir
    subprocess.run(["umount", "--lazy", str(settings.data_dir)], check=True)


def test_a_disk_that_fills_up_is_one_clear_line_and_loses_nothing(
    spark: SparkSession, small_disk: Path, stream: Settings
) -> None:
    by_batches = stream.model_copy(update={"max_events_per_batch": 3000})
    ids = [secrets.token_hex(100) for _ in range(12_000)]  # cannot be compressed
    send(stream, [message(number, event_id=id_) for number, id_ in enumerate(ids)])
    filler = small_disk / "filler"
    filler.write_bytes(bytes((_DISK_MIB - 2) * _MIB))
    with pytest.raises(ServiceError, match=r"No space left on device\. .*make space") as raised:
        ingest(spark, by_batches)
    assert "\n" not in str(raised.value)
    assert 0 < len(event_ids(spark, stream)) < len(ids)  # it came in between
    filler.unlink()
    assert ingest(spark, by_batches).accepted == len(ids)
    assert event_ids(spark, stream) == sorted(ids)


@pytest.mark.parametrize(("part", "damage"), [("offsets/0", b"rubbish"), ("metadata", b"")])
def test_a_broken_checkpoint_is_said_and_can_be_mended_as_told(
    spark: SparkSession, stream: Settings, part: str, damage: bytes
) -> None:
    send(stream, [message(number) for number in range(300)])
    ingest(spark, stream)
    (checkpoint,) = stream.data_dir.glob("checkpoints/*/*")
    (checkpoint / part).write_bytes(damage)
    for crc in checkpoint.rglob(".*.crc"):
        crc.unlink()
    send(stream, [message(number) for number in range(300, 500)])
    with pytest.raises(ServiceError, match=rf"checkpoint .*{checkpoint.name}") as raised:
        ingest(spark, stream)
    assert "\n" not in str(raised.value)
    assert len(event_ids(spark, stream)) == 300  # it did not go on from anywhere
    checkpoint.rename(stream.data_dir / "aside")  # as the message says
    assert ingest(spark, stream).accepted == 500
    assert event_ids(spark, stream) == sorted(f"e{number}" for number in range(500))


def test_a_message_of_five_megabytes_is_rejected_and_kept_whole(
    spark: SparkSession, stream: Settings
) -> None:
    bootstrap = str(stream.kafka_bootstrap)
    poison = message(0, note="x" * 5 * _MIB)[1]
    send(stream, [message(number) for number in range(50)])
    producer = KafkaProducer(bootstrap_servers=bootstrap, max_request_size=8 * _MIB)
    for key in (b"u1", b"u2", b"u3"):
        producer.send(stream.topic, key=key, value=poison).get(timeout=60)
    producer.close()
    send(stream, [message(number) for number in range(50, 100)])
    progress = ingesting.ingest(
        spark,
        stream,
        bootstrap=bootstrap,
        extent=kafka.read_extent(bootstrap, stream.topic),
        rejected_topic=ensure_rejected_topic(stream, bootstrap),
        once=True,
        stop=threading.Event(),
    )
    assert (progress.accepted, progress.rejected) == (100, 3)
    rejected = spark_events.read_rejected(spark, jobs.tables_of(stream)).collect()
    assert {(row["reason"], bytes(row["raw"])) for row in rejected} == {("too_large", poison)}
    sent = read_records(bootstrap, stream.rejected_topic)
    assert [record.value for record in sent] == [poison] * 3
