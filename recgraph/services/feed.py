"""The topic of recommendations -> lists, in order and with their place: the feed of `live`.

Everybody who opens a feed gets every list: it belongs to no group of consumers, and commits
nothing. A position says how far each partition was read, so that a reader who was away for a moment
gets from the topic what it missed.

What does not answer is asked again until it does, at whatever address the settings lead to then.
"""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from recgraph.config import Settings
from recgraph.errors import FeedGap, ServiceError
from recgraph.machine import is_listening
from recgraph.ports import NewList, News, Recommendations
from recgraph.services.embedded import find_kafka
from recgraph.services.kafka import Extent, ensure_topic, explained, read_extent

log = structlog.get_logger()

_POLL_MS = 250
_LOOK_EVERY_S = 1.0
"""After so long without a list the broker is asked whether it is there."""
_AGAIN_S = 0.5
"""A broker that does not answer is asked again after this."""
_TIMEOUT_MS = 5_000
_MAX_BEHIND = 2_000
"""Lists that are read again for one reader; who was away for longer asks the store."""
_POSITION = re.compile(r"([0-9a-f-]{36}):([0-9]{1,19}(?:\.[0-9]{1,19})*)")

_decoder = msgspec.json.Decoder(Recommendations)


class _Place(NamedTuple):
    """How far a topic was read."""

    topic_id: str
    offsets: list[int]
    """Of the next message of each partition, by the partition's number."""

    def __str__(self) -> str:
        return f"{self.topic_id}:{'.'.join(map(str, self.offsets))}"


