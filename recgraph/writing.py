"""Record batches of events and rejected messages -> Parquet files in the folders of their tables.

What a worker of Spark does with its share of a batch. A file is no part of its table until
`recgraph.tables.add_files` says so: one whose worker died, or whose task was run twice, is seen by
no reader, and VACUUM removes it.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recgraph.batches import EVENT_TABLE, REJECTED_TABLE, part_batch
from recgraph.columns import Columns as C
from recgraph.tables import Tables, WrittenFile

_LARGE_BYTES = 8 * 1024 * 1024
"""A batch as large as this is a row group of its own. Others are gathered in memory, up to a
million rows; a flood of large rejected messages must not be."""

_REPEATED = [C.QUANTITY, C.RATING, C.KIND, C.TOPIC_ID, C.PARTITION, C.INGESTED_AT, C.REASON]
"""The columns that a dictionary makes smaller; looking up each id costs more than it saves."""


class Written(msgspec.Struct, frozen=True):
    """What became of one share of a batch, or of several: shares can be added."""

    events: tuple[WrittenFile, ...] = ()
    rejected: tuple[WrittenFile, ...] = ()
    reasons: dict[str, int] = {}
    """Reason -> rejected messages."""
    last_occurred_at: datetime | None = None
    """When the last of the events occurred."""

    @property
    def n_events(self) -> int:
        """Rows of the files of events."""
        return sum(file.n_rows for file in self.events)

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.events + other.events,
            self.rejected + other.rejected,
            dict(Counter(self.reasons) + Counter(other.reasons)),
            _latest(self.last_occurred_at, other.last_occurred_at),
        )


def write_share(parsed: Iterable[pa.RecordBatch], tables: Tables) -> Written:
    """Write the rows of a share, as `recgraph.batches.PARSED`; a file for each table at most."""
    reasons: Counter[str] = Counter()
    last: datetime | None = None
    with (
        new_file(tables.events, EVENT_TABLE) as events,
        new_file(tables.rejected, REJECTED_TABLE) as rejected,
    ):
        for batch in parsed:
            of_events, of_rejected = part_batch(batch)
            events.write(of_events)
            rejected.write(of_rejected)
            reasons.update(of_rejected.column(C.REASON).to_pylist())
            last = _latest(last, pc.max(of_events.column(C.OCCURRED_AT)).as_py())
    return Written(events.written(), rejected.written(), dict(reasons), last)


def _latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time), default=None)


class NewFile:
    """A Parquet file that is there as soon as it has a row."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.path = folder / f"part-{uuid.uuid4()}.parquet"
        self.schema = schema
        self.writer: pq.ParquetWriter | None = None
        self.n_rows = 0

    def write(self, rows: pa.RecordBatch) -> None:
        """Add rows of the file's schema."""
        if not len(rows):
            return
        if self.writer is None:
            # No query skips rows by the values in them, so no file says what they lie between.
            self.writer = pq.ParquetWriter(
                self.path, self.schema, use_dictionary=_REPEATED, write_statistics=False
            )
        # Spark may know that a column holds no null; a file takes only its own schema.
        rows = pa.RecordBatch.from_arrays(rows.columns, schema=self.schema)
        if rows.nbytes < _LARGE_BYTES:
            self.writer.write_batch(rows)
        else:
            self.writer.write_table(pa.Table.from_batches([rows]))
        self.n_rows += len(rows)

    def close(self) -> None:
        """Write what is left, and the file's end."""
        if self.writer is not None:
            self.writer.close()

    def written(self) -> tuple[WrittenFile, ...]:
        """The file, if there is one; when it is closed."""
        if self.writer is None:
            return ()
        return (WrittenFile(self.path.name, self.path.stat().st_size, self.n_rows),)


@contextmanager
def new_file(folder: Path, schema: pa.Schema) -> Iterator[NewFile]:
    """A file to write; where writing fails, a full disk gets its space back."""
    file = NewFile(folder, schema)
    try:
        yield file
        file.close()
    except BaseException:
        file.path.unlink(missing_ok=True)
        raise
