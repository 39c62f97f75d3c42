"""Edges between users and items -> the PageRank of both, of any number of edges.

GraphX, which ranks a GraphFrame, holds each edge in both directions in the heap of the JVM, more
than once. Here edges stay on disk, a row a user; of the items there are 16 bytes each on the driver
and in the workers.

Every edge leads from one side to the other. So the ranks of the items after a sweep follow from
those of the users before it, and these from those of the items a sweep earlier: a pass over the
users is two sweeps, and nothing of a user is kept between passes. Two chains of sweeps never meet,
that of the items at even sweeps and that at odd ones; a pass takes both along.

References
----------
Page, Brin, Motwani and Winograd (1999), The PageRank citation ranking.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.metrics import Floats64
from recgraph.spark.blocks import by_item, lists_by_user, ragged
from recgraph.spark.scratch import materialize

_ITEMS, _N, _EVEN, _ODD = "items", "n", "even", "odd"
_UNITS = 2**32
"""So many to 1: sums are of whole numbers, the same in whatever order tasks end."""
_SUMS = f"{C.ITEM_INDEX} int, {_EVEN} long, {_ODD} long"
_RANKS = f"{C.ID} long, {C.PAGERANK} double"


class _Sweeps(NamedTuple):
    """The items after an even number of sweeps, and after one more."""

    shares: Floats64
    """What each item gives along an edge, ``(n_items, 2)``."""
    reset: float

    def of_users(self, batch: pa.RecordBatch) -> Floats64:
        """The ranks of the users of a batch, each a sweep later, ``(n_users, 2)``."""
        linked = ragged(batch, _ITEMS)
        # Everybody has an edge, so that no two starts are the same.
        sums = np.add.reduceat(self.shares[linked.items], linked.offsets[:-1])
        found: Floats64 = self.reset + (1 - self.reset) * sums
        return found


def pagerank(
    edges: DataFrame, *, n_users: int, n_items: int, reset: float, n_sweeps: int
) -> DataFrame:
    """id, pagerank: of every user and item, as GraphX has it; the mean is 1.

    Parameters
    ----------
    edges
        src (a user, from 0), dst (an item, from ``n_users``); each counts in both directions.
    reset
        The probability to begin anew, at any user or item.
    n_sweeps
        Even.
    """
    item = (F.col(C.DST) - n_users).cast("int").alias(C.ITEM_INDEX)
    pairs = edges.select(F.col(C.SRC).alias(C.USER_INDEX), item)
    linked = materialize(lists_by_user(pairs, {C.ITEM_INDEX: _ITEMS}))
    degrees, ranks = _first(linked, n_items, reset)
    for _ in range(n_sweeps // 2):
        sweeps = _Sweeps(ranks / np.maximum(degrees, 1)[:, None], reset)
        ranks = _two_later(linked, sweeps)
    n, n_linked = n_users + n_items, linked.count() + np.count_nonzero(degrees)
    # Of those with edges the mean stays 1; others keep what begins at them.
    scale = n / (n_linked + (n - n_linked) * reset)
    users = _users_later(linked, sweeps, scale)
    spark = edges.sparkSession
    everybody = spark.range(n_users).join(users, C.ID, "left").fillna(reset * scale, [C.PAGERANK])
    of_items = pa.table({C.ID: n_users + np.arange(n_items), C.PAGERANK: scale * ranks[:, 0]})
    return everybody.unionByName(spark.createDataFrame(of_items))


def _first(linked: DataFrame, n_items: int, reset: float) -> tuple[Floats64, Floats64]:
    """The edges of each item, and its rank before the first sweep and after it."""
    given = F.round(_UNITS / F.size(_ITEMS)).cast("long").alias(_ODD)
    each = linked.select(F.explode(_ITEMS).alias(C.ITEM_INDEX), given)
    totals = each.groupBy(C.ITEM_INDEX).agg(F.count("*").alias(_N), F.sum(_ODD).alias(_ODD))
    degrees, sums = by_item(totals, [_N, _ODD], n_items)
    return degrees, np.stack([np.ones(n_items), reset + (1 - reset) * sums / _UNITS], axis=1)


def _two_later(linked: DataFrame, sweeps: _Sweeps) -> Floats64:
    """The ranks of the items two sweeps later, ``(n_items, 2)``."""
    known = linked.sparkSession.sparkContext.broadcast(sweeps)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums = np.zeros(known.value.shares.shape, np.int64)
        for batch in batches:
            items = ragged(batch, _ITEMS)
            lengths = np.diff(items.offsets)
            given = known.value.of_users(batch) / lengths[:, None]
            units = np.rint(given * _UNITS).astype(np.int64)
            np.add.at(sums, items.items, np.repeat(units, lengths, axis=0))
        reached = np.flatnonzero(sums[:, 0]).astype(np.int32)
        even, odd = sums[reached].T
        yield pa.RecordBatch.from_pydict({C.ITEM_INDEX: reached, _EVEN: even, _ODD: odd})

    totals = linked.mapInArrow(run, _SUMS).groupBy(C.ITEM_INDEX)
    sums = totals.agg(F.sum(_EVEN).alias(_EVEN), F.sum(_ODD).alias(_ODD))
    found = by_item(sums, [_EVEN, _ODD], len(sweeps.shares))
    return sweeps.reset + (1 - sweeps.reset) * np.stack(found, axis=1) / _UNITS


def _users_later(linked: DataFrame, sweeps: _Sweeps, scale: float) -> DataFrame:
    """The ranks of the users a sweep after the odd one, times ``scale``: `_RANKS`."""
    known = linked.sparkSession.sparkContext.broadcast(sweeps)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = batch.column(C.INDEX).cast(pa.int64())
            ranks = scale * known.value.of_users(batch)[:, 1]
            yield pa.RecordBatch.from_pydict({C.ID: ids, C.PAGERANK: ranks})

    return linked.mapInArrow(run, _RANKS)
