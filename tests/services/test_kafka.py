"""The topic on a real broker: made once, described, written to with a delivery report."""

import pytest
from kafka import KafkaConsumer, TopicPartition

from recgraph.errors import ServiceError
from recgraph.services import kafka

pytestmark = pytest.mark.services


def consume(bootstrap: str, topic: str) -> list[tuple[bytes, bytes]]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    wanted = sum(consumer.end_offsets(partitions).values())
    found: list[tuple[bytes, bytes]] = []
    while len(found) < wanted:
        for records in consumer.poll(timeout_ms=500).values():
            found += [(record.key, record.value) for record in records]
    consumer.close()
    return found


def test_ensure_topic_makes_it_once(kafka_bootstrap: str, topic: str) -> None:
    made = kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=3)
    assert (made.name, made.n_partitions) == (topic, 3)
    assert kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=9) == made


def test_produce_reports_what_was_acknowledged(kafka_bootstrap: str, topic: str) -> None:
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=2)
    messages = [(f"user {number % 7}".encode(), str(number).encode()) for number in range(500)]
    delivery = kafka.produce(kafka_bootstrap, topic, messages)
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (500, 500, 0)
    assert sorted(consume(kafka_bootstrap, topic)) == sorted(messages)


def test_produce_counts_what_is_too_large_and_goes_on(kafka_bootstrap: str, topic: str) -> None:
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=1)
    messages = [(b"u", b"small"), (b"u", b"x" * 3_000_000), (b"u", b"small too")]
    delivery = kafka.produce(kafka_bootstrap, topic, messages)
    assert (delivery.sent, delivery.acknowledged, delivery.failed) == (3, 2, 1)
    assert "3000" in (delivery.first_error or "")


def test_produce_keeps_to_the_rate(kafka_bootstrap: str, topic: str) -> None:
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=1)
    delivery = kafka.produce(kafka_bootstrap, topic, [(b"u", b"x")] * 30, rate=30)
    assert 0.9 < delivery.seconds < 5


def test_describe_topic_that_is_not_there_names_those_that_are(
    kafka_bootstrap: str, topic: str
) -> None:
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=1)
    with pytest.raises(ServiceError, match=rf"no topic 'nowhere' on .*{topic}"):
        kafka.describe_topic(kafka_bootstrap, "nowhere")


def test_no_broker_is_one_clear_line(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_TIMEOUT_MS", 1500)
    with pytest.raises(ServiceError, match=r"Kafka at 127.0.0.1:9 does not answer") as raised:
        kafka.describe_topic("127.0.0.1:9", topic)
    assert "\n" not in str(raised.value)
