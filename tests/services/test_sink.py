"""The sink on a real broker: the contract, and a broker that is killed, frozen or not there."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count

import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

from recgraph.config import Settings
from recgraph.errors import SinkUnavailable
from recgraph.events import Reason, Rejection, SaleEvent, parse_event, rules_from_settings
from recgraph.ports import Accepted, EventSink, Unconfirmed
from recgraph.services import kafka, processes
from recgraph.services.embedded import ensure_kafka, kafka_service, stop_all
from recgraph.services.sink import KafkaEventSink, open_sink
from tests.conftest import java_problem, requires
from tests.contracts.sink import Delivered, EventSinkContract, message

pytestmark = pytest.mark.services

RULES = rules_from_settings(Settings())


def read_topic(bootstrap: str, topic: str) -> list[tuple[int, int, bytes]]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    found: list[tuple[int, int, bytes]] = []
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for records in consumer.poll(timeout_ms=500).values():
            found += [(record.partition, record.offset, record.value) for record in records]
    consumer.close()
    return found


class TestKafkaEventSink(EventSinkContract):
    @pytest.fixture
    def sink(self, kafka_bootstrap: str, topic: str) -> Iterator[KafkaEventSink]:
        kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=2)
        with open_sink(kafka_bootstrap, topic, RULES) as sink:
            yield sink

    @pytest.fixture
    def delivered(self, kafka_bootstrap: str, topic: str) -> Delivered:
        return lambda: read_topic(kafka_bootstrap, topic)


def test_a_message_larger_than_the_broker_takes_is_rejected_alone(
    kafka_bootstrap: str, topic: str
) -> None:
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=1)
    rules = rules_from_settings(Settings(max_message_bytes=10_000_000))
    with open_sink(kafka_bootstrap, topic, rules) as sink:
        large, small = sink.send([message(note="x" * 2_000_000), message()])
    assert isinstance(large, Rejection)
    assert large.reason == Reason.TOO_LARGE
    assert isinstance(small, Accepted)


def test_what_is_accepted_is_what_the_rules_of_the_reader_take(
    kafka_bootstrap: str, topic: str
) -> None:
    kafka.ensure_topic(kafka_bootstrap, topic, n_partitions=1)
    settings = Settings(
        field_event_id="meta.id", field_user_id="who", field_occurred_at="at", time_unit="ms"
    )
    rules = rules_from_settings(settings)
    event = SaleEvent("u", "p", 2.0, datetime(2020, 1, 1, tzinfo=UTC), "e")
    foreign = b'{"meta": 5, "who": "v", "product_id": "p", "quantity": 1, "at": 1577836800000}'
    with open_sink(kafka_bootstrap, topic, rules) as sink:
        first, second = sink.send([event, foreign])
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    parsed = [
        parse_event(value, rules, now=event.occurred_at)
        for *_, value in read_topic(kafka_bootstrap, topic)
    ]
    assert parsed[0] == event
    assert isinstance(parsed[1], SaleEvent)
    assert parsed[1].event_id == second.event_id


def test_nobody_there_and_no_topic_are_errors_within_the_timeout(
    kafka_bootstrap: str, topic: str
) -> None:
    for bootstrap in ("127.0.0.1:9", kafka_bootstrap):
        started = time.monotonic()
        with (
            open_sink(bootstrap, topic, RULES, timeout_s=2) as sink,
            pytest.raises(SinkUnavailable, match=topic) as raised,
        ):
            sink.send([b"rubbish", message(), message(event_id="e2")])
        assert time.monotonic() - started < 4
        assert [type(each) for each in raised.value.outcomes] == [
            Rejection,
            Unconfirmed,
            Unconfirmed,
        ]
        assert raised.value.retry_after_s > 0
        assert "\n" not in str(raised.value)


@pytest.fixture
def own(settings: Settings) -> Iterator[Settings]:
    """Settings of a broker that this test alone starts and kills."""
    requires(java_problem() is None, java_problem() or "")
    yield settings
    stop_all(settings)


def broker_of(own: Settings) -> psutil.Process:
    process = processes.running(kafka_service(own))
    assert process is not None
    return process


def send_until_it_fails(sink: EventSink) -> tuple[list[str], list[str]]:
    """Ids that were acknowledged, and those that were not when the broker failed."""
    acknowledged: list[str] = []
    for number in count():
        batch = [message(event_id=f"{number}-{n}", user_id=f"u{n}") for n in range(20)]
        try:
            outcomes: list[object] = [*sink.send(batch)]
        except SinkUnavailable as error:
            outcomes = [*error.outcomes]
        acknowledged += [each.event_id for each in outcomes if isinstance(each, Accepted)]
        unconfirmed = [each.event_id for each in outcomes if isinstance(each, Unconfirmed)]
        if unconfirmed:
            return acknowledged, unconfirmed
    raise AssertionError


def test_killed_broker_is_an_error_in_time_and_loses_nothing_acknowledged(own: Settings) -> None:
    bootstrap = ensure_kafka(own)
    kafka.ensure_topic(bootstrap, "sales", n_partitions=2)
    with open_sink(bootstrap, "sales", RULES, timeout_s=3) as sink:
        with ThreadPoolExecutor() as threads:
            sending = threads.submit(send_until_it_fails, sink)
            time.sleep(1.5)
            broker = broker_of(own)
            broker.kill()
            broker.wait()
            killed_at = time.monotonic()
            acknowledged, unconfirmed = sending.result()
        assert time.monotonic() - killed_at < 6
        assert len(acknowledged) > 100
        again = [message(event_id=each) for each in unconfirmed]
        with pytest.raises(SinkUnavailable):  # still away: no false yes
            sink.send(again)

        assert ensure_kafka(own) == bootstrap
        answers = sink.send(again)
        assert [each.event_id for each in answers if isinstance(each, Accepted)] == unconfirmed
    found = Counter(
        event.event_id
        for _, _, value in read_topic(bootstrap, "sales")
        if isinstance(event := parse_event(value, RULES, now=datetime.now(UTC)), SaleEvent)
    )
    assert all(found[each] == 1 for each in acknowledged)
    assert all(found[each] >= 1 for each in unconfirmed)
    assert len(found) == len(acknowledged) + len(unconfirmed)


def test_full_buffer_is_an_error_at_once_and_a_frozen_broker_one_in_time(own: Settings) -> None:
    bootstrap = ensure_kafka(own)
    kafka.ensure_topic(bootstrap, "sales", n_partitions=1)
    sink = KafkaEventSink(bootstrap, "sales", RULES, timeout_s=6, max_pending=10)
    (first,) = sink.send([message()])
    assert isinstance(first, Accepted)
    broker = broker_of(own)
    broker.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(sink.send, [message(event_id=f"w{n}") for n in range(10)])
            while sink.n_pending < 10:
                time.sleep(0.01)
            with pytest.raises(SinkUnavailable, match="too many events wait") as raised:
                sink.send([message(event_id="one more")])
            assert not waiting.done()
            assert raised.value.outcomes == [Unconfirmed("one more")]
            with pytest.raises(SinkUnavailable) as raised:
                waiting.result()
        assert time.monotonic() - started < 8
        assert raised.value.outcomes == [Unconfirmed(f"w{n}") for n in range(10)]
    finally:
        broker.send_signal(signal.SIGCONT)
    (later,) = sink.send([message(event_id="later")])
    assert isinstance(later, Accepted)
    sink.close()
