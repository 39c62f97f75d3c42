"""The topic -> the Delta tables of events and of rejected messages, each message exactly once.

Logic first, the job last. ``foreachBatch`` may run a batch again after a crash; both writes carry
the batch's number and the id of the checkpoint, and Delta drops the second copy of such a write.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from delta.tables import DeltaTable
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from recgraph.columns import Columns as C
from recgraph.events import Rejection, Rules, SaleEvent, parse_events, place_id

EVENT_SCHEMA = pa.schema(
    [
        (C.EVENT_ID, pa.string()),
        (C.USER_ID, pa.string()),
        (C.PRODUCT_ID, pa.string()),
        (C.QUANTITY, pa.float64()),
        (C.RATING, pa.float64()),
        (C.KIND, pa.string()),
        (C.OCCURRED_AT, pa.timestamp("us", "UTC")),
    ]
)
PLACE_SCHEMA = pa.schema(
    [
        (C.TOPIC_ID, pa.string()),
        (C.PARTITION, pa.int32()),
        (C.OFFSET, pa.int64()),
        (C.INGESTED_AT, pa.timestamp("us", "UTC")),
    ]
)
REJECTION_SCHEMA = pa.schema(
    [(C.REASON, pa.string()), (C.DETAIL, pa.string()), (C.RAW, pa.binary())]
)
_PLACES = (C.PARTITION, C.OFFSET, C.INGESTED_AT)
_PARSED = pa.schema(
    [*EVENT_SCHEMA, *(PLACE_SCHEMA.field(name) for name in _PLACES), *REJECTION_SCHEMA]
)
_PARSED_DDL = (
    "event_id string, user_id string, product_id string, quantity double, rating double, "
    "kind string, occurred_at timestamp, partition int, offset long, ingested_at timestamp, "
    "reason string, detail string, raw binary"
)
_EVENT_COLUMNS = [*EVENT_SCHEMA.names, *PLACE_SCHEMA.names]
_REJECTED_COLUMNS = [*PLACE_SCHEMA.names, *REJECTION_SCHEMA.names]


class Tables(NamedTuple):
    """Where the two Delta tables are."""

    events: Path
    rejected: Path


class BatchCounts(msgspec.Struct, frozen=True):
    """What one batch held."""

    batch_id: int
    accepted: int
    rejected: dict[str, int]
    """Reason -> messages."""
    last_occurred_at: datetime | None
    seconds: float
    """What parsing and writing took."""

    @property
    def n_rejected(self) -> int:
        """Messages rejected for whatever reason."""
        return sum(self.rejected.values())


def parse_messages(messages: DataFrame, rules: Rules, topic_id: str) -> DataFrame:
    """The messages as events or, where ``reason`` is not null, as rejections.

    Parameters
    ----------
    messages
        value, partition, offset, as Spark's Kafka source gives them.
    topic_id
        UUID of their topic, so that a topic made anew repeats no event identity.
    """
    parse = partial(_parse_batches, rules=rules, topic_id=topic_id)
    parsed = messages.select("value", C.PARTITION, C.OFFSET).mapInArrow(parse, _PARSED_DDL)
    # The time is no literal: it would stand in the code that Spark makes of the plan, and each
    # batch would be compiled, and warm up, anew.
    return parsed.withColumn(C.TOPIC_ID, F.lit(topic_id))


def _parse_batches(
    batches: Iterable[pa.RecordBatch], *, rules: Rules, topic_id: str
) -> Iterator[pa.RecordBatch]:
    """Of each batch its events, and after them what was rejected of it."""
    for messages in batches:
        now = datetime.now(UTC)
        ingested_at = pa.repeat(pa.scalar(now, _PARSED.field(C.INGESTED_AT).type), len(messages))
        batch = messages.append_column(C.INGESTED_AT, ingested_at)
        parsed = parse_events(batch.column("value").to_pylist(), rules, now=now)
        events = [each for each in parsed if isinstance(each, SaleEvent)]
        if len(events) == len(parsed):  # nothing to part, nothing to copy
            yield _event_batch(events, batch, topic_id)
        else:
            rejections = [each for each in parsed if isinstance(each, Rejection)]
            is_event = pa.array([isinstance(each, SaleEvent) for each in parsed])
            yield _event_batch(events, batch.filter(is_event), topic_id)
            yield _rejection_batch(rejections, batch.filter(pc.invert(is_event)))


def _event_batch(
    events: Sequence[SaleEvent], messages: pa.RecordBatch, topic_id: str
) -> pa.RecordBatch:
    columns = {name: list(map(attrgetter(name), events)) for name in EVENT_SCHEMA.names}
    if None in columns[C.EVENT_ID]:
        columns[C.EVENT_ID] = _ids_with_places(columns[C.EVENT_ID], messages, topic_id)
    return _parsed_batch(columns, messages)


def _ids_with_places(
    ids: Iterable[str | None], messages: pa.RecordBatch, topic_id: str
) -> list[str]:
    """The ids of events; where one has none, its place is its id."""
    columns = [messages.column(name).to_pylist() for name in (C.PARTITION, C.OFFSET)]
    rows = zip(ids, *columns, strict=True)
    return [id_ or place_id(topic_id, partition, offset) for id_, partition, offset in rows]


def _rejection_batch(rejections: Sequence[Rejection], messages: pa.RecordBatch) -> pa.RecordBatch:
    columns = {
        C.REASON: [each.reason.value for each in rejections],
        C.DETAIL: [each.detail for each in rejections],
        C.RAW: messages.column("value"),
    }
    return _parsed_batch(columns, messages)


def _parsed_batch(
    columns: Mapping[str, Sequence[Any] | pa.Array], messages: pa.RecordBatch
) -> pa.RecordBatch:
    """The columns and the places of the messages; what is not among them is null."""
    arrays = {name: messages.column(name) for name in _PLACES}
    for name, values in columns.items():
        arrays[name] = pa.array(values, _PARSED.field(name).type)
    every = [arrays.get(f.name, pa.nulls(messages.num_rows, f.type)) for f in _PARSED]
    return pa.RecordBatch.from_arrays(every, schema=_PARSED)


@contextmanager
def computed_once(frame: DataFrame) -> Iterator[DataFrame]:
    """The frame, whose rows stay in memory or on disk from the first job on until the block ends.

    `DataFrame.persist` would turn them into columns and back, which costs more than parsing does.
    Rows of an executor that dies are not computed again: the batch fails, and is run again.
    """
    kept = frame.localCheckpoint(eager=False, storageLevel=StorageLevel.MEMORY_AND_DISK)
    try:
        yield kept
    finally:
        # The only way to give the memory back at once; a frame unpersists only what it cached.
        kept._jdf.queryExecution().analyzed().rdd().unpersist(False)


def write_batch(parsed: DataFrame, batch_id: int, *, tables: Tables, app_id: str) -> BatchCounts:
    """Write one batch to both tables, each once however often this is called.

    Rejected messages go first: a batch counts as seen when its events are in, so a crash between
    the two writes can repeat rejected messages (`read_rejected` drops those) but lose none.

    Parameters
    ----------
    parsed
        Frame of `parse_messages`; read three times, so it should be `computed_once`.
    batch_id
        Spark's number of the batch: the version of both writes.
    app_id
        Id of the checkpoint the numbers belong to.
    """
    accepted = parsed.where(F.col(C.REASON).isNull())
    rejected = parsed.where(F.col(C.REASON).isNotNull())
    started = time.monotonic()
    n_accepted, rejected_by, last = _count_by_reason(parsed)
    append = partial(_append_once, batch_id=batch_id, app_id=app_id)
    if rejected_by:
        append(rejected.select(*_REJECTED_COLUMNS), tables.rejected)
    append(accepted.select(*_EVENT_COLUMNS), tables.events)
    seconds = time.monotonic() - started
    return BatchCounts(batch_id, n_accepted, rejected_by, last, seconds)


def _count_by_reason(parsed: DataFrame) -> tuple[int, dict[str, int], datetime | None]:
    """The number of events, of rejected messages by reason, and when the last event occurred."""
    last = F.max(C.OCCURRED_AT).alias("last")
    rows = parsed.groupBy(C.REASON).agg(F.count("*").alias("n"), last).collect()
    times = [row["last"].replace(tzinfo=UTC) for row in rows if row["last"]]
    counts = {row[C.REASON]: row["n"] for row in rows}
    return counts.pop(None, 0), counts, max(times, default=None)


def _append_once(frame: DataFrame, path: Path, *, batch_id: int, app_id: str) -> None:
    writer = frame.write.format("delta").mode("append")
    writer.option("txnAppId", app_id).option("txnVersion", str(batch_id)).save(str(path))


def create_tables(spark: SparkSession, tables: Tables) -> None:
    """Make the two Delta tables where they are not there yet."""
    schemas = {
        tables.events: [*EVENT_SCHEMA, *PLACE_SCHEMA],
        tables.rejected: [*PLACE_SCHEMA, *REJECTION_SCHEMA],
    }
    for path, fields in schemas.items():
        frame = spark.createDataFrame(pa.schema(fields).empty_table())
        table = DeltaTable.createIfNotExists(spark).location(str(path)).addColumns(frame.schema)
        # No query skips files by the values in them, and counting rows needs no statistics.
        table.property("delta.dataSkippingNumIndexedCols", "0").execute()


def compact(spark: SparkSession, tables: Tables) -> None:
    """Make the small files of both tables into large ones.

    Readers see the table before or after, never a gap or a double. Files that are no longer
    part of it go after a week, Delta's own safe retention: a training may still read them.
    """
    for path in tables:
        table = DeltaTable.forPath(spark, str(path))
        table.optimize().executeCompaction()
        table.vacuum()


def read_events(spark: SparkSession, tables: Tables, version: int | None = None) -> DataFrame:
    """The event table, its newest snapshot or that of a version; copies of an event included."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(str(tables.events))