class KafkaFeed:
    """`recgraph.ports.RecommendationFeed` over the broker of the settings.

    Parameters
    ----------
    settings
        They name the broker, which need not be up yet, and the topic, which is made if need be.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._place: _Place | None = None
        self._past_lock = threading.Lock()
        self._past: tuple[str, KafkaConsumer] | None = None

    def news(self, stop: threading.Event) -> Iterator[News]:
        """Yield lists as they come until ``stop`` is set; see `recgraph.ports`."""
        while not stop.is_set():
            try:
                bootstrap = self._bootstrap()
                with explained(bootstrap):
                    yield from self._follow(bootstrap, stop)
            except ServiceError as error:
                yield News(self._position, problem=str(error))
                stop.wait(_AGAIN_S)

    def between(self, after: str, until: str, user_id: str | None = None) -> list[NewList]:
        """Return the lists between two positions; one caller at a time is served."""
        start, end = _parse(after), _parse(until)
        if start.topic_id != end.topic_id or len(start.offsets) != len(end.offsets):
            message = "the topic of recommendations is another one since; read the store."
            raise FeedGap(message)
        n_behind = sum(max(0, b - a) for a, b in zip(start.offsets, end.offsets, strict=True))
        if n_behind > _MAX_BEHIND:
            message = f"{n_behind:,} lists were missed, at most {_MAX_BEHIND:,} are read again."
            raise FeedGap(message)
        with self._past_lock:
            found = self._read_between(start, end) if n_behind else []
        return [each for each in found if user_id in (None, each.made.user_id)]

    def close(self) -> None:
        """Give up the connection of `between`."""
        with self._past_lock:
            self._drop_past()

    # --- now ------------------------------------------------------------------------------------

    @property
    def _position(self) -> str:
        return "" if self._place is None else str(self._place)

    def _bootstrap(self) -> str:
        bootstrap = find_kafka(self._settings)
        if bootstrap is None:
            message = "the embedded Kafka broker does not run. `recgraph up` starts it."
            raise ServiceError(message)
        if not any(map(is_listening, bootstrap.split(","))):
            message = f"nobody listens at {bootstrap}. `recgraph services` shows the broker."
            raise ServiceError(message)
        return bootstrap

    def _follow(self, bootstrap: str, stop: threading.Event) -> Iterator[News]:
        """Yield what comes, from where an earlier connection was, or from now on."""
        topic = self._settings.live_topic
        ensure_topic(bootstrap, topic, n_partitions=self._settings.topic_partitions)
        place, has_gap = _go_on(self._place, read_extent(bootstrap, topic))
        self._place = place
        with _open_consumer(bootstrap) as consumer:
            _seek(consumer, {TopicPartition(topic, n): at for n, at in enumerate(place.offsets)})
            yield News(str(place), has_gap=has_gap)
            looked_at = time.monotonic()
            while not stop.is_set():
                lists = _advance(place, consumer.poll(timeout_ms=_POLL_MS))
                if not lists and time.monotonic() - looked_at < _LOOK_EVERY_S:
                    continue
                if not lists:
                    self._look(bootstrap, consumer)
                looked_at = time.monotonic()
                yield News(str(place), lists)

    def _look(self, bootstrap: str, consumer: KafkaConsumer) -> None:
        """Return when the broker answers; polling one that is away says nothing."""
        if self._bootstrap() != bootstrap:
            message = "the broker has another address now."
            raise ServiceError(message)
        consumer.end_offsets(list(consumer.assignment())[:1], timeout_ms=_TIMEOUT_MS)

    # --- before ---------------------------------------------------------------------------------

    def _read_between(self, start: _Place, end: _Place) -> list[NewList]:
        bootstrap, topic = self._bootstrap(), self._settings.live_topic
        ends = {
            TopicPartition(topic, number): last
            for number, last in enumerate(end.offsets)
            if start.offsets[number] < last
        }
        place, found = _Place(start.topic_id, list(start.offsets)), []
        deadline = time.monotonic() + _TIMEOUT_MS / 1000
        try:
            with explained(bootstrap):
                consumer = self._past_consumer(bootstrap)
                _seek(consumer, {each: place.offsets[each.partition] for each in ends})
                while any(consumer.position(each) < last for each, last in ends.items()):
                    found += _advance(place, consumer.poll(timeout_ms=_POLL_MS), end.offsets)
                    _refuse_late(deadline, bootstrap)
        except ServiceError as error:
            self._drop_past()
            if isinstance(error.__cause__, OffsetOutOfRangeError):
                message = "lists that were missed are gone from the topic; read the store."
                raise FeedGap(message) from error
            raise
        return found

    def _past_consumer(self, bootstrap: str) -> KafkaConsumer:
        """The consumer of `between`, kept: after a restart everybody comes at once."""
        if self._past is None or self._past[0] != bootstrap:
            self._drop_past()
            self._past = bootstrap, _new_consumer(bootstrap)
        return self._past[1]

    def _drop_past(self) -> None:
        if self._past is not None:
            self._past[1].close(timeout_ms=0)
            self._past = None


def _go_on(before: _Place | None, extent: Extent) -> tuple[_Place, bool]:
    """Where to begin, and whether something was missed: the topic or its end is another one."""
    ends = [extent.ends[str(number)] for number in range(len(extent.ends))]
    if before is None:
        return _Place(extent.topic_id, ends), False
    is_same = before.topic_id == extent.topic_id and len(before.offsets) == len(ends)
    starts = [extent.starts[str(number)] for number in range(len(ends))]
    if is_same and all(a <= b <= c for a, b, c in zip(starts, before.offsets, ends, strict=True)):
        return before, False
    return _Place(extent.topic_id, ends), True


def _parse(position: str) -> _Place:
    found = _POSITION.fullmatch(position)
    if found is None:
        message = f"found {position[:60]!r}, expected the id of an event of this stream."
        raise FeedGap(message)
    return _Place(found[1], [int(offset) for offset in found[2].split(".")])


def _refuse_late(deadline: float, bootstrap: str) -> None:
    if time.monotonic() > deadline:
        message = f"Kafka at {bootstrap} took too long. `recgraph services` shows the broker."
        raise ServiceError(message)


def _new_consumer(bootstrap: str) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        bootstrap_timeout_ms=_TIMEOUT_MS,
        request_timeout_ms=_TIMEOUT_MS,
        auto_offset_reset="none",  # what is gone is said, not passed over
        enable_auto_commit=False,
    )


@contextmanager
def _open_consumer(bootstrap: str) -> Iterator[KafkaConsumer]:
    consumer = _new_consumer(bootstrap)
    try:
        yield consumer
    finally:
        consumer.close(timeout_ms=0)


def _seek(consumer: KafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
    consumer.assign(list(offsets))
    for partition, offset in offsets.items():
        consumer.seek(partition, offset)


def _advance(
    place: _Place,
    records: Mapping[TopicPartition, Sequence[Any]],
    ends: Sequence[int] | None = None,
) -> list[NewList]:
    """The lists of the records before ``ends``; ``place`` comes to stand after them."""
    lists = []
    for partition, messages in records.items():
        number = partition.partition
        for message in messages:
            if ends is not None and message.offset >= ends[number]:
                break
            place.offsets[number] = message.offset + 1
            made = _parse_list(message)
            if made is not None:
                lists.append(NewList(str(place), made))
    return lists


def _parse_list(message: Any) -> Recommendations | None:
    """The list that a message carries; None, with a line in the log, where it carries none."""
    try:
        return _decoder.decode(message.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning(
            "no list", partition=message.partition, offset=message.offset, cause=str(error)[:300]
        )
        return None
