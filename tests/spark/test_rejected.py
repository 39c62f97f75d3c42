"""Rejected messages on their own topic: whole, in full, with the reason beside them."""

import threading
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from pyspark.sql import SparkSession

from recgraph import tables
from recgraph.cli.rejected import ensure_rejected_topic
from recgraph.config import Settings, load_settings
from recgraph.jobs import ingesting
from recgraph.services import kafka
from recgraph.spark.rejected import RejectedTopic, rejected_messages, send_rejected

pytestmark = pytest.mark.services

RUBBISH = [b"rubbish", b'{"user_id": "\xff\x00"}', b"[" * 100]


@pytest.fixture
def stream(settings: Settings, kafka_bootstrap: str, topic: str) -> Settings:
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=2)
    return load_settings(data_dir=settings.data_dir, kafka_bootstrap=kafka_bootstrap, topic=topic)


def read_records(bootstrap: str, topic: str) -> list[Any]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    n_wanted = sum(consumer.end_offsets(partitions).values())
    found: list[Any] = []
    while len(found) < n_wanted:
        found += [each for some in consumer.poll(timeout_ms=500).values() for each in some]
    consumer.close()
    return found


def test_ingest_sends_what_it_rejects(
    spark: SparkSession, stream: Settings, kafka_bootstrap: str
) -> None:
    good = b'{"user_id":"u","product_id":"p","quantity":1,"occurred_at":"2020-01-01T00:00:00Z"}'
    messages = [(b"k", raw) for raw in [*RUBBISH, good]]
    kafka.produce(kafka_bootstrap, stream.topic, messages)
    extent = kafka.read_extent(kafka_bootstrap, stream.topic)
    ingesting.ingest(
        spark,
        stream,
        bootstrap=kafka_bootstrap,
        extent=extent,
        rejected_topic=ensure_rejected_topic(stream, kafka_bootstrap),
        once=True,
        stop=threading.Event(),
    )
    records = read_records(kafka_bootstrap, f"{stream.topic}.rejected")
    assert sorted(each.value for each in records) == sorted(RUBBISH)
    (record,) = (each for each in records if each.value == b"rubbish")
    headers = {name: value.decode() for name, value in record.headers}
    assert headers["topic"] == stream.topic
    assert headers["reason"] == "not_json"
    assert headers["detail"]
    assert headers["original_length"] == "7"
    assert headers["ingested_at"].endswith("Z")
    place = (extent.topic_id, headers["partition"], headers["offset"])
    assert record.key.decode() == "/".join(place)
    in_table = {
        (each.topic_id, str(each.partition), str(each.offset)): each.raw
        for each in tables.read_newest_rejected(stream.rejected_dir, limit=10)
    }
    assert in_table[place] == b"rubbish"
    assert len(in_table) == 3


def test_what_is_larger_than_the_broker_takes_is_cut_and_says_so(
    spark: SparkSession, stream: Settings, kafka_bootstrap: str
) -> None:
    target = ensure_rejected_topic(stream, kafka_bootstrap)
    assert target is not None
    assert target.max_message_bytes == 10_485_760
    rows = [
        ("id", 0, 1, "too_large", " " * 60_000, bytearray(b"x" * 12_000_000)),
        ("id", 0, 2, "empty", "nothing", None),
    ]
    rejected = spark.createDataFrame(
        rows,
        "topic_id string, partition int, offset long, reason string, detail string, raw binary",
    ).selectExpr("*", "timestamp '2020-01-01 00:00:00' as ingested_at")
    send_rejected(rejected, target, bootstrap=kafka_bootstrap, source_topic=stream.topic)
    records = {r.key: r for r in read_records(kafka_bootstrap, stream.rejected_topic)}
    assert set(records) == {b"id/0/1", b"id/0/2"}
    large, empty = records[b"id/0/1"], records[b"id/0/2"]
    assert 10_000_000 < len(large.value) < 10_485_760
    assert dict(large.headers)["original_length"] == b"12000000"
    assert len(dict(large.headers)["detail"]) == 500
    assert empty.value is None
    assert dict(empty.headers)["original_length"] == b"0"


def test_a_tiny_limit_leaves_the_headers(spark: SparkSession) -> None:
    rejected = spark.sql(
        "select 'id' topic_id, 0 partition, 1L offset, 'not_json' reason, 'd' detail, "
        "binary('abc') raw, current_timestamp() ingested_at"
    )
    row = rejected_messages(rejected, "sales", 100).first()
    assert row is not None
    assert bytes(row["value"]) == b""


def test_settings_can_send_none(stream: Settings, kafka_bootstrap: str) -> None:
    silent = stream.model_copy(update={"send_rejected": False})
    assert ensure_rejected_topic(silent, kafka_bootstrap) is None
    assert isinstance(ensure_rejected_topic(stream, kafka_bootstrap), RejectedTopic)
