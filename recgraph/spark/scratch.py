"""A frame computed once and kept on disk for the rest of the session.

Parquet rather than `persist`: memory stays bounded at any size, the plan starts afresh (plans of
a long job otherwise grow until planning costs more than the work), and what is read twice is the
same twice, which ALS needs. Driver and executors must share the data folder, as for the tables.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
from pyspark.sql import DataFrame

from recgraph.model import Ints

SCRATCH = "spark.recgraph.scratch"
"""Name of the session's option that holds the folder."""


def materialize(frame: DataFrame) -> DataFrame:
    """The same rows, computed now and read from disk from here on."""
    spark = frame.sparkSession
    path = _new_path(frame)
    frame.write.parquet(path)
    return spark.read.schema(frame.schema).parquet(path)


def files_of(frame: DataFrame) -> list[str]:
    """The files of a materialized frame, in the order its rows were written in."""
    return sorted(unquote(urlsplit(file).path) for file in frame.inputFiles())


def batches_of(frame: DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows of a materialized frame on the driver, in batches.

    Collected, they would lie in the heap of the JVM all at once.
    """
    yield from pads.dataset(files_of(frame)).to_batches()


def mappable(frame: DataFrame) -> Path:
    """The rows of a materialized frame as one file, for `map_table`; a batch of them in memory."""
    path = Path(_new_path(frame))
    batches = batches_of(frame)
    first = next(batches)
    with pa.ipc.new_file(path, first.schema) as file:
        file.write_batch(first)
        for batch in batches:
            file.write_batch(batch)
    return path


def map_table(path: Path) -> pa.Table:
    """A file of `mappable` as a table, of which a process holds what it looks at (`take_rows`)."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def take_rows(table: pa.Table, rows: Ints) -> pa.Table:
    """Rows of a table of many pieces, in the order asked; only what they stand in is read.

    Arrow's own ``take`` first makes one piece of them all.
    """
    wanted, back = np.unique(rows, return_inverse=True)
    pieces = table.to_batches()
    starts = np.cumsum([0, *(len(piece) for piece in pieces)])
    at = np.searchsorted(wanted, starts)
    taken = [
        piece.take(pa.array(wanted[first:stop] - start))
        for piece, start, first, stop in zip(pieces, starts, at, at[1:], strict=False)
        if first < stop
    ]
    return pa.Table.from_batches(taken, table.schema).combine_chunks().take(pa.array(back))


def _new_path(frame: DataFrame) -> str:
    return f"{frame.sparkSession.conf.get(SCRATCH)}/{uuid.uuid4().hex}"
