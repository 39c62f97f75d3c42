"""The topic of sale events: made, described, written to with acknowledgement."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError

from recgraph.errors import ServiceError
from recgraph.machine import is_listening

_TIMEOUT_MS = 20_000
_LINGER_MS = 20
_BATCH_BYTES = 128 * 1024
_PACE_S = 0.05
"""How often a paced replay looks at the clock, in seconds."""


class Delivery(msgspec.Struct):
    """What became of the messages that were handed to a topic."""

    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    seconds: float = 0.0
    first_error: str | None = None

    def acknowledge(self, _: object) -> None:
        """Count a message that the broker has."""
        self.acknowledged += 1

    def fail(self, error: BaseException) -> None:
        """Count a message that the broker has not."""
        self.failed += 1
        self.first_error = self.first_error or str(error)

    @property
    def rate(self) -> float:
        """Acknowledged messages a second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


class Topic(msgspec.Struct, frozen=True):
    """A topic as the broker describes it."""

    name: str
    id: str
    """Its UUID: a topic that is deleted and made anew has another."""
    n_partitions: int


class Extent(msgspec.Struct, frozen=True):
    """How far a topic goes: partition -> its first offset, and that of its next message."""

    topic_id: str
    starts: dict[str, int]
    ends: dict[str, int]


@contextmanager
def _open_admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    with explained(bootstrap):
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap,
            bootstrap_timeout_ms=_TIMEOUT_MS,
            request_timeout_ms=_TIMEOUT_MS,
        )
        try:
            yield admin
        finally:
            admin.close()


@contextmanager
def explained(bootstrap: str) -> Iterator[None]:
    """Turn the client's errors into one line that says what to do."""
    try:
        yield
    except KafkaError as error:
        message = (
            f"Kafka at {bootstrap} does not answer as it should: {error}. "
            "Check that the broker runs (`recgraph services`) and RECGRAPH_KAFKA_BOOTSTRAP."
        )
        raise ServiceError(message) from error


def ensure_topic(bootstrap: str, name: str, *, n_partitions: int) -> Topic:
    """The topic, made with so many partitions if it is not there."""
    with _open_admin(bootstrap) as admin:
        if name not in admin.list_topics():
            with suppress(TopicAlreadyExistsError):  # made by somebody else in between: as good
                admin.create_topics(
                    {name: {"num_partitions": n_partitions}}, wait_for_metadata=True
                )
    return describe_topic(bootstrap, name)


def max_message_bytes(bootstrap: str, name: str) -> int:
    """The largest message that the broker takes on a topic, in bytes."""
    setting = "max.message.bytes"
    with _open_admin(bootstrap) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, name, {setting: None})
        found = admin.describe_configs([resource], config_filter="all")
    return int(found["topic"][name][setting]["value"])


def describe_topic(bootstrap: str, name: str) -> Topic:
    """The topic.

    Raises
    ------
    ServiceError
        There is no such topic, or no broker.
    """
    with _open_admin(bootstrap) as admin:
        return _describe(admin, bootstrap, name)


@contextmanager
def open_topic_watch(bootstrap: str, name: str) -> Iterator[Callable[[], str]]:
    """Give a function that returns the topic's UUID as it is now, and raises as `describe_topic`.

    A call costs two requests on a connection that stays open.
    """
    with _open_admin(bootstrap) as admin:
        yield lambda: _describe(admin, bootstrap, name).id


def _describe(admin: KafkaAdminClient, bootstrap: str, name: str) -> Topic:
    names = sorted(each for each in admin.list_topics() if not each.startswith("_"))
    if name not in names:
        message = (
            f"there is no topic {name!r} on {bootstrap}; it has {', '.join(names) or 'none'}. "
            "`recgraph replay` makes it, or name yours in RECGRAPH_TOPIC."
        )
        raise ServiceError(message)
    found = admin.describe_topics([name])[0]
    return Topic(name, str(_as_uuid(found["topic_id"])), len(found["partitions"]))


def read_extent(bootstrap: str, name: str) -> Extent:
    """Return how far a topic goes; a broker that is away is said at once.

    Raises
    ------
    ServiceError
        There is no such topic, or no broker.
    """
    # kafka-python goes on trying where nobody listens.
    if not any(map(is_listening, bootstrap.split(","))):
        message = f"nobody listens at {bootstrap}. `recgraph services` shows the embedded broker."
        raise ServiceError(message)
    with _open_admin(bootstrap) as admin:
        found = _describe(admin, bootstrap, name)
        partitions = [TopicPartition(name, number) for number in range(found.n_partitions)]
        starts, ends = (
            admin.list_partition_offsets(dict.fromkeys(partitions, spec))
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
    return Extent(found.id, _by_partition(starts), _by_partition(ends))


def _by_partition(offsets: dict[TopicPartition, Any]) -> dict[str, int]:
    return {str(place.partition): found.offset for place, found in offsets.items()}


def _as_uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))


def produce(
    bootstrap: str,
    topic: str,
    messages: Iterable[tuple[bytes | None, bytes]],
    *,
    rate: float | None = None,
    on_sent: Callable[[Delivery], None] = lambda delivery: None,
) -> Delivery:
    """Send (key, value) pairs and wait until the broker has acknowledged or refused each.

    Parameters
    ----------
    rate
        Messages a second at most; None is as fast as the broker takes them.
    on_sent
        Called after each message, to show progress.
    """
    delivery = Delivery()
    started = time.monotonic()
    with _open_producer(bootstrap) as producer:
        for key, value in messages:
            _wait_for_turn(delivery.sent, started, rate)
            _send(producer, topic, key, value, delivery)
            on_sent(delivery)
    delivery.seconds = time.monotonic() - started
    return delivery


@contextmanager
def _open_producer(bootstrap: str) -> Iterator[KafkaProducer]:
    """Give a producer; at the end of the block each message is acknowledged or refused."""
    with explained(bootstrap):
        producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            bootstrap_timeout_ms=_TIMEOUT_MS,
            linger_ms=_LINGER_MS,
            batch_size=_BATCH_BYTES,
        )
        try:
            yield producer
        finally:
            producer.flush()
            producer.close()


def abandon(producer: KafkaProducer, timeout_s: float) -> None:
    """End a producer and fail what it still holds.

    Its own `close` waits for that, and if in vain leaves the producer open, trying on and on.
    """
    producer._sender.force_close()
    producer._sender.join(timeout_s)
    producer.close(timeout=0)


def _send(
    producer: KafkaProducer, topic: str, key: bytes | None, value: bytes, delivery: Delivery
) -> None:
    delivery.sent += 1
    try:
        future = producer.send(topic, key=key, value=value)
    except KafkaError as error:  # larger than the broker takes, or the buffer is full
        delivery.fail(error)
    else:
        future.add_callback(delivery.acknowledge).add_errback(delivery.fail)


def _wait_for_turn(n_sent: int, started: float, rate: float | None) -> None:
    """Sleep while the messages sent are ahead of the rate."""
    if rate:
        ahead = n_sent / rate - (time.monotonic() - started)
        if ahead > min(_PACE_S, 1 / rate):
            time.sleep(ahead)
