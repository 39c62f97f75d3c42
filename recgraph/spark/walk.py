"""Interactions -> the neighbours of every item by the graph walk, in blocks of items.

The two halves of the walk are made on the driver and broadcast: 12 bytes for each of the two and
each interaction, on the driver and in every Python worker. Spark tasks then multiply blocks of
items and keep the strongest, so that the full product, which may be hundreds of times as large, is
nowhere held. When interactions no longer fit in a worker, the same product is a join of the two
halves on the user, a group by pair of items and a window: slower, and without a bound on the data.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from scipy import sparse

from recgraph import walk
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.model import Floats, Ints, Matrix
from recgraph.spark.blocks import bought
from recgraph.spark.model import Indexed
from recgraph.spark.scratch import materialize
from recgraph.walk import Steps

_MAX_ENTRIES = 5_000_000
"""Entries of the full product that one task holds at once: 12 bytes each."""
NEIGHBOURS = "item_index int, neighbour_index int, weight float"
"""What `item_neighbours` gives."""


class Walk(NamedTuple):
    """What the walk knows of the items."""

    neighbours: Matrix | None
    """float32 ``(n_items, n_items)`` on the driver: 8 bytes for each of the ``walk_neighbours`` of
    every item, and again in every worker that makes lists. None when the walk is off."""
    item_sums: Floats
    """Sums of the ratings that the first step divides by, ``(n_items,)``."""
    rows: DataFrame
    """The neighbours as a frame, `NEIGHBOURS`."""


def fit_walk(indexed: Indexed, settings: Settings) -> Walk:
    """The strongest neighbours of every item, by what was bought."""
    spark = indexed.interactions.sparkSession
    first, last = _ratings(indexed)
    steps = walk.item_steps(first, last, exponent=settings.walk_exponent)
    rows = item_neighbours(spark, steps, settings.walk_neighbours)
    sums = np.asarray(first.sum(axis=0), np.float32).ravel()
    return Walk(neighbour_matrix(rows, indexed.n_items), sums, rows)


def no_walk(indexed: Indexed, *, with_steps: bool = False) -> Walk:
    """A walk that is switched off, with the sums that first steps need where others take them."""
    rows = indexed.interactions.sparkSession.createDataFrame([], NEIGHBOURS)
    sums = _ratings(indexed)[0].sum(axis=0) if with_steps else np.empty(0)
    return Walk(None, np.asarray(sums, np.float32).ravel(), rows)


def _ratings(indexed: Indexed) -> tuple[Matrix, Matrix]:
    """The ratings of the first and of the last step, as logarithms, ``(n_users, n_items)``."""
    names = (C.USER_INDEX, C.ITEM_INDEX, C.RATING, C.RECENT_RATING)
    table = bought(indexed).select(*names).toArrow()
    users, items, *ratings = (table.column(name).to_numpy() for name in names)
    shape = indexed.n_users, indexed.n_items
    first, last = (
        sparse.csr_matrix((np.log1p(each), (users, items)), shape=shape) for each in ratings
    )
    return first, last


def item_neighbours(spark: SparkSession, steps: Steps, n_neighbours: int) -> DataFrame:
    """item_index, neighbour_index, weight: the strongest neighbours of every item.

    Parameters
    ----------
    steps
        Both halves of the walk, as `recgraph.walk.item_steps` makes them.
    """
    starts = [int(items[0]) for items in walk.item_blocks(steps, _MAX_ENTRIES)]
    stops = [*starts[1:], steps.back.shape[0]]
    halves = spark.sparkContext.broadcast(steps)

    def multiply(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for block in (row for batch in batches for row in batch.column(C.ID).to_pylist()):
            items = np.arange(starts[block], stops[block])
            yield _rows(items, walk.strongest(halves.value, items, n_neighbours))

    blocks = spark.range(0, len(starts), 1, len(starts))
    return materialize(blocks.mapInArrow(multiply, NEIGHBOURS))


def _rows(items: Ints, neighbours: Matrix) -> pa.RecordBatch:
    """A row an entry; row r of the matrix is of ``items[r]``."""
    columns = {
        C.ITEM_INDEX: pa.array(np.repeat(items, np.diff(neighbours.indptr)), pa.int32()),
        C.NEIGHBOUR_INDEX: pa.array(neighbours.indices, pa.int32()),
        C.WEIGHT: pa.array(neighbours.data, pa.float32()),
    }
    return pa.RecordBatch.from_pydict(columns)


def neighbour_matrix(rows: DataFrame, n_items: int) -> Matrix:
    """Rows of `NEIGHBOURS` as one matrix on the driver."""
    table = rows.toArrow()
    names = (C.ITEM_INDEX, C.NEIGHBOUR_INDEX, C.WEIGHT)
    items, neighbours, weights = (table.column(name).to_numpy() for name in names)
    return sparse.csr_matrix((weights, (items, neighbours)), shape=(n_items, n_items))
