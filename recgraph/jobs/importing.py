"""The shell of `recgraph import`: files of history -> the event tables, one file after the other.

A file is taken in whole or not at all: its events appear in the table with one commit.
"""

import msgspec
from pyspark.sql import DataFrame, SparkSession

from recgraph import events, jobs
from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.sources import SourceFile
from recgraph.spark import events as spark_events
from recgraph.spark import importing as spark_importing
from recgraph.spark.importing import RejectedFor
from recgraph.spark.scratch import materialize
from recgraph.stages import Stages
from recgraph.tables import Tables, add_files, create_tables


class Imported(msgspec.Struct, frozen=True):
    """What became of the rows of one file: rows = accepted + rejected + duplicates."""

    path: str
    rows: int
    accepted: int
    """Events that the table did not have."""
    rejected: int
    duplicates: int
    """Events that the table had already, or that stood earlier in the file."""
    conflicts: int
    """Those of the duplicates whose content differs from the first."""
    reasons: list[RejectedFor]


def import_file(
    spark: SparkSession, settings: Settings, file: SourceFile, stages: Stages
) -> Imported:
    """Take the rows of a file into the event tables; say what became of them.

    Raises
    ------
    InputError
        The file was changed meanwhile; nothing of it was taken in.
    """
    tables = jobs.tables_of(settings)
    create_tables(tables)
    rules = events.rules_from_settings(settings)
    with stages("read", f"reading {file.n_rows:,} rows of {file.path}"):
        parsed = materialize(spark_importing.parse_file(spark, file, rules))
        n_rows, reasons = parsed.count(), spark_importing.count_rejected(parsed)
    _check_unchanged(file, n_rows)
    with stages("compare", "leaving out what the event table has already"):
        new = materialize(_rows_to_write(spark, parsed, file, tables))
    # Rejected rows go first: the events appear last, and with them the file is in.
    with stages("write", "writing the new events"):
        written = spark_events.write_parsed(new, tables)
        add_files(tables.rejected, written.rejected)
        add_files(tables.events, written.events)
    n_rejected = sum(each.rows for each in reasons)
    n_duplicates = n_rows - n_rejected - written.n_events
    n_conflicts = _count_conflicts(spark, parsed, file, tables) if n_duplicates else 0
    counts = (n_rows, written.n_events, n_rejected, n_duplicates, n_conflicts)
    return Imported(str(file.path), *counts, reasons)


def _check_unchanged(file: SourceFile, n_rows: int) -> None:
    if n_rows != file.n_rows:
        found = f"{file.path} had {file.n_rows:,} rows, then {n_rows:,}: it was changed meanwhile."
        message = f"{found} Nothing of it was taken in; import it again."
        raise InputError(message)


def _rows_to_write(
    spark: SparkSession, parsed: DataFrame, file: SourceFile, tables: Tables
) -> DataFrame:
    known = spark_events.read_events(spark, tables), spark_events.read_rejected(spark, tables)
    has_ids = file.columns.event_id is not None
    return spark_importing.rows_to_write(parsed, *known, has_event_ids=has_ids)


def _count_conflicts(
    spark: SparkSession, parsed: DataFrame, file: SourceFile, tables: Tables
) -> int:
    if file.columns.event_id is None:  # an id made from a row has no other content
        return 0
    return spark_importing.count_conflicts(parsed, spark_events.read_events(spark, tables))
