"""Lines of files of reviews <-> one Delta table; reviews without their copies.

Every line of a file becomes one row: a review or, where ``reason`` is not null, a rejection. So
one commit takes in a whole chunk of a file, and says how far the file is read: it is not made a
second time. Copies are found afterwards, in one pass over ids and places.
"""

import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from recgraph.columns import Columns as C
from recgraph.lines import split_lines
from recgraph.reviews import Rejection, Review, Rules, parse_reviews
from recgraph.spark.events import table_version
from recgraph.spark.scratch import materialize
from recgraph.tables import BatchName, WrittenFile, add_files
from recgraph.writing import new_file

REVIEW_SCHEMA = T.StructType(
    [
        T.StructField(C.REVIEW_ID, T.StringType()),
        T.StructField(C.USER_ID, T.StringType()),
        T.StructField(C.ITEM_ID, T.StringType()),
        T.StructField(C.RATING, T.DoubleType()),
        T.StructField(C.TITLE, T.StringType()),
        T.StructField(C.TEXT, T.StringType()),
        T.StructField(C.REVIEWED_AT, T.TimestampType()),
        T.StructField(C.HELPFUL_VOTES, T.LongType()),
        T.StructField(C.VERIFIED, T.BooleanType()),
        T.StructField(C.VARIANT, T.StringType()),
        T.StructField(C.SOURCE_FORMAT, T.StringType()),
    ]
)
"""A review: the fields of `recgraph.reviews.Review`."""
REJECTION_SCHEMA = T.StructType(
    [
        T.StructField(C.REASON, T.StringType()),
        T.StructField(C.DETAIL, T.StringType()),
        T.StructField(C.RAW, T.BinaryType()),
    ]
)
"""Why a line is none, and the line as it stands."""
PLACE_SCHEMA = T.StructType(
    [
        T.StructField(C.FILE_ID, T.StringType()),
        T.StructField(C.FILE, T.StringType()),
        T.StructField(C.LINE, T.LongType()),
        T.StructField(C.LOADED_AT, T.TimestampType()),
    ]
)
"""Where it stands: digest of the file's content, its path, the line from 1; and when it came."""
LINE_SCHEMA = T.StructType([*PLACE_SCHEMA, *REVIEW_SCHEMA, *REJECTION_SCHEMA])

_ARROW_LINES = to_arrow_schema(LINE_SCHEMA)
_WRITTEN = "name string, n_bytes long, n_rows long"
_BATCH_LINES = 10_000
_KEPT_S = 86_400
"""Copies of older versions stay so long: somebody may still read them."""


class Tables(NamedTuple):
    """Where the reviews are, below one folder."""

    lines: Path
    """Delta table of `LINE_SCHEMA`."""
    copies: Path
    """Parquet files of the places of copies, one for a version of the table."""


class FileCounts(NamedTuple):
    """What became of the lines of a file."""

    loaded: int
    duplicates: int
    """Reviews that were loaded before, or stood earlier in the file."""
    rejected: dict[str, int]
    """Reason -> lines."""
    formats: dict[str, int]
    """`recgraph.reviews.Format` -> reviews, the duplicates among them."""


class Chunk(NamedTuple):
    """Some lines of a file, laid down as plain text in parts, which tasks share out."""

    file_id: str
    """Digest of the file's content."""
    file: str
    """Its path."""
    parts: list[tuple[Path, int]]
    """Where each part is for every worker, and the number of its first line."""
    last_line: int
    """Number of its last line."""
    end: int
    """`recgraph.lines.Block.end` of the last part."""
    n_bytes_read: int
    """`recgraph.lines.Block.n_bytes_read` of the last part."""


def tables_in(folder: Path) -> Tables:
    """The tables of a folder of reviews."""
    return Tables(folder / "lines", folder / "copies")


def create_table(spark: SparkSession, tables: Tables) -> None:
    """Make the Delta table where it is not there yet."""
    table = DeltaTable.createIfNotExists(spark).location(str(tables.lines))
    # Queries read all of it, or go by ids that stand in no order.
    table.addColumns(LINE_SCHEMA).property("delta.dataSkippingNumIndexedCols", "0").execute()


