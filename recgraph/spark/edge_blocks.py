"""Edges sorted on disk -> tasks that see each vertex with all of its edges, in order.

Spark reads files in an order of its own, and in pieces. Here a task reads a file, from its start to
its end: what is sorted stays sorted, and the edges of a vertex, which stand in one file, together.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from recgraph.columns import Columns as C
from recgraph.model import Ints, offsets_of
from recgraph.spark.scratch import files_of, map_table

_N_EDGES = 20_000
"""Edges that are read at a time."""


class Block(NamedTuple):
    """Vertices next to each other, with all their edges."""

    end: str
    """The column of the edges that says whose each of them is."""
    first: int
    stop: int
    """The vertices are ``first`` to ``stop - 1``; not each need have an edge."""
    edges: pa.Table
    """Sorted by ``end``."""

    @property
    def owners(self) -> Ints:
        """Whose each edge is, counted from ``first``."""
        found: Ints = self.edges.column(self.end).to_numpy() - self.first
        return found

    def of_kind(self, kind: str) -> "Block":
        """The block with the edges of one kind only."""
        return self._replace(edges=self.edges.filter(pc.equal(self.edges.column(C.KIND), kind)))

    def strongest(self, n: int, *strength: Ints) -> "Block":
        """The block with at most ``n`` edges a vertex.

        Parameters
        ----------
        strength
            What the edges of a vertex are ordered by, ascending, the first before the second;
            without any they stay as they are.
        """
        owners = self.owners
        order = np.lexsort((*reversed(strength), owners))
        position = np.arange(len(owners)) - self.offsets[owners]
        return self._replace(edges=self.edges.take(order[position < n]))

    @property
    def offsets(self) -> Ints:
        """Where the edges of each vertex begin, and end: ``(stop - first + 1,)``."""
        return offsets_of(np.bincount(self.owners, minlength=self.stop - self.first))

    def lists(self, values: pa.Array) -> pa.ListArray:
        """A list a vertex, of a value for each edge."""
        return pa.ListArray.from_arrays(self.offsets, values)


def map_blocks(
    edges: DataFrame,
    end: str,
    span: tuple[int, int],
    vertices: Path,
    make: Callable[[Block, pa.Table], pa.RecordBatch],
    schema: str,
) -> DataFrame:
    """What ``make`` makes of blocks of all vertices, in their order.

    Parameters
    ----------
    edges
        Materialized, sorted by ``end``; those of a vertex stand in one file.
    end
        The column that says whose an edge is.
    span
        The first vertex, and the one after the last.
    vertices
        The file of `recgraph.spark.scratch.map_table` that ``make`` is given beside each block.
    schema
        What ``make`` gives.
    """
    files = _spans(edges, end, span)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number in (number for batch in batches for number in batch.column(0).to_pylist()):
            path, first, stop = files[number]
            table = map_table(vertices)
            for block in _blocks(path, end, first, stop):
                yield make(block, table)

    numbers = edges.sparkSession.range(0, len(files), 1, len(files))
    return numbers.mapInArrow(run, schema)


def _spans(edges: DataFrame, end: str, span: tuple[int, int]) -> list[tuple[str, int, int]]:
    """Each file with rows, its first vertex, and the one after its last."""
    files = [file for file in files_of(edges) if pq.read_metadata(file).num_rows]
    files = files or files_of(edges)[:1]
    starts = [span[0], *(_first(file, end) for file in files[1:])]
    return list(zip(files, starts, [*starts[1:], span[1]], strict=True))


def _first(file: str, column: str) -> int:
    batch = next(pq.ParquetFile(file).iter_batches(batch_size=1, columns=[column]))
    return int(batch.column(0)[0].as_py())


def _blocks(path: str, end: str, first: int, stop: int) -> Iterator[Block]:
    """The blocks of a file; the vertex that a batch breaks off in waits for the next."""
    with pq.ParquetFile(path) as file:
        rest = file.schema_arrow.empty_table()
        for batch in file.iter_batches(batch_size=_N_EDGES):
            table = pa.concat_tables([rest, pa.Table.from_batches([batch])])
            vertices = table.column(end).to_numpy()
            assert np.all(vertices[1:] >= vertices[:-1]), f"{path} is not sorted by {end}"
            n = int(np.searchsorted(vertices, vertices[-1]))
            if n:
                yield Block(end, first, int(vertices[-1]), table.slice(0, n))
                first = int(vertices[-1])
            rest = table.slice(n)
        yield Block(end, first, stop, rest)
