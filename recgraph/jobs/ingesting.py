"""The job of ingest: topic -> event table and table of rejected messages, batch by batch."""

import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from recgraph.checkpoint import read_partitions, require_readable
from recgraph.claims import only_one
from recgraph.config import Settings
from recgraph.errors import ServiceError
from recgraph.events import Rules, rules_from_settings
from recgraph.jobs import tables_of
from recgraph.ports import Progress
from recgraph.services import kafka
from recgraph.spark import events as spark_events
from recgraph.spark.events import BatchCounts
from recgraph.spark.rejected import RejectedTopic, send_rejected
from recgraph.tables import (
    BatchName,
    Tables,
    add_files,
    compact,
    count_rejected,
    count_rows,
    create_tables,
    has_batch,
    last_occurred_at,
)
from recgraph.whole import write_whole
from recgraph.writing import Written

log = structlog.get_logger()

OnProgress = Callable[[BatchCounts, Progress], None]
OnPoll = Callable[[Progress, dict[str, int]], None]
Send = Callable[[DataFrame], None]

_APP_ID = "recgraph-app-id"
_EARLIEST = -2
"""How Spark spells the first offset that a partition still has."""
_LARGE_FETCHES = {
    "kafka.max.poll.records": "5000",
    "kafka.max.partition.fetch.bytes": str(4 * 1024 * 1024),
    "kafka.receive.buffer.bytes": str(1024 * 1024),
}
"""Kafka's defaults are for few messages at a time; with these a message costs half as much."""
_MADE_ANEW = "the topic was deleted and made anew; the next start reads it from its beginning"
_CAUSE = re.compile(r"^(?:Caused by: )?([\w.$]+(?:Error|Exception): .+)$", re.MULTILINE)
_POLL_S = 0.5
_COUNT_EVERY_S = 10.0
"""Between two counts of the tables, at least."""
_COUNT_SHARE = 50
"""Counting large tables of rejected messages takes its time: at most one part in so many."""
_FINISH_S = 8.0
"""A batch that takes longer than this to end when it should stop is broken off."""


def only_ingest(settings: Settings) -> AbstractContextManager[None]:
    """Hold the right to write the event tables of this data folder; `recgraph.claims.only_one`."""
    taken = (
        f"another ingest writes the event tables in {settings.data_dir} already; one is enough. "
        "Let it go on, or end it first."
    )
    return only_one(settings.data_dir / "checkpoints" / "lock", taken)


def ingest(
    spark: SparkSession,
    settings: Settings,
    *,
    bootstrap: str,
    extent: kafka.Extent,
    rejected_topic: RejectedTopic | None = None,
    once: bool,
    stop: threading.Event,
    on_progress: OnProgress = lambda batch, progress: None,
    on_poll: OnPoll = lambda progress, next_offsets: None,
) -> Progress:
    """Move the messages of the topic into the event tables; say how far that has come.

    Parameters
    ----------
    bootstrap, extent
        The broker, and how far ``settings.topic`` goes there.
    rejected_topic
        Where rejected messages are sent besides their table; None sends none.
    once
        End when all that is there is in; else go on until ``stop`` is set.
    on_progress
        Called after each batch, on a thread of the stream.
    on_poll
        Called twice a second and at the end, with how far ingest has come and, once that is known,
        with partition -> next offset.

    Raises
    ------
    ServiceError
        The stream broke; what was read stays, and the next start goes on from there.
    """
    tables = tables_of(settings)
    create_tables(tables)
    topic_id, tally = extent.topic_id, _Tally(tables)
    checkpoint = settings.data_dir / "checkpoints" / settings.topic / topic_id

    with (
        only_ingest(settings),
        kafka.open_topic_watch(bootstrap, settings.topic) as topic_id_now,
        _explained(lambda: topic_id_now() != topic_id),
    ):
        require_readable(checkpoint)
        known = _say_if_grown(read_partitions(checkpoint), extent.ends)
        offsets = _starting_offsets(spark, tables, checkpoint, extent.ends)
        rules, app_id = rules_from_settings(settings), _app_id(checkpoint)
        send = _sender(rejected_topic, bootstrap, settings.topic)
        intake = _Intake(spark, tables, rules, topic_id, topic_id_now, app_id, send)

        def handle(messages: DataFrame, batch_id: int) -> None:
            started = time.monotonic()
            written = intake.take(messages, batch_id)
            batch = BatchCounts.of(batch_id, written, time.monotonic() - started)
            if (batch_id + 1) % settings.compact_every_batches == 0:
                for path in tables:
                    compact(path)
            on_progress(batch, tally.add(batch))

        query = spark_events.start_query(
            _read_topic(spark, settings, bootstrap, offsets),
            handle,
            checkpoint=checkpoint,
            once=once,
            seconds=settings.batch_seconds,
        )
        is_over = False
        while not is_over:
            is_over = bool(query.awaitTermination(_POLL_S))  # type: ignore[arg-type]
            reached = _next_offsets(query)
            known = _say_if_grown(known, reached)
            on_poll(tally.progress, reached)
            if stop.is_set() and not is_over:
                _stop_after_batch(query)
    return tally.progress


