"""The Delta tables of events and of rejected messages, without Spark: in milliseconds, and no JVM.

Files written by workers -> one commit; path -> counts and messages. Each read sees one snapshot,
whatever ingest writes meanwhile; it streams, so that a flood of rejected messages is no flood of
memory. What is in the events is for Spark to read.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction
from deltalake.transaction import AddAction, RemoveAction

from recgraph.batches import EVENT_TABLE, REJECTED_TABLE
from recgraph.claims import only_one
from recgraph.columns import Columns as C
from recgraph.errors import InputError
from recgraph.events import Reason

_PROPERTIES = {
    # No query skips files by the values in them, and counting rows needs no statistics.
    "delta.dataSkippingNumIndexedCols": "0",
    # Spark's default, here for both writers: reading the log stays short.
    "delta.checkpointInterval": "10",
}
_PLACE = 'topic_id, "partition", "offset"'


class Tables(NamedTuple):
    """Where the two Delta tables are."""

    events: Path
    rejected: Path


class WrittenFile(msgspec.Struct, frozen=True):
    """A Parquet file in the folder of a table."""

    name: str
    n_bytes: int
    n_rows: int


class BatchName(NamedTuple):
    """What a batch of a stream is known by, however often it is run."""

    app_id: str
    """Id of the checkpoint that numbers the batches."""
    number: int


class RejectedMessage(msgspec.Struct, frozen=True):
    """A message that was rejected, as it came."""

    topic_id: str
    partition: int
    offset: int
    ingested_at: datetime
    reason: str
    detail: str
    raw: bytes | None

    @property
    def place(self) -> str:
        """Where it stood, as one text: the event's identity, had it been accepted without one."""
        return f"{self.topic_id}/{self.partition}/{self.offset}"


def create_tables(tables: Tables) -> None:
    """Make the two Delta tables where they are not there yet."""
    schemas = {tables.events: EVENT_TABLE, tables.rejected: REJECTED_TABLE}
    for path, schema in schemas.items():
        DeltaTable.create(str(path), schema, mode="ignore", configuration=_PROPERTIES)


def has_batch(path: Path, batch: BatchName) -> bool:
    """Whether the rows of this batch, or of a later one, are in the table."""
    return _has(DeltaTable(str(path)), batch)


def _has(table: DeltaTable, batch: BatchName) -> bool:
    newest = table.transaction_version(batch.app_id)
    return newest is not None and newest >= batch.number


def add_files(path: Path, files: Iterable[WrittenFile], batch: BatchName | None = None) -> None:
    """Make files in the folder of a table part of it: all with one commit, a batch only once.

    Parameters
    ----------
    batch
        Their batch, whose number the table notes; None where no batch can come again.
    """
    table = DeltaTable(str(path))
    if batch is not None and _has(table, batch):
        return
    now_ms = time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [_add_action(file, now_ms) for file in files]
    transactions = [Transaction(*batch)] if batch is not None else []
    table.create_write_transaction(
        actions,
        mode="append",
        schema=table.schema(),
        commit_properties=CommitProperties(app_transactions=transactions),
    )


def _add_action(file: WrittenFile, now_ms: int) -> AddAction:
    return AddAction(
        path=file.name,
        size=file.n_bytes,
        partition_values={},
        modification_time=now_ms,
        data_change=True,
        stats=f'{{"numRecords": {file.n_rows}}}',
    )


def compact(path: Path) -> None:
    """Make the small files of a table into large ones.

    Readers see the table before or after, never a gap or a double. Files that are no longer part
    of it, or never were, go after a week, Delta's own safe retention: a training may still read
    them, or a worker is about to add them. Others may add files meanwhile, but only one may
    compact: `deltalake` lets two commits replace the same files, and doubles their rows.

    Raises
    ------
    ServiceError
        Another compaction of the table goes on.
    """
    taken = f"{path} is being compacted already; one compaction is enough. Let it end."
    with only_one(path / "_compacting", taken):
        DeltaTable(str(path)).optimize.compact()
        sweep(path)


def sweep(path: Path) -> None:
    """Remove the files of a table's folder that no version of the last week has.

    They are those of workers that were killed before their commit.
    """
    DeltaTable(str(path)).vacuum(dry_run=False, full=True)


def count_rejected(path: Path) -> dict[str, int]:
    """Reason -> rejected messages, the most frequent first; each place on a topic counts once."""
    counts = (
        f"select reason, count(*) as n from (select distinct {_PLACE}, reason from rows) "
        "group by reason order by n desc, reason"
    )
    return {row["reason"]: row["n"] for row in _rows(path, counts)}


def read_newest_rejected(
    path: Path, *, limit: int, reasons: list[Reason] | None = None
) -> list[RejectedMessage]:
    """The messages rejected last, newest first, for some reasons or all.

    A crash between two writes may leave copies of a message; the newest counts.
    """
    order = 'ingested_at desc, "offset" desc'
    newest = (
        f"select {_PLACE}, max(ingested_at) as ingested_at from rows {_where(reasons)} "
        f"group by {_PLACE} order by {order} limit {limit}"
    )
    query = f"select * from rows r join ({newest}) n using ({_PLACE}, ingested_at)"
    return [
        msgspec.convert(row, RejectedMessage) for row in _rows(path, f"{query} order by {order}")
    ]


def read_rejected(path: Path, *, reasons: list[Reason] | None = None) -> Iterator[RejectedMessage]:
    """Each rejected message once, in no order, for some reasons or all."""
    seen: dict[tuple[str, int], set[int]] = {}
    for row in _rows(path, f"select * from rows {_where(reasons)}"):
        offsets = seen.setdefault((row["topic_id"], row["partition"]), set())
        if row["offset"] not in offsets:
            offsets.add(row["offset"])
            yield msgspec.convert(row, RejectedMessage)


def last_batch(path: Path, app_id: str) -> int | None:
    """The number of the last batch of an application that a table has; None without any."""
    if not DeltaTable.is_deltatable(str(path)):
        return None
    version = DeltaTable(str(path)).transaction_version(app_id)
    return None if version is None else int(version)


def count_rows(path: Path) -> int:
    """How many rows a table has; its log knows, and copies count as often as they are there."""
    (row,) = _rows(path, "select count(*) as n from rows")
    return int(row["n"])


def last_occurred_at(path: Path) -> datetime | None:
    """When the last event of the table occurred; None while it has none."""
    (row,) = _rows(path, f"select max({C.OCCURRED_AT}) as last from rows")
    last: datetime | None = row["last"]
    return last and last.astimezone(UTC)


def _where(reasons: list[Reason] | None) -> str:
    return f"where reason in ({', '.join(repr(r.value) for r in reasons)})" if reasons else ""


def _rows(path: Path, query: str) -> Iterator[dict[str, Any]]:
    for batch in read_batches(path, query):
        yield from batch.to_pylist()


def read_batches(path: Path, query: str) -> Iterator[pa.RecordBatch]:
    """What a query of SQL finds in a table, which it calls ``rows``; a stream of one snapshot.

    Raises
    ------
    InputError
        There is no table.
    """
    if not DeltaTable.is_deltatable(str(path)):
        message = (
            f"there is no table in {path}: nothing was taken in yet. `recgraph ingest --once` "
            "makes that of sales, `recgraph reviews load FILE` that of reviews."
        )
        raise InputError(message)
    tables = QueryBuilder().register("rows", DeltaTable(str(path)))
    yield from pa.RecordBatchReader.from_stream(tables.execute(query))
