"""All signals -> top-N lists for every user, in blocks of users.

Each Spark task scores a block of users against all items in NumPy, and holds no more than
``max_score_block_mb`` of scores at once.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from recgraph import blend
from recgraph.blend import Coefficients
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.metrics import Floats64
from recgraph.model import Floats, Ints, TopK, mask, top_k
from recgraph.spark.blend import SEEN, Model, of_lists, users_of, with_signals
from recgraph.spark.blocks import blocks, ragged, rows_per_block
from recgraph.spark.scratch import materialize
from recgraph.walk import Shares, top_shares

LISTS = (
    "user_index int, item_index int, rank int, score double, als double, walk double, "
    "repeat double, source string, because array<struct<item_index: int, share: double>>"
)
"""What `recommend_top_k` gives."""

_N_REASONS = 3
"""Bought items that a row names, at most."""
_PARTS = (blend.ALS, blend.WALK, blend.REPEAT)


def recommend_top_k(model: Model, settings: Settings) -> DataFrame:
    """The k best items of every user: `LISTS`, with rank from 1.

    The score is the sum of its parts, each null where it is switched off; ``source`` names those
    that are not 0. ``because`` are the bought items with the largest shares of the part ``walk``.
    With ``settings.exclude_seen`` the items that users bought are left out of their lists; one
    that a user only viewed may be recommended. Who bought nearly everything gets a shorter list.
    """
    broadcast = model.indexed.interactions.sparkSession.sparkContext.broadcast(model.side)
    n_rows = rows_per_block(model.indexed.n_items, settings)
    k, exclude_seen = settings.k, settings.exclude_seen

    def recommend(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        side = broadcast.value
        counts = of_lists(side.coefficients, exclude_seen=exclude_seen)
        for batch in blocks(batches, n_rows):
            users = users_of(batch, side)
            scores = blend.score(users, side.items, counts)
            if exclude_seen:
                mask(scores, ragged(batch, SEEN))
            top = top_k(scores, k)
            parts = blend.parts_at(users, side.items, counts, top.items)
            because = _because(users, side.items, counts, top.items)
            yield _list_rows(batch.column(C.INDEX).to_numpy(), top, parts, because)

    return materialize(with_signals(model).mapInArrow(recommend, LISTS))


def _because(
    users: blend.Users, items: blend.Items, coefficients: Coefficients, lists: Ints
) -> Shares:
    """The bought items that led to each listed one, with their shares of the score."""
    if not coefficients.walk or users.steps is None or items.neighbours is None:
        return Shares(np.full((*lists.shape, 0), -1), np.zeros((*lists.shape, 0), np.float32))
    found = top_shares(users.steps, items.neighbours, lists, _N_REASONS)
    return found._replace(shares=found.shares * np.float32(coefficients.walk))


def _list_rows(users: Ints, top: TopK, parts: dict[str, Floats], because: Shares) -> pa.RecordBatch:
    """A row for each place that is taken."""
    at = rows, positions = np.nonzero(top.items >= 0)
    score, exact = _exact(top.scores[at], {name: part[at] for name, part in parts.items()})
    columns = {
        C.USER_INDEX: pa.array(users[rows], pa.int32()),
        C.ITEM_INDEX: pa.array(top.items[at], pa.int32()),
        C.RANK: pa.array(positions + 1, pa.int32()),
        C.SCORE: pa.array(score),
        **{name: pa.array(exact.get(name, [None] * len(rows)), pa.float64()) for name in _PARTS},
        C.SOURCE: pa.array(_sources(exact, len(rows)), pa.string()),
        C.BECAUSE: _reasons(because.items[at], because.shares[at]),
    }
    return pa.RecordBatch.from_pydict(columns)


def _exact(score: Floats, parts: dict[str, Floats]) -> tuple[Floats64, dict[str, Floats64]]:
    """Scores and parts in 64 bits, where they add up: ALS takes the rounding of 32 bits.

    The order of a list is that of the scores in 32 bits, so these stay as they are.
    """
    whole = score.astype(np.float64)
    exact = {name: part.astype(np.float64) for name, part in parts.items()}
    if blend.ALS in exact:
        exact[blend.ALS] = whole - sum(part for name, part in exact.items() if name != blend.ALS)
    return whole, exact


def _sources(parts: dict[str, Floats64], n_rows: int) -> list[str]:
    """The names of the parts that are not 0 in each row, such as ``als+walk``."""
    is_in = [(name, (values != 0).tolist()) for name, values in parts.items()]
    found = ("+".join(name for name, rows in is_in if rows[row]) for row in range(n_rows))
    return [names or "+".join(parts) for names in found]


def _reasons(items: Ints, shares: Floats) -> pa.ListArray:
    """The items that are there, with their shares, as a list a row."""
    is_there = items >= 0
    offsets = np.concatenate(([0], np.cumsum(is_there.sum(axis=1)))).astype(np.int32)
    values = pa.StructArray.from_arrays(
        [pa.array(items[is_there], pa.int32()), pa.array(shares[is_there], pa.float64())],
        names=[C.ITEM_INDEX, C.SHARE],
    )
    return pa.ListArray.from_arrays(offsets, values)