def read_rejected(spark: SparkSession, tables: Tables) -> DataFrame:
    """The rejected messages, each place on a topic once."""
    rejected = spark.read.format("delta").load(str(tables.rejected))
    return rejected.dropDuplicates([C.TOPIC_ID, C.PARTITION, C.OFFSET])


def table_version(spark: SparkSession, path: Path) -> int:
    """The version of a Delta table's newest snapshot."""
    row = DeltaTable.forPath(spark, str(path)).history(1).select("version").first()
    assert row is not None  # a table has at least the version that made it
    return int(row["version"])


def seen_offsets(events: DataFrame) -> dict[str, dict[str, int]]:
    """What an event table has of each topic: topic id -> partition -> next offset."""
    last = F.max(C.OFFSET).alias("last")
    rows = events.groupBy(C.TOPIC_ID, C.PARTITION).agg(last).orderBy(C.TOPIC_ID, C.PARTITION)
    seen: dict[str, dict[str, int]] = {}
    for row in rows.collect():
        seen.setdefault(row[C.TOPIC_ID], {})[str(row[C.PARTITION])] = row["last"] + 1
    return seen


def start_query(
    messages: DataFrame,
    handle: Callable[[DataFrame, int], Any],
    *,
    checkpoint: Path,
    once: bool,
    seconds: int = 2,
) -> StreamingQuery:
    """Start the stream: each batch of raw messages goes to ``handle``.

    Parameters
    ----------
    once
        Stop when all that was there at the start is handled; else run until stopped.
    seconds
        Least time between the starts of two batches.
    """
    writer = messages.writeStream.foreachBatch(handle).option("checkpointLocation", str(checkpoint))
    if once:
        return writer.trigger(availableNow=True).start()
    return writer.trigger(processingTime=f"{seconds} seconds").start()
