"""Sale events from a door -> the topic, each validated and acknowledged: the `EventSink` of Kafka.

An answer comes within a bounded time, and "accepted" is only said of an event that the broker has.
What it may have or not is reported with the event's id, under which it can be sent again and
counts once.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TypeAlias

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.producer.future import FutureRecordMetadata

from recgraph.errors import SinkUnavailable
from recgraph.events import Reason, Rejection, Rules, SaleEvent
from recgraph.machine import is_listening
from recgraph.messages import Identified, identify, message_from_event
from recgraph.ports import Accepted, Outcome, Unconfirmed
from recgraph.services.kafka import abandon

_RETRY_AFTER_S = 2.0
"""Broker and buffer are asked again after this; a killed broker takes some seconds to be back."""
_RECONNECT_MS = 1000
"""Longest pause between two attempts to reach a broker that is away."""
_NOBODY = "nobody answers there"
_FULL = KafkaTimeoutError("too many events wait for it already")

_Started: TypeAlias = FutureRecordMetadata | Rejection | KafkaError


class KafkaEventSink:
    """An `EventSink` that writes to one topic, which must be there; threads may share it.

    Parameters
    ----------
    bootstrap, topic
        The broker, which need not be up yet, and the topic.
    rules
        What a message must be; those of whoever reads the topic.
    timeout_s
        Longest time that one `send` takes.
    max_pending
        Events of all threads that may wait for acknowledgement; further ones are turned away.
        One `send` of more than that is taken while nothing else waits.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        rules: Rules,
        *,
        timeout_s: float = 10.0,
        max_pending: int = 10_000,
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._rules = rules
        self._timeout_s = timeout_s
        self._max_pending = max_pending
        self._pending = 0
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._producer: KafkaProducer | None = None

    def send(self, messages: Iterable[bytes | SaleEvent]) -> list[Accepted | Rejection]:
        """Return what happened to each message, in order; see `recgraph.ports.EventSink`."""
        deadline = time.monotonic() + self._timeout_s
        now = datetime.now(UTC)
        checked = [self._check(message, now) for message in messages]
        events = [each for each in checked if isinstance(each, Identified)]
        delivered = iter(self._deliver(events, deadline) if events else [])
        outcomes = [next(delivered) if isinstance(each, Identified) else each for each in checked]
        settled = [each for each in outcomes if not isinstance(each, KafkaError)]
        if len(settled) == len(outcomes):
            return settled
        raise self._unavailable(checked, outcomes)

    @property
    def n_pending(self) -> int:
        """Events of all threads that wait for acknowledgement now."""
        return self._pending

    def close(self) -> None:
        """Give up the connection; whoever still waits in `send` is told so."""
        if self._producer is not None:
            self._abandon(self._producer)

    def _check(self, message: bytes | SaleEvent, now: datetime) -> Identified | Rejection:
        try:
            if isinstance(message, SaleEvent):
                message = message_from_event(message, self._rules)
        except UnicodeEncodeError as error:  # a lone surrogate, which no message can carry
            return Rejection(Reason.NOT_JSON, str(error)[:300])
        return identify(message, self._rules, now=now, spare_id=str(uuid.uuid4()))

    @contextmanager
    def _room(self, n_events: int) -> Iterator[bool]:
        """Say whether so many events more may wait for the broker, and count them as waiting."""
        with self._lock:
            has_room = not self._pending or self._pending + n_events <= self._max_pending
            self._pending += n_events * has_room
        try:
            yield has_room
        finally:
            with self._lock:
                self._pending -= n_events * has_room

    def _deliver(
        self, events: Sequence[Identified], deadline: float
    ) -> list[Accepted | Rejection | KafkaError]:
        """Return what became of each event, at the deadline at the latest."""
        with self._room(len(events)) as has_room:
            if not has_room:
                return [_FULL] * len(events)
            try:
                producer = self._open_producer(deadline)
            except KafkaError as error:
                return [error] * len(events)
            started = list(_start_all(producer, self._topic, events))
            settled = [_settle(*each, deadline) for each in zip(events, started, strict=True)]
        if any(isinstance(each, KafkaError) for each in settled):
            # kafka-python 3.0 keeps a partition muted for good when a batch expires that was on
            # its way, so that nothing could be sent when the broker is back.
            threading.Thread(target=self._abandon, args=[producer], daemon=True).start()
        return settled

    def _open_producer(self, deadline: float) -> KafkaProducer:
        """Return the producer, made when the first event comes: the broker may be late."""
        producer = self._producer
        if producer is not None:
            return producer
        if not self._opening.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise KafkaTimeoutError(_NOBODY)
        try:
            producer = self._producer or self._make_producer()
            self._producer = producer
        finally:
            self._opening.release()
        return producer

    def _abandon(self, producer: KafkaProducer) -> None:
        """End a producer and fail what it still holds, which its `close` would wait for in vain."""
        with self._opening:
            is_current = self._producer is producer
            if not is_current:  # another thread has done it
                return
            self._producer = None
        abandon(producer, self._timeout_s)

    def _make_producer(self) -> KafkaProducer:
        # kafka-python goes on trying where nobody listens, and leaves its sockets open.
        if not any(map(is_listening, self._bootstrap.split(","))):
            raise KafkaTimeoutError(_NOBODY)
        # Waiting for the broker and then for its acknowledgement: together the whole time.
        half_ms = int(self._timeout_s * 500)
        return KafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            bootstrap_timeout_ms=half_ms,
            max_block_ms=half_ms,
            request_timeout_ms=half_ms,
            delivery_timeout_ms=half_ms,
            reconnect_backoff_max_ms=_RECONNECT_MS,
        )

    def _unavailable(
        self,
        checked: Sequence[Identified | Rejection],
        outcomes: Sequence[Accepted | Rejection | KafkaError],
    ) -> SinkUnavailable:
        errors = [each for each in outcomes if isinstance(each, KafkaError)]
        message = (
            f"{len(errors)} of {len(outcomes)} events were not acknowledged by Kafka at "
            f"{self._bootstrap}, topic {self._topic}: {errors[0]}. Send them again, under the ids "
            f"they were given, in {_RETRY_AFTER_S:g} s; `recgraph services` shows the broker."
        )
        known: list[Outcome] = [
            Unconfirmed(each.event_id)
            if isinstance(each, Identified) and isinstance(outcome, KafkaError)
            else outcome
            for each, outcome in zip(checked, outcomes, strict=True)
        ]
        return SinkUnavailable(message, known, _RETRY_AFTER_S)


