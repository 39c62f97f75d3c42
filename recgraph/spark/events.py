"""The topic -> the Delta tables of events and of rejected messages, each message exactly once.

The workers that parse messages write them, too: as files, which one commit makes part of a table.
``foreachBatch`` may run a batch again after a crash; the table knows the batches that it has.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from recgraph.batches import PARSED, parse_batches
from recgraph.columns import Columns as C
from recgraph.events import Rules
from recgraph.tables import Tables, WrittenFile
from recgraph.writing import Written, write_share

_REJECTED_DDL = (
    "topic_id string, partition int, offset long, ingested_at timestamp, "
    "reason string, detail string, raw binary"
)
_PARSED_DDL = (
    "event_id string, user_id string, product_id string, quantity double, rating double, "
    f"kind string, occurred_at timestamp, {_REJECTED_DDL}"
)
_MESSAGE = ("value", C.PARTITION, C.OFFSET)
_WRITTEN = "written"

Parse = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]
"""Record batches of any kind -> record batches of `PARSED`."""


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

    @classmethod
    def of(cls, batch_id: int, written: Written, seconds: float) -> Self:
        """The counts of what was written."""
        last = written.last_occurred_at
        return cls(batch_id, written.n_events, written.reasons, last, seconds)


def parse_messages(messages: DataFrame, rules: Rules, topic_id: str) -> DataFrame:
    """The messages as events or, where ``reason`` is not null, as rejections.

    Parameters
    ----------
    messages
        value, partition, offset, as Spark's Kafka source gives them.
    topic_id
        UUID of their topic, so that a topic made anew repeats no event identity.
    """
    parse = partial(parse_batches, rules=rules, topic_id=topic_id)
    return messages.select(*_MESSAGE).mapInArrow(parse, _PARSED_DDL)


def write_messages(messages: DataFrame, rules: Rules, topic_id: str, tables: Tables) -> Written:
    """Parse the messages and write them as files, not yet part of the tables; say what they hold.

    The workers that parse write the files: no row comes back to Spark.

    Parameters
    ----------
    messages, topic_id
        As for `parse_messages`.
    """
    parse = partial(parse_batches, rules=rules, topic_id=topic_id)
    return _write_shares(messages.select(*_MESSAGE), parse, tables)


def write_parsed(parsed: DataFrame, tables: Tables) -> Written:
    """Write rows of `parse_messages` as files, not yet part of the tables; say what they hold."""
    return _write_shares(parsed.select(*PARSED.names), iter, tables)


def _write_shares(rows: DataFrame, parse: Parse, tables: Tables) -> Written:
    here = Tables(*(path.absolute() for path in tables))  # workers may stand in another folder
    write = partial(_write_share, parse=parse, tables=here)
    shares = rows.mapInArrow(write, f"{_WRITTEN} binary").collect()
    return sum((msgspec.json.decode(share[0], type=Written) for share in shares), Written())


def _write_share(
    rows: Iterable[pa.RecordBatch], *, parse: Parse, tables: Tables
) -> Iterator[pa.RecordBatch]:
    written = msgspec.json.encode(write_share(parse(rows), tables))
    yield pa.RecordBatch.from_pydict({_WRITTEN: [written]})


def read_rejected_files(
    spark: SparkSession, tables: Tables, files: Iterable[WrittenFile]
) -> DataFrame:
    """The rejected messages in files that are not yet part of their table, or are."""
    paths = [str(tables.rejected / file.name) for file in files]
    return spark.read.schema(_REJECTED_DDL).parquet(*paths)


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