class _Intake(NamedTuple):
    """Takes the batches of one topic into the tables."""

    spark: SparkSession
    tables: Tables
    rules: Rules
    topic_id: str
    topic_id_now: Callable[[], str | None]
    app_id: str
    send: Send

    def take(self, messages: DataFrame, batch_id: int) -> Written:
        """Take in a batch, once however often it is run; say what was written.

        Rejected messages go first: a batch counts as seen when its events are in, so a crash
        before that can repeat rejected messages (`read_rejected` drops those) but lose none.
        """
        name = BatchName(self.app_id, batch_id)
        if has_batch(self.tables.events, name):
            return Written()
        written = spark_events.write_messages(messages, self.rules, self.topic_id, self.tables)
        if self.topic_id_now() != self.topic_id:  # the messages may be another topic's
            raise ServiceError(_MADE_ANEW)
        if written.rejected:
            add_files(self.tables.rejected, written.rejected, name)
            self.send(spark_events.read_rejected_files(self.spark, self.tables, written.rejected))
        add_files(self.tables.events, written.events, name)
        return written


class _Tally:
    """How far ingest has come: batches are added up, and now and then the tables are counted.

    They are counted after the first batch, which may be one that is run again, and from time to
    time, for `recgraph import` fills them, too.
    """

    def __init__(self, tables: Tables) -> None:
        self.progress = read_progress(tables)
        self._tables = tables
        self._count_at_s = 0.0

    def add(self, batch: BatchCounts) -> Progress:
        """Return the progress after a batch."""
        started = time.monotonic()
        if started < self._count_at_s:
            accepted = self.progress.accepted + batch.accepted
            rejected = self.progress.rejected + batch.n_rejected
        else:
            accepted, rejected = _count_tables(self._tables)
            taken = time.monotonic() - started
            self._count_at_s = started + max(_COUNT_EVERY_S, _COUNT_SHARE * taken)
        self.progress = _advance(self.progress, batch, accepted, rejected)
        return self.progress


def _sender(target: RejectedTopic | None, bootstrap: str, source_topic: str) -> Send:
    """What sends rejected messages to their topic, if there is one."""
    if target is None:
        return lambda rejected: None
    return partial(send_rejected, target=target, bootstrap=bootstrap, source_topic=source_topic)


def _next_offsets(query: StreamingQuery) -> dict[str, int]:
    """Partition -> next offset after the last batch that is in; empty before the first."""
    last = query.lastProgress
    end = json.loads(last.sources[0].json)["endOffset"] if last else None
    return {} if end is None else next(iter(end.values()))


def _stop_after_batch(query: StreamingQuery) -> None:
    """Stop the stream when its batch has ended; one that takes long is broken off.

    Such a batch is run again by the next start, and counts once.
    """
    batch, deadline = _last_batch(query), time.monotonic() + _FINISH_S
    while query.status["isTriggerActive"] and _last_batch(query) == batch:
        if time.monotonic() > deadline:
            log.warning("breaking off a batch that takes long; it is run again at the next start")
            break
        time.sleep(0.05)
    query.stop()


def _last_batch(query: StreamingQuery) -> int | None:
    last = query.lastProgress
    return last.batchId if last else None


