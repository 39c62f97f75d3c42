"""The topic of sales -> each buyer's list anew, in the store and on the topic of recommendations.

A batch of sales is folded into the store (`recgraph.services.fold_in`), then the lists are sent,
then the offsets are committed. Whatever ends between two steps, the sales come again, and change
nothing that they changed already: the lists are as if each had come once. A list may be sent again,
then with the same generation and revision.

Offsets belong to a generation: its group of consumers begins at the offsets that the training has
seen, so that everybody with later sales is folded in again, whoever had done so for the generation
before. A commit says in which life of the store, and of the topic, the lists were written. When the
server starts anew it may have lost some, so what was committed in an earlier life does not count.

Messages that are no sale are passed over: ingest keeps them, with the reason.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import structlog
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError, KafkaError
from threadpoolctl import threadpool_limits

from recgraph import generations
from recgraph.config import Settings
from recgraph.errors import GenerationError, ServiceError, StoreError, StoreUnavailable
from recgraph.events import Rejection, parse_event, place_id, rules_from_settings
from recgraph.live_status import LiveReporter
from recgraph.ports import Recommendations
from recgraph.services.fold_in import FoldIn, Sale
from recgraph.services.kafka import (
    Extent,
    abandon,
    ensure_topic,
    explained,
    open_topic_watch,
    read_extent,
)
from recgraph.services.lists import Live, freshness_of
from recgraph.services.mongo import POINTER_CACHE_S, MongoStore
from recgraph.services.publish import ensure_published
from recgraph.serving import Serving, open_serving

log = structlog.get_logger()

_POLL_MS = 200
_MAX_MESSAGES = 500
"""Messages of one batch: when many are waiting, a user's list is made once for all of them."""
_TIMEOUT_MS = 20_000
_AGAIN_S = 1.0
"""What does not answer is asked again after this."""
_TOPIC_LOOK_S = 5.0
"""A broker that is away, and a topic that was made anew, are noticed within so long."""
_LEFT_OUT_S = 60.0
"""A consumer that has no partition for so long asks for some again."""
_SESSION_MS = 10_000
"""A consumer that is not heard of for so long loses its partitions to the others."""

Batch = Mapping[TopicPartition, Sequence[Any]]
"""Messages as the client gives them, those of a partition in order."""
Observe = Callable[[float], None]
"""Called with each message's seconds from its time on the topic to its list in the store."""


class _Clients(NamedTuple):
    """Both ends of the broker."""

    consumer: KafkaConsumer
    producer: KafkaProducer
    topic_id: Callable[[], str]
    """The UUID of the topic of sales, asked of the broker."""


def run(
    settings: Settings,
    *,
    bootstrap: str,
    store: MongoStore,
    stop: threading.Event,
    reporter: LiveReporter,
    observe: Observe = lambda delay_s: None,
) -> None:
    """Fold sales in until ``stop`` is set.

    What does not answer is waited for, and so is the first generation to be published; the
    reporter says so.

    Raises
    ------
    GenerationError
        The first generation is not on this machine, or has nothing to fold in with. A later one
        such is waited for, too.
    """
    serving: Serving | None = None
    # The product of one user and all items waits for memory: threads would only wait, too.
    threadpool_limits(1, "blas")
    while not stop.is_set():
        try:
            life = store.life()
            serving = _current(settings, store, serving)
            extent = read_extent(bootstrap, settings.topic)
            with _open_clients(settings, bootstrap, serving.manifest.id) as clients:
                reporter.follows(serving.manifest.id)
                follower = _Follower(settings, store, serving, extent, clients, life)
                follower.follow(stop, reporter, observe)
        except (StoreError, ServiceError, GenerationError) as error:
            if serving is None and isinstance(error, GenerationError):
                raise
            reporter.waits(str(error))
            stop.wait(_AGAIN_S)


def _current(settings: Settings, store: MongoStore, known: Serving | None) -> Serving:
    """The current generation, published again if the store lost some of it."""
    try:
        ensure_published(store, settings.generations_dir, keep=settings.keep_generations)
    except StoreUnavailable:
        raise
    except StoreError as error:  # somebody else publishes at this moment, or will have to
        log.warning("the store is not whole", cause=str(error))
    current = store.current().manifest.id
    if known is not None and known.manifest.id == current:
        return known
    return open_serving(generations.resolve(settings.generations_dir, current), settings)


@contextmanager
def _open_clients(settings: Settings, bootstrap: str, generation: str) -> Iterator[_Clients]:
    """Give a consumer in the group of a generation, and a producer."""
    ensure_topic(bootstrap, settings.live_topic, n_partitions=settings.topic_partitions)
    with explained(bootstrap), open_topic_watch(bootstrap, settings.topic) as topic_id:
        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=f"recgraph-live-{settings.mongo_database}-{generation}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=_MAX_MESSAGES,
            session_timeout_ms=_SESSION_MS,
        )
        try:
            # A leader of the group that does not know the partitions yet gives them to nobody.
            consumer.partitions_for_topic(settings.topic)
            consumer.subscribe([settings.topic])
            producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
            try:
                yield _Clients(consumer, producer, topic_id)
            finally:
                _close(producer)
        finally:
            consumer.close(autocommit=False, timeout_ms=int(_AGAIN_S * 1000))


def _close(producer: KafkaProducer) -> None:
    try:
        producer.close(timeout=_AGAIN_S)
    except KafkaError:
        abandon(producer, _AGAIN_S)
        raise


