"""Frames with a row a user -> blocks of users in NumPy, as a Spark task scores them.

A block holds as many users as `rows_per_block` allows, so that what is added to the factors'
products fits in ``max_score_block_mb``.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph import blend
from recgraph.blend import Coefficients
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.metrics import Floats64
from recgraph.model import Floats, Matrix, Ragged, offsets_of
from recgraph.repeats import AGAIN_DAYS

if TYPE_CHECKING:  # fits work on blocks of users as well
    from recgraph.spark.model import Indexed

_MICROS_A_DAY = 86_400_000_000
_BYTES_A_SCORE = 24
"""At most, where walk, repeats or content add to it: twice in a sparse matrix, by rows and columns.
"""
_ALL_ROWS = 2**31
"""More than a batch has."""


def bought(indexed: "Indexed") -> DataFrame:
    """The interactions that are purchases, or ratings, and not only views."""
    return indexed.interactions.where(C.IS_BOUGHT)


class Buyers(NamedTuple):
    """Who bought each item; float32 ``(n_items,)``."""

    ever: Floats
    """How many users."""
    lately: Floats
    """Those of them whose latest purchase of it is in the last ``recent_days`` of training."""
    before: Floats
    """What `recgraph.repeats.again` takes."""
    kept: Floats
    """The other half of it."""


def count_buyers(indexed: "Indexed", settings: Settings) -> Buyers:
    """Who bought each item, ever and lately, and how much of it again."""
    all_bought = bought(indexed)
    newest = indexed.interactions.agg(F.max(C.LAST_AT).alias("newest"))
    age = F.unix_micros("newest") - F.unix_micros(C.LAST_AT)
    is_recent = (age < settings.recent_days * _MICROS_A_DAY).cast("int")
    kept = F.when(age < AGAIN_DAYS * _MICROS_A_DAY, F.col(C.EARLY_RATING)).otherwise(0.0)
    counted = (
        all_bought.crossJoin(newest)
        .groupBy(C.ITEM_INDEX)
        .agg(
            F.count("*").alias("ever"),
            F.sum(is_recent).alias("lately"),
            F.sum(C.EARLY_RATING).alias("before"),
            F.sum(kept).alias("kept"),
        )
        .toArrow()
    )
    found = Buyers(*(np.zeros(indexed.n_items, np.float32) for _ in Buyers._fields))
    for name, counts in found._asdict().items():
        counts[counted.column(C.ITEM_INDEX).to_numpy()] = counted.column(name).to_numpy()
    return found


def lists_by_user(pairs: DataFrame, columns: Mapping[str, str]) -> DataFrame:
    """One row a user: index, and a list for each column, all in the order of the first.

    Parameters
    ----------
    columns
        Column of the pairs -> name of its list; the item's index comes first.
    """
    pair = F.sort_array(F.collect_list(F.struct(*columns))).alias("pairs")
    grouped = pairs.groupBy(F.col(C.USER_INDEX).alias(C.INDEX)).agg(pair)
    lists = (F.col(f"pairs.{column}").alias(name) for column, name in columns.items())
    return grouped.select(C.INDEX, *lists)


def with_lists(users: DataFrame, lists: DataFrame, how: str = "left") -> DataFrame:
    """The users with their lists; empty ones where a user has none."""
    empty = {
        field.name: F.coalesce(field.name, F.array().cast(field.dataType))
        for field in lists.schema
        if field.name != C.INDEX
    }
    return users.join(lists, C.INDEX, how).withColumns(empty)


def by_item(rows: DataFrame, names: list[str], n_items: int) -> list[Floats64]:
    """Columns of a row an item as arrays ``(n_items,)`` on the driver; 0 where there is no row."""
    table = rows.toArrow()
    items = table.column(C.ITEM_INDEX).to_numpy()
    found = [np.zeros(n_items) for _ in names]
    for each, name in zip(found, names, strict=True):
        each[items] = table.column(name).to_numpy()
    return found


def rows_per_block(n_items: int, parts: Coefficients, settings: Settings) -> int:
    """Users whose scores of all items fit in ``max_score_block_mb``, at least one.

    The products of factors are never there all at once: where ALS is alone, any number fits.

    Parameters
    ----------
    parts
        Those that are on are what scores are made of.
    """
    if blend.source_of(parts) == blend.ALS:
        return _ALL_ROWS
    return int(max(1, settings.max_score_block_mb * 2**20 // (_BYTES_A_SCORE * n_items)))


def blocks(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at most ``n_rows``."""
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def matrix(batch: pa.RecordBatch, column: str) -> Floats:
    """A list column of equal lengths as one float32 array."""
    flat = batch.column(column).flatten().to_numpy(zero_copy_only=False)
    found: Floats = flat.astype(np.float32, copy=False).reshape(batch.num_rows, -1)
    return found


def ragged(batch: pa.RecordBatch, column: str) -> Ragged:
    """A list column as ragged rows."""
    lists = batch.column(column)
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    return Ragged(offsets_of(lengths), lists.flatten().to_numpy())


def csr(batch: pa.RecordBatch, items: str, values: str, n_items: int) -> Matrix:
    """Two list columns as a matrix ``(n_rows, n_items)``: which items, and the value of each."""
    data = batch.column(values).flatten().to_numpy(zero_copy_only=False)
    return ragged(batch, items).matrix(n_items, data)