@contextmanager
def _explained(is_made_anew: Callable[[], bool]) -> Iterator[None]:
    """Turn a broken stream into one line that says what to do."""
    try:
        yield
    except StreamingQueryException as error:
        cause = _innermost_cause(str(error))
        if "failOnDataLoss" in str(error) and is_made_anew():
            cause = _MADE_ANEW
        advice = "Nothing is lost; start it again to go on."
        if "No space left" in cause:
            advice = "Nothing is lost; make space, then start it again to go on."
        elif "failOnDataLoss" in str(error) and cause != _MADE_ANEW:
            advice = (
                "The broker no longer has messages that were not read yet. To go on with those it "
                "has, set RECGRAPH_ACCEPT_LOSS=true for one start."
            )
        message = f"ingest stopped: {cause.rstrip('.')}. {advice}"
        raise ServiceError(message) from error


def _innermost_cause(text: str) -> str:
    """The line of a trace that says what happened; all others say where."""
    causes = _CAUSE.findall(text)
    return causes[-1] if causes else text.splitlines()[0]


def _read_topic(spark: SparkSession, settings: Settings, bootstrap: str, offsets: str) -> DataFrame:
    """The stream of raw messages."""
    options = {
        "kafka.bootstrap.servers": bootstrap,
        "subscribe": settings.topic,
        "startingOffsets": offsets,
        "failOnDataLoss": str(not settings.accept_loss).lower(),
        "maxOffsetsPerTrigger": str(settings.max_events_per_batch),
        **_LARGE_FETCHES,
    }
    return spark.readStream.format("kafka").options(**options).load()


def _say_if_made_anew(checkpoint: Path) -> None:
    """Warn where an earlier topic of this name was read: this one is read from its beginning.

    Its events cannot be taken for those of the earlier one, for their identity holds the UUID.
    """
    earlier = sorted(path.name for path in checkpoint.parent.glob("*"))
    if earlier and not checkpoint.exists():
        log.warning("the topic was deleted and made anew; reading it from its start", was=earlier)


def _say_if_grown(known: frozenset[str], found: Iterable[str]) -> frozenset[str]:
    """Warn of partitions that were not there before; return all that are known now."""
    added = frozenset(found) - known
    if known and added:
        log.warning(
            "the topic has more partitions than before; reading them from their start",
            partitions=sorted(added, key=int),
        )
    return known | added


def _starting_offsets(
    spark: SparkSession, tables: Tables, checkpoint: Path, partitions: Iterable[str]
) -> str:
    """Where a stream without a checkpoint begins: behind what the event table has of the topic.

    With a checkpoint Spark ignores it.
    """
    _say_if_made_anew(checkpoint)
    topic, topic_id = checkpoint.parent.name, checkpoint.name
    if _is_begun(checkpoint):
        return "earliest"
    seen = spark_events.seen_offsets(spark_events.read_events(spark, tables)).get(topic_id)
    if seen is None:
        return "earliest"
    log.warning("checkpoint is gone; going on from the offsets in the event table", offsets=seen)
    return orjson.dumps({topic: dict.fromkeys(partitions, _EARLIEST) | seen}).decode()


def _is_begun(checkpoint: Path) -> bool:
    """Whether Spark has planned a batch under this checkpoint."""
    return any((checkpoint / "offsets").glob("[0-9]*"))


def _app_id(checkpoint: Path) -> str:
    """The id that the numbers of this checkpoint's batches belong to.

    It lives and dies with the batches: were they numbered anew under an old id, Delta would take
    them for batches that it has.
    """
    path = checkpoint / _APP_ID
    if not (path.exists() and _is_begun(checkpoint)):
        write_whole(path, secrets.token_hex(8).encode())
    return path.read_text()


def read_progress(tables: Tables) -> Progress:
    """How far ingest has come; copies of an event count as often as they are there."""
    last = last_occurred_at(tables.events)
    return Progress(*_count_tables(tables), last, updated_at=datetime.now(UTC))


def _count_tables(tables: Tables) -> tuple[int, int]:
    """How many events and rejected messages the tables have."""
    return count_rows(tables.events), sum(count_rejected(tables.rejected).values())


def _advance(progress: Progress, batch: BatchCounts, n_accepted: int, n_rejected: int) -> Progress:
    """The progress after a batch; when the last event occurred is carried along, not read."""
    times = [time for time in (progress.last_occurred_at, batch.last_occurred_at) if time]
    return Progress(n_accepted, n_rejected, max(times, default=None), datetime.now(UTC))