class _Follower:
    """One consumer of the group of one generation, in one life of the store and of the topic."""

    def __init__(
        self,
        settings: Settings,
        store: MongoStore,
        serving: Serving,
        extent: Extent,
        clients: _Clients,
        life: str,
    ) -> None:
        self._settings = settings
        self._store = store
        self._manifest = serving.manifest
        self._extent = extent
        self._clients = clients
        self._life = life
        self._rules = rules_from_settings(settings)
        self._fold_in = FoldIn(store, serving, extent.topic_id)
        self._next: dict[TopicPartition, int] = {}
        self._looked_at = self._assigned_at = self._topic_seen_at = time.monotonic()

    def follow(self, stop: threading.Event, reporter: LiveReporter, observe: Observe) -> None:
        """Fold sales in until it is to stop, or has to begin anew.

        That is for another generation or life of the store, for a topic that was made anew, or
        after a minute without a partition: where there are more consumers than partitions that is
        as it should be, and else it helps.

        Raises
        ------
        ServiceError
            The broker, or the topic, is away.
        """
        while not stop.is_set() and self._is_current() and not self._is_left_out():
            batch = self._poll()
            if not self._is_same_topic(batch):
                log.warning("the topic was made anew", topic=self._settings.topic)
                return
            if batch:
                self._take(batch, reporter, observe)
            reached = {str(each.partition): offset for each, offset in self._next.items()}
            reporter.reached(reached)

    def _is_current(self) -> bool:
        """Whether generation and store are still those, as of a second ago at most."""
        if time.monotonic() - self._looked_at < POINTER_CACHE_S:
            return True
        self._looked_at = time.monotonic()
        is_same_store = self._store.life() == self._life
        return is_same_store and self._store.current().manifest.id == self._manifest.id

    def _is_same_topic(self, batch: Batch) -> bool:
        """Whether the topic is that of the extent, as of some seconds ago or, if need be, now.

        The client says nothing of a broker that is away, and begins a topic that was made anew
        without a word: then offsets fall back.
        """
        falls_back = any(each[0].offset < self._next[place] for place, each in batch.items())
        if not falls_back and time.monotonic() - self._topic_seen_at < _TOPIC_LOOK_S:
            return True
        is_same = self._clients.topic_id() == self._extent.topic_id
        self._topic_seen_at = time.monotonic()
        return is_same

    def _is_left_out(self) -> bool:
        """Whether this consumer has had no partition for too long."""
        if self._next:
            self._assigned_at = time.monotonic()
        return time.monotonic() - self._assigned_at > _LEFT_OUT_S

    def _poll(self) -> Batch:
        """The next messages; of a partition that is new to this consumer, from where it must."""
        batch: dict[TopicPartition, Sequence[Any]] = self._clients.consumer.poll(_POLL_MS)
        assigned = self._clients.consumer.assignment()
        for partition in assigned - self._next.keys():
            committed = self._clients.consumer.committed(
                partition, metadata=True, timeout_ms=_TIMEOUT_MS
            )
            if committed is not None and committed.metadata == self._mark:
                self._next[partition] = committed.offset
            else:
                batch.pop(partition, None)
                self._next[partition] = self._first_offset(partition)
                self._clients.consumer.seek(partition, self._next[partition])
        self._next = {each: self._next[each] for each in assigned}
        return batch

    @property
    def _mark(self) -> str:
        """What a commit says, so that none of another life counts."""
        return f"{self._life} {self._extent.topic_id}"

    def _first_offset(self, partition: TopicPartition) -> int:
        """The first message that the training has not seen, and the broker still has."""
        seen = self._manifest.seen.get(self._extent.topic_id, {})
        number = str(partition.partition)
        return max(seen.get(number, 0), self._extent.starts.get(number, 0))

    def _take(self, batch: Batch, reporter: LiveReporter, observe: Observe) -> None:
        """Fold a batch in, send the lists, commit: in this order."""
        sales, rejected = self._parsed(batch)
        lists = self._fold_in.fold(sales)
        written_at = time.time()
        self._send(lists)
        self._commit(batch)
        delays = [written_at - each.timestamp / 1000 for own in batch.values() for each in own]
        for delay_s in delays:
            observe(delay_s)
        reporter.took(len(sales), rejected, len(lists), delays[-1])

    def _parsed(self, batch: Batch) -> tuple[list[Sale], list[str]]:
        """The sales of a batch, and why the other messages are none."""
        now = datetime.now(UTC)
        sales, rejected = [], []
        for message in chain.from_iterable(batch.values()):
            event = parse_event(message.value, self._rules, now=now)
            if isinstance(event, Rejection):
                rejected.append(event.reason.value)
                continue
            place = message.partition, message.offset
            identity = event.event_id or place_id(self._extent.topic_id, *place)
            sales.append(Sale(identity, event, *place))
        return sales, rejected

    def _send(self, lists: Mapping[str, Live]) -> None:
        """Return when the broker has acknowledged every list."""
        futures = [
            self._clients.producer.send(
                self._settings.live_topic, key=user_id.encode(), value=self._message(user_id, live)
            )
            for user_id, live in lists.items()
        ]
        for future in futures:
            future.get(timeout=_TIMEOUT_MS / 1000)

    def _message(self, user_id: str, live: Live) -> bytes:
        made = freshness_of(live, self._manifest.id)
        return msgspec.json.encode(Recommendations(user_id, live.recommended, made))

    def _commit(self, batch: Batch) -> None:
        done = {each: messages[-1].offset + 1 for each, messages in batch.items()}
        self._next |= done
        offsets = {each: OffsetAndMetadata(next_, self._mark, -1) for each, next_ in done.items()}
        try:
            self._clients.consumer.commit(offsets, timeout_ms=_TIMEOUT_MS)
        except CommitFailedError as error:
            # Another one has the partitions now, and folds the same sales in to no effect.
            log.info("the partitions went to another consumer", cause=str(error))
