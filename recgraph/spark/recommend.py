"""All signals -> top-N lists for every user, in blocks of users.

Each Spark task scores a block of users against all items in NumPy (`recgraph.scores`).
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph import blend, fallback, lists
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.model import Floats, Ints, offsets_of
from recgraph.recommend import Made, Pool, Shelf, make_lists
from recgraph.spark.blend import RATINGS, SEEN, Model, Side, of_lists, users_of
from recgraph.spark.blocks import blocks, csr, rows_per_block
from recgraph.spark.scratch import materialize

LISTS = (
    "user_index int, item_index int, rank int, score double, als double, walk double, "
    "repeat double, content double, source string, "
    "because array<struct<item_index: int, share: double>>"
)
"""What `recommend_top_k` gives."""

_POPULAR_LENGTH = 20
"""Popular lists hold so many times k items: most users have some of them already."""


def shelf_of(model: Model, settings: Settings) -> Shelf:
    """The rules of the settings, and what is popular in each department, lately first."""
    products, n_items = model.indexed.products, model.indexed.n_items
    rules = lists.rules_of(products, n_items, settings)
    departments = lists.codes_of([each.department for each in products] or [None] * n_items)
    popularity = _popularity(model, settings)
    n = _POPULAR_LENGTH * settings.k
    popular = fallback.popular_lists(popularity, departments, n, rules.hidden)
    items = pool_of(model, settings)
    pool = None if items is None else Pool(items, model.side.items.factors[items])
    return Shelf(rules, departments, popular, pool)


def pool_of(model: Model, settings: Settings) -> Ints | None:
    """The items that lists are chosen from; None, all."""
    is_explicit = settings.feedback == "explicit"
    return lists.pool_of(model.buyers.ever, settings.max_listed_items) if is_explicit else None


def _popularity(model: Model, settings: Settings) -> Floats:
    """How popular each item is: by who bought it or, of explicit feedback, by how it is rated."""
    if settings.feedback == "implicit":
        return fallback.popularity_of(model.buyers.ever, model.buyers.lately)
    rows = model.indexed.interactions.groupBy(C.ITEM_INDEX).agg(F.sum(C.RATING).alias("sum"))
    summed = rows.toArrow()
    sums = np.zeros(model.indexed.n_items, np.float64)
    sums[summed.column(C.ITEM_INDEX).to_numpy()] = summed.column("sum").to_numpy()
    return fallback.bayesian_average(model.buyers.ever, sums, settings.rating_prior)


def recommend_top_k(model: Model, settings: Settings, shelf: Shelf | None = None) -> DataFrame:
    """The k best items of every user: `LISTS`, with rank from 1.

    The score is the sum of its parts, each null where it is switched off; ``source`` names those
    that are not 0, or the link of the fallback chain that made the row. ``because`` are the bought
    items with the largest shares of the part ``walk`` or, without one, of ``content``.
    With ``settings.exclude_seen`` the items that users bought are left out of their lists; one
    that a user only viewed may be recommended. Who bought nearly everything gets a shorter list.
    """
    context = model.indexed.interactions.sparkSession.sparkContext
    shelf = shelf or shelf_of(model, settings)
    broadcast = context.broadcast((model.side, shelf))
    counts = of_lists(model.side.coefficients, exclude_seen=settings.exclude_seen)
    n_rows = rows_per_block(model.indexed.n_items, counts, settings)
    exclude_seen = settings.exclude_seen

    def recommend(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        side, shelf = broadcast.value
        for batch in blocks(batches, n_rows):
            yield _lists_of(batch, side, shelf, exclude_seen=exclude_seen)

    return materialize(model.users.mapInArrow(recommend, LISTS))


def _lists_of(
    batch: pa.RecordBatch, side: Side, shelf: Shelf, *, exclude_seen: bool
) -> pa.RecordBatch:
    """The lists of a block of the rows of `Model.users`."""
    users = users_of(batch, side)
    counts = of_lists(side.coefficients, exclude_seen=exclude_seen)
    bought = csr(batch, SEEN, RATINGS, len(side.items.factors))
    made = make_lists(users, bought, side.items, counts, shelf, exclude_seen=exclude_seen)
    return _list_rows(batch.column(C.INDEX).to_numpy(), made)


def _list_rows(users: Ints, made: Made) -> pa.RecordBatch:
    """A row for each place that is taken."""
    at = rows, positions = np.nonzero(made.filled.top.items >= 0)
    is_other = made.filled.sources[at] != np.array(None)
    blank = pa.nulls(len(rows), pa.float64())
    columns = {
        C.USER_INDEX: pa.array(users[rows], pa.int32()),
        C.ITEM_INDEX: pa.array(made.filled.top.items[at], pa.int32()),
        C.RANK: pa.array(positions + 1, pa.int32()),
        C.SCORE: pa.array(made.scores[at]),
        **{
            name: pa.array(made.parts[name][at], mask=is_other) if name in made.parts else blank
            for name in blend.PARTS
        },
        C.SOURCE: pa.array(made.sources()[at], pa.string()),
        C.BECAUSE: _reasons(made.because.items[at], made.because.shares[at]),
    }
    return pa.RecordBatch.from_pydict(columns)


def _reasons(items: Ints, shares: Floats) -> pa.ListArray:
    """The items that are there, with their shares, as a list a row."""
    is_there = items >= 0
    offsets = offsets_of(is_there.sum(axis=1))
    values = pa.StructArray.from_arrays(
        [pa.array(items[is_there], pa.int32()), pa.array(shares[is_there], pa.float64())],
        names=[C.ITEM_INDEX, C.SHARE],
    )
    return pa.ListArray.from_arrays(offsets, values)