def append_chunk(spark: SparkSession, chunk: Chunk, rules: Rules, tables: Tables) -> None:
    """Take the lines of a chunk into the table, once however often this is called.

    The workers that parse the lines write them, too: as files, which one commit makes part of the
    table. So no text passes through the JVM.
    """
    n_parts = len(chunk.parts)
    n_tasks = min(n_parts, spark.sparkContext.defaultParallelism)
    write = partial(
        _write_parts, chunk=chunk, rules=rules, loaded_at=datetime.now(UTC), folder=tables.lines
    )
    rows = spark.range(0, n_parts, 1, n_tasks).mapInArrow(write, _WRITTEN).collect()
    files = [WrittenFile(*row) for row in rows]
    add_files(tables.lines, files, BatchName(chunk.file_id, chunk.end))


def _write_parts(
    batches: Iterable[pa.RecordBatch],
    *,
    chunk: Chunk,
    rules: Rules,
    loaded_at: datetime,
    folder: Path,
) -> Iterator[pa.RecordBatch]:
    """Write the lines of the parts whose numbers come in, as one file."""
    with new_file(folder, _ARROW_LINES) as file:
        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            for rows in _parse_part(chunk, number, rules, loaded_at):
                file.write(rows)
    if written := [msgspec.to_builtins(each) for each in file.written()]:
        yield pa.RecordBatch.from_pylist(written)


def _parse_part(
    chunk: Chunk, number: int, rules: Rules, loaded_at: datetime
) -> Iterator[pa.RecordBatch]:
    """The lines of a part as rows of `LINE_SCHEMA`."""
    path, first_line = chunk.parts[number]
    lines = split_lines(path.read_bytes())
    same = {C.FILE_ID: chunk.file_id, C.FILE: chunk.file, C.LOADED_AT: loaded_at}
    for start in range(0, len(lines), _BATCH_LINES):
        some = lines[start : start + _BATCH_LINES]
        columns = _columns_of(parse_reviews(some, rules, now=loaded_at), some)
        columns[C.LINE] = range(first_line + start, first_line + start + len(some))
        yield pa.RecordBatch.from_arrays(
            [
                pa.repeat(pa.scalar(same[field.name], field.type), len(some))
                if field.name in same
                else pa.array(columns[field.name], field.type)
                for field in _ARROW_LINES
            ],
            schema=_ARROW_LINES,
        )


def _columns_of(
    parsed: Sequence[Review | Rejection], lines: Sequence[bytes]
) -> dict[str, Sequence[Any]]:
    """What lines are, by column; a review has no reason, and a rejection nothing else."""
    columns: dict[str, Sequence[Any]] = {
        name: [getattr(each, name, None) for each in parsed] for name in REVIEW_SCHEMA.names
    }
    rejected = [each if isinstance(each, Rejection) else None for each in parsed]
    columns[C.REASON] = [each and each.reason.value for each in rejected]
    columns[C.DETAIL] = [each and each.detail for each in rejected]
    columns[C.RAW] = [each and line for each, line in zip(rejected, lines, strict=True)]
    return columns


