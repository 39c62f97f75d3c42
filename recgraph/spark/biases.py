"""Ratings -> mean, biases and what they leave over: `recgraph.biases` on Spark, at any size.

Ratings and users stay distributed; of the items there are 8 bytes each on the driver and in the
workers. An iteration is one pass over the ratings, a row a user: the user's bias is found where the
ratings are, and what comes out are the sums of the items.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.metrics import Floats64
from recgraph.model import Ints
from recgraph.spark.blocks import by_item, lists_by_user, ragged
from recgraph.spark.scratch import materialize

USER_BASE = "user_base"
"""Column of mean and user's bias together."""
_ITEMS, _RATINGS, _SUM = "items", "ratings", "sum"
_UNITS = 2**24
"""So many to 1: sums are of whole numbers, the same in whatever order tasks end."""
_SUMS = f"{C.ITEM_INDEX} int, {_SUM} long"
_BASES = f"{C.INDEX} int, {USER_BASE} float"
_RESIDUALS = f"{C.USER_INDEX} int, {C.ITEM_INDEX} int, {C.RATING} float"


class Rest(NamedTuple):
    """Mean and biases, and what they leave over of each rating."""

    mean: float
    user_bases: DataFrame
    """index, `USER_BASE`: float32."""
    item_biases: Floats64
    """``(n_items,)``."""
    residuals: DataFrame
    """user_index, item_index, rating: materialized, by user."""


class _Known(NamedTuple):
    """What a pass knows before it looks at a user."""

    mean: float
    items: Floats64
    """The biases of the items."""
    damping: float


class _Rated(NamedTuple):
    """A block of users with their ratings, an element a rating."""

    users: Ints
    """Index of each user, ``(n_users,)``."""
    rows: Ints
    """Which user of the block each rating is of."""
    items: Ints
    left: Floats64
    """Each rating without the mean and the bias of its item."""
    biases: Floats64
    """The bias of each user, ``(n_users,)``."""


def take_biases(
    interactions: DataFrame, n_items: int, *, damping: float, n_iterations: int = 10
) -> Rest:
    """What `recgraph.biases.fit_biases` and `residuals` give, of any number of ratings.

    Parameters
    ----------
    interactions
        user_index, item_index, rating; a row a pair.
    """
    lists = lists_by_user(interactions, {C.ITEM_INDEX: _ITEMS, C.RATING: _RATINGS})
    rated = materialize(lists.sortWithinPartitions(C.INDEX))
    row = interactions.agg(F.avg(F.col(C.RATING).cast("double"))).first()
    assert row is not None  # an aggregate without groups has one row
    mean = float(row[0])
    rest = F.round((F.col(C.RATING).cast("double") - mean) * _UNITS).cast("long")
    totals = interactions.groupBy(C.ITEM_INDEX).agg(
        F.count("*").alias("n"), F.sum(rest).alias(_SUM)
    )
    counts, sums = by_item(totals, ["n", _SUM], n_items)
    biases = sums / _UNITS / (counts + damping)
    for _ in range(n_iterations - 1):
        parts = _in_blocks(rated, _Known(mean, biases, damping), _sums_of, _SUMS)
        totals = parts.groupBy(C.ITEM_INDEX).agg(F.sum(_SUM).alias(_SUM))
        (sums,) = by_item(totals, [_SUM], n_items)
        biases = sums / _UNITS / (counts + damping)
    known = _Known(mean, biases, damping)
    bases = _in_blocks(rated, known, _bases_of, _BASES)
    residuals = materialize(_in_blocks(rated, known, _residuals_of, _RESIDUALS))
    return Rest(mean, bases, biases, residuals)


def _in_blocks(
    rated: DataFrame,
    known: _Known,
    found_of: Callable[[Iterator[_Rated], _Known], Iterator[pa.RecordBatch]],
    schema: str,
) -> DataFrame:
    """What a function finds in the blocks of users of a task."""
    broadcast = rated.sparkSession.sparkContext.broadcast(known)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        known = broadcast.value
        yield from found_of((_rated_of(batch, known) for batch in batches), known)

    return rated.mapInArrow(run, schema)


def _rated_of(batch: pa.RecordBatch, known: _Known) -> _Rated:
    items = ragged(batch, _ITEMS)
    ratings = batch.column(_RATINGS).flatten().to_numpy(zero_copy_only=False)
    rows, n_users = items.rows(), batch.num_rows
    left = ratings - known.mean - known.items[items.items]
    biases = np.bincount(rows, left, n_users) / (
        np.bincount(rows, minlength=n_users) + known.damping
    )
    return _Rated(batch.column(C.INDEX).to_numpy(), rows, items.items, left, biases)


def _sums_of(blocks: Iterator[_Rated], known: _Known) -> Iterator[pa.RecordBatch]:
    """What the items of a task's users are rated above mean and user's bias, in `_UNITS`."""
    sums, is_rated = np.zeros(len(known.items), np.int64), np.zeros(len(known.items), bool)
    for block in blocks:
        above = block.left + known.items[block.items] - block.biases[block.rows]
        np.add.at(sums, block.items, np.rint(above * _UNITS).astype(np.int64))
        is_rated[block.items] = True
    items = np.flatnonzero(is_rated).astype(np.int32)
    yield pa.RecordBatch.from_pydict({C.ITEM_INDEX: items, _SUM: sums[items]})


def _bases_of(blocks: Iterator[_Rated], known: _Known) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        bases = (known.mean + block.biases).astype(np.float32)
        yield pa.RecordBatch.from_pydict({C.INDEX: block.users, USER_BASE: bases})


def _residuals_of(blocks: Iterator[_Rated], known: _Known) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        columns = {
            C.USER_INDEX: block.users[block.rows],
            C.ITEM_INDEX: block.items,
            C.RATING: (block.left - block.biases[block.rows]).astype(np.float32),
        }
        yield pa.RecordBatch.from_pydict(columns)