def _start_all(
    producer: KafkaProducer, topic: str, events: Sequence[Identified]
) -> Iterator[_Started]:
    """Hand the events over; after a failure the others fail at once with it, not each in time."""
    failure: KafkaError | None = None
    for event in events:
        if failure is not None:
            yield failure
            continue
        try:
            yield producer.send(topic, key=event.user_id.encode(), value=event.raw)
        except MessageSizeTooLargeError as error:
            yield _too_large(error)
        except KafkaError as error:
            failure = error
            yield error


def _settle(
    event: Identified, started: _Started, deadline: float
) -> Accepted | Rejection | KafkaError:
    if isinstance(started, Rejection | KafkaError):
        return started
    try:
        sent = started.get(timeout=max(0.0, deadline - time.monotonic()))
    except MessageSizeTooLargeError as error:
        return _too_large(error)
    except KafkaError as error:
        return error
    return Accepted(event.event_id, sent.partition, sent.offset)


def _too_large(error: MessageSizeTooLargeError) -> Rejection:
    return Rejection(Reason.TOO_LARGE, f"the broker does not take it: {error}")


@contextmanager
def open_sink(
    bootstrap: str, topic: str, rules: Rules, *, timeout_s: float = 10.0
) -> Iterator[KafkaEventSink]:
    """Give a sink on a topic; its connection is closed at the end of the block."""
    with closing(KafkaEventSink(bootstrap, topic, rules, timeout_s=timeout_s)) as sink:
        yield sink