def read_lines(spark: SparkSession, tables: Tables, version: int | None = None) -> DataFrame:
    """Every line that was loaded, copies and rejections included: `LINE_SCHEMA`."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(str(tables.lines))


def read_rejected(spark: SparkSession, tables: Tables) -> DataFrame:
    """The lines that are no review: file_id, file, line, loaded_at, reason, detail, raw."""
    rejected = read_lines(spark, tables).where(F.col(C.REASON).isNotNull())
    return rejected.select(*PLACE_SCHEMA.names, *REJECTION_SCHEMA.names)


def read_reviews(spark: SparkSession, tables: Tables, version: int | None = None) -> DataFrame:
    """Each review once, the copy that was loaded first, with its place: no rejections.

    Of the newest version of the table unless one is given.
    """
    if version is None:
        version = table_version(spark, tables.lines)  # what is loaded meanwhile has other copies
    reviews = read_lines(spark, tables, version).where(F.col(C.REASON).isNull())
    copies = read_copies(spark, tables, version)
    once = reviews.join(copies, [C.FILE_ID, C.LINE], "left_anti")
    return once.select(*REVIEW_SCHEMA.names, *PLACE_SCHEMA.names)


def events_from_reviews(reviews: DataFrame) -> DataFrame:
    """The reviews as `recgraph.spark.interactions.distinct_events` gives events: each a rating."""
    return reviews.select(
        F.col(C.REVIEW_ID).alias(C.EVENT_ID),
        C.USER_ID,
        F.col(C.ITEM_ID).alias(C.PRODUCT_ID),
        F.lit(1.0).alias(C.QUANTITY),
        C.RATING,
        F.lit("rating").alias(C.KIND),
        F.col(C.REVIEWED_AT).alias(C.OCCURRED_AT),
    )


def read_copies(spark: SparkSession, tables: Tables, version: int | None = None) -> DataFrame:
    """The places of reviews that were loaded before: file_id, line.

    Those that `write_copies` found last, if nothing came in since; else they are looked for anew.
    """
    if version is None:
        version = table_version(spark, tables.lines)
    path = _copies_path(tables, version)
    if path.exists():
        return spark.read.parquet(str(path))
    # On disk, so that Spark knows how little it is, and sends it to where the reviews are.
    return materialize(find_copies(read_lines(spark, tables, version)))


def write_copies(spark: SparkSession, tables: Tables) -> None:
    """Look for copies once, for all readers of this version of the table."""
    version = table_version(spark, tables.lines)
    path = _copies_path(tables, version)
    if path.exists():
        return
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    find_copies(read_lines(spark, tables, version)).write.parquet(str(unfinished))
    unfinished.replace(path)
    for older in tables.copies.iterdir():
        if time.time() - older.stat().st_mtime > _KEPT_S:
            shutil.rmtree(older)


def _copies_path(tables: Tables, version: int) -> Path:
    return tables.copies / f"{version}.parquet"


def find_copies(lines: DataFrame) -> DataFrame:
    """The places of reviews that were loaded before: file_id, line.

    Numbers made of the ids say which may stand there twice; only those are sorted.
    """
    place = F.struct(C.LOADED_AT, C.FILE_ID, C.LINE).alias("place")
    reviews = lines.where(F.col(C.REASON).isNull()).select(
        C.REVIEW_ID, F.xxhash64(C.REVIEW_ID).alias("number"), place
    )
    twice = materialize(reviews.groupBy("number").count().where("count > 1").select("number"))
    first = F.min("place").over(Window.partitionBy(C.REVIEW_ID))
    suspects = reviews.join(twice, "number", "left_semi").withColumn("first", first)
    copies = suspects.where("place > first")
    return copies.select(f"place.{C.FILE_ID}", f"place.{C.LINE}")


def count_lines(spark: SparkSession, tables: Tables, file_ids: Sequence[str]) -> list[FileCounts]:
    """How many lines of each of some files there are, by what became of them."""
    is_asked = F.col(C.FILE_ID).isin(*file_ids)
    lines = read_lines(spark, tables).where(is_asked)
    kinds = lines.groupBy(C.FILE_ID, C.REASON, C.SOURCE_FORMAT).count().collect()
    copies = read_copies(spark, tables).where(is_asked).groupBy(C.FILE_ID).count().collect()
    n_copies = {row[C.FILE_ID]: row["count"] for row in copies}
    return [
        _counts_of([row for row in kinds if row[C.FILE_ID] == each], n_copies.get(each, 0))
        for each in file_ids
    ]


def _counts_of(kinds: Sequence[Row], n_copies: int) -> FileCounts:
    rejected = {row[C.REASON]: row["count"] for row in kinds if row[C.REASON]}
    formats = {row[C.SOURCE_FORMAT]: row["count"] for row in kinds if row[C.SOURCE_FORMAT]}
    return FileCounts(sum(formats.values()) - n_copies, n_copies, rejected, formats)
