"""The topic -> the Delta tables of events and of rejected messages, each message exactly once.

Logic first, the job last. ``foreachBatch`` may run a batch again after a crash; both writes carry
the batch's number and the id of the checkpoint, and Delta drops the second copy of such a write.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from recgraph.columns import Columns as C
from recgraph.events import Rejection, Rules, parse_event

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
_PARSED = pa.schema([*EVENT_SCHEMA, *PLACE_SCHEMA, *REJECTION_SCHEMA])
_PARSED_DDL = (
    "event_id string, user_id string, product_id string, quantity double, rating double, "
    "kind string, occurred_at timestamp, topic_id string, partition int, offset long, "
    "ingested_at timestamp, reason string, detail string, raw binary"
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


def parse_messages(messages: DataFrame, rules: Rules, topic_ids: Mapping[str, str]) -> DataFrame:
    """The messages as events or, where ``reason`` is not null, as rejections.

    Parameters
    ----------
    messages
        value, topic, partition, offset, as Spark's Kafka source gives them.
    topic_ids
        Topic name -> its UUID, so that a topic made anew repeats no event identity.
    """
    place = messages.select("value", "topic", "partition", "offset")
    return place.mapInArrow(
        partial(_parse_batches, rules=rules, topic_ids=dict(topic_ids)), _PARSED_DDL
    )


def _parse_batches(
    batches: Iterable[pa.RecordBatch], *, rules: Rules, topic_ids: dict[str, str]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.num_rows:
            yield _parse_batch(batch, rules, topic_ids, datetime.now(UTC))


def _parse_batch(
    batch: pa.RecordBatch, rules: Rules, topic_ids: dict[str, str], now: datetime
) -> pa.RecordBatch:
    raws = batch.column("value").to_pylist()
    ids = [topic_ids[name] for name in batch.column("topic").to_pylist()]
    partitions = batch.column("partition").to_pylist()
    offsets = batch.column("offset").to_pylist()
    rows = []
    for raw, *place in zip(raws, ids, partitions, offsets, strict=True):
        parsed = parse_event(raw, rules, now=now)
        if isinstance(parsed, Rejection):
            rejection = (parsed.reason.value, parsed.detail, raw)
            rows.append((*(None,) * len(EVENT_SCHEMA), *place, now, *rejection))
        else:
            event_id = parsed.event_id or "/".join(map(str, place))
            event = (event_id, parsed.user_id, parsed.product_id, parsed.quantity, parsed.rating)
            rows.append((*event, parsed.kind, parsed.occurred_at, *place, now, None, None, None))
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, _PARSED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_PARSED)


def write_batch(parsed: DataFrame, batch_id: int, *, tables: Tables, app_id: str) -> BatchCounts:
    """Write one batch to both tables, each once however often this is called.

    Rejected messages go first: a batch counts as seen when its events are in, so a crash between
    the two writes can repeat rejected messages (`read_rejected` drops those) but lose none.

    Parameters
    ----------
    parsed
        Frame of `parse_messages`; read twice, so it should be persisted.
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
        DeltaTable.createIfNotExists(spark).location(str(path)).addColumns(frame.schema).execute()


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
