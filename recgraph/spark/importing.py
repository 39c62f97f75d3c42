"""A file of history -> the event table, not through Kafka.

A file's rows become messages with the event ids that `recgraph replay` gives them, and the one
parser judges them. Every task reads the file and takes its share of the batches, so neither the
driver nor a worker ever holds more than a few of them; tasks must see the file under its path.

Identity makes an import repeatable: an event that the table has already is not written again,
and neither is a rejected row that stands there from the same place. So an import that was killed
is simply run again, and one that was run twice changes nothing.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from recgraph import files, sources
from recgraph.batches import EVENT_SCHEMA
from recgraph.columns import Columns as C
from recgraph.events import Rules
from recgraph.sources import SourceFile
from recgraph.spark.events import parse_messages

_MAX_SHARES = 8
"""Tasks that read one file at most: each reads all of it to find its share."""
_NAME = "file"
_ROWS_SCHEMA = pa.schema(
    [
        ("value", pa.binary()),
        ("digest", pa.binary()),
        ("has_event_id", pa.bool_()),
        (C.OFFSET, pa.int64()),
    ]
)
_ROWS_DDL = "value binary, digest binary, has_event_id boolean, offset long"
_ID_END = b'"}'


class RejectedFor(msgspec.Struct, frozen=True):
    """The rows rejected for one reason."""

    reason: str
    rows: int
    example: str
    """What was found in one of them."""


def parse_file(spark: SparkSession, file: SourceFile, rules: Rules) -> DataFrame:
    """The rows of a file as `parse_messages` gives messages; the offset is the row's number."""
    file = file._replace(path=file.path.absolute())  # workers may stand in another folder
    # The columns of a file are mapped by its own options, not by the settings of the topic.
    rules = msgspec.structs.replace(rules, paths={}, time_unit="iso")
    return parse_messages(_messages(spark, file), rules, file.id)


def _messages(spark: SparkSession, file: SourceFile) -> DataFrame:
    """The rows as messages: value, topic, partition, offset, as Spark's Kafka source gives them.

    Equal rows are numbered in their order, as `recgraph.sources.with_event_ids` does.
    """
    n_shares = min(spark.sparkContext.defaultParallelism, _MAX_SHARES)
    shares = spark.range(0, n_shares, 1, n_shares)
    rows = shares.mapInArrow(partial(_read_shares, file=file, n_shares=n_shares), _ROWS_DDL)
    copy = F.row_number().over(Window.partitionBy("digest").orderBy(C.OFFSET)) - 1
    end = F.concat(copy.cast("string"), F.lit(_ID_END.decode())).cast("binary")
    return rows.select(
        F.when(F.col("has_event_id"), F.col("value"))
        .otherwise(F.concat(F.col("value"), end))
        .alias("value"),
        F.lit(_NAME).alias(C.TOPIC),
        F.lit(0).alias(C.PARTITION),
        C.OFFSET,
    )


def _read_shares(
    batches: Iterable[pa.RecordBatch], *, file: SourceFile, n_shares: int
) -> Iterator[pa.RecordBatch]:
    """Every ``n_shares``-th batch of the file, for each number of a share that comes in."""
    for share in (number for batch in batches for number in batch.column(0).to_pylist()):
        offset = 0
        for position, batch in enumerate(files.read_batches(file.path, file.columns.by_field())):
            if position % n_shares == share:
                yield _rows(batch, file.columns, offset)
            offset += batch.num_rows


def _rows(batch: pa.RecordBatch, columns: sources.ColumnNames, offset: int) -> pa.RecordBatch:
    values, digests, has_ids = [], [], []
    for message in sources.messages_from_batch(batch, columns):
        digest = sources.row_digest(message)
        has_id = C.EVENT_ID in message
        if not has_id:
            message[C.EVENT_ID] = sources.row_event_id(digest, "")
        _, value = sources.encode(message)
        values.append(value if has_id else value.removesuffix(_ID_END))
        digests.append(digest)
        has_ids.append(has_id)
    columns_of = (values, digests, has_ids, range(offset, offset + batch.num_rows))
    arrays = [pa.array(c, f.type) for c, f in zip(columns_of, _ROWS_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_ROWS_SCHEMA)


def rows_to_write(
    parsed: DataFrame, events: DataFrame, rejected: DataFrame, *, has_event_ids: bool
) -> DataFrame:
    """The rows of `parse_file` that the tables do not have yet, each event identity once.

    Parameters
    ----------
    parsed
        Frame of `parse_file`; read twice, so it should be materialized.
    events, rejected
        The tables as they are.
    has_event_ids
        The file has event ids of its own; those made from its rows differ in any case.
    """
    is_rejected = F.col(C.REASON).isNotNull()
    place = [C.TOPIC_ID, C.PARTITION, C.OFFSET]
    new_rejected = parsed.where(is_rejected).join(rejected.select(*place), place, "left_anti")
    new = parsed.where(~is_rejected).join(events.select(C.EVENT_ID), C.EVENT_ID, "left_anti")
    if has_event_ids:
        copy = F.row_number().over(Window.partitionBy(C.EVENT_ID).orderBy(C.OFFSET))
        new = new.withColumn("copy", copy).where(F.col("copy") == 1)
    return new.select(parsed.columns).unionByName(new_rejected)


def count_rejected(parsed: DataFrame) -> list[RejectedFor]:
    """How many rows of `parse_file` were rejected for each reason, the most frequent first."""
    counted = (
        parsed.where(F.col(C.REASON).isNotNull())
        .groupBy(C.REASON)
        .agg(F.count("*").alias("rows"), F.min(C.DETAIL).alias("example"))
        .orderBy(F.desc("rows"), C.REASON)
    )
    return [RejectedFor(row[C.REASON], row["rows"], row["example"]) for row in counted.collect()]


def count_conflicts(parsed: DataFrame, events: DataFrame) -> int:
    """How many rows of `parse_file` have the identity of an event with other content.

    Parameters
    ----------
    events
        The table, the new rows included: the first copy of an event is the one that counts.
    """
    content = F.struct(*[name for name in EVENT_SCHEMA.names if name != C.EVENT_ID])
    rows = parsed.where(F.col(C.REASON).isNull()).select(C.EVENT_ID, content.alias("content"))
    place = F.struct(C.INGESTED_AT, C.PARTITION, C.OFFSET)
    first = (
        events.join(rows, C.EVENT_ID, "left_semi")
        .groupBy(C.EVENT_ID)
        .agg(F.min_by(content, place).alias("first"))
    )
    pairs = rows.join(first, C.EVENT_ID)
    return pairs.where(~F.col("content").eqNullSafe(F.col("first"))).count()
