"""What is popular -> the end of a list that the user's own signals leave empty.

A row of which no part of the score says anything is no recommendation but the accident of an index.
It gives way to what is popular in the user's segment, and then to what is popular at all, with a
score of 0, no parts, and a source that says so. Masks and the cap per category hold here, too;
where nothing is left a list is shorter than k. The segment of a user is the department of most of
what the user bought; somebody unknown has none, unless one is asked for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recgraph.columns import Columns as C
from recgraph.lists import UNKNOWN, Codes, Rules, allowed
from recgraph.metrics import Floats64
from recgraph.model import Floats, Ints, Matrix, Ragged, TopK

POPULAR_IN_SEGMENT, POPULAR = "popular_in_segment", "popular"
"""Sources of the rows that no part of the score made."""


class Popular(NamedTuple):
    """Popular items, the most popular first, in rows of one length; -1 where there are fewer."""

    segments: list[str]
    items: Ints
    """``(n_segments + 1, n)``: a row a segment, and one of all items."""

    def of(self, segment: int) -> Ints:
        """The items of a segment by its position, or of all by `UNKNOWN`, without the -1."""
        row: Ints = self.items[segment]
        return row[row >= 0]


class Filled(NamedTuple):
    """Lists, and what made the rows that the score did not; both of shape ``(n_users, k)``."""

    top: TopK
    sources: NDArray[np.object_]
    """`POPULAR_IN_SEGMENT`, `POPULAR`, or None for a row of the score."""


def popularity_of(ever: Floats, lately: Floats) -> Floats:
    """How popular each item is: who bought it lately, and of equal ones who ever did."""
    result: Floats = lately + ever / (ever.max(initial=0) + 1)
    return result


def bayesian_average(counts: Floats, sums: Floats64, prior: float) -> Floats:
    """The average rating of each item, drawn to the mean of all by ``prior`` ratings of it.

    ``(prior * mean + sum) / (prior + count)``: the posterior mean of ratings around an item's own
    level, whose levels lie around the mean. 0 for an item without a rating.

    Parameters
    ----------
    counts, sums
        Ratings of each item, and what they add up to, ``(n_items,)``.
    prior
        How many ratings the mean counts; 0 leaves the raw averages.
    """
    mean = sums.sum(dtype=np.float64) / max(1.0, counts.sum(dtype=np.float64))
    averages = (prior * mean + sums) / np.maximum(prior + counts, 1e-9)
    return np.where(counts > 0, averages, 0.0).astype(np.float32)


def popular_lists(popularity: Floats, segments: Codes, n: int, hidden: Ints | None) -> Popular:
    """The n most popular items of each segment, and of all; nobody's items are not popular."""
    order = np.argsort(-popularity, kind="stable")
    order = order[popularity[order] > 0]
    if hidden is not None:
        order = order[~np.isin(order, hidden)]
    found = np.full((len(segments.names) + 1, n), -1, np.int64)
    for row in range(len(segments.names)):
        best = order[segments.items[order] == row][:n]
        found[row, : len(best)] = best
    found[-1, : len(order[:n])] = order[:n]
    return Popular(segments.names, found)


def segments_of(bought: Matrix, segments: Codes) -> Ints:
    """The segment of most of each user's items; of equal ones the first; `UNKNOWN` without any.

    Parameters
    ----------
    bought
        ``(n_users, n_items)``; an entry is an item that the user bought.
    """
    n_users, n_codes = bought.shape[0], len(segments.names) + 1
    rows = Ragged.of(bought).rows()
    codes = rows * n_codes + segments.items[bought.indices] + 1  # UNKNOWN is the first
    counts = np.bincount(codes, minlength=n_users * n_codes).reshape(n_users, n_codes)
    known = counts[:, 1:]
    if not known.size:
        return np.full(n_users, UNKNOWN)
    return np.where(known.any(axis=1), known.argmax(axis=1), UNKNOWN)


def fill(
    top: TopK,
    parts: Mapping[str, Floats],
    segments: Ints,
    popular: Popular,
    seen: Matrix | None,
    rules: Rules,
) -> Filled:
    """The lists with popular items wherever no part of the score says anything.

    Parameters
    ----------
    parts
        `recgraph.blend.Signals.parts_at` of these lists.
    segments
        `segments_of` the users.
    seen
        Items that a user's list must not hold, ``(n_users, n_items)``.
    """
    spoken = np.zeros(top.items.shape, bool)
    for part in parts.values():
        spoken |= part != 0
    spoken &= top.items >= 0
    filled = Filled(TopK(top.items.copy(), top.scores.copy()), np.full(spoken.shape, None, object))
    for user in np.flatnonzero(~spoken.all(axis=1)):
        own = top.items[user][spoken[user]]
        kept = top.scores[user][spoken[user]]
        without = own if seen is None else np.concatenate((own, seen[user].indices))
        more, sources = popular_for(popular, int(segments[user]), without, own, rules)
        row = np.concatenate((own, more))
        blank = rules.k - len(row)
        filled.top.items[user] = np.pad(row, (0, blank), constant_values=-1)
        scores = np.concatenate((kept, np.zeros(len(more), np.float32)))
        filled.top.scores[user] = np.pad(scores, (0, blank), constant_values=-np.inf)
        filled.sources[user] = [None] * len(own) + sources + [None] * blank
    return filled


def popular_for(
    popular: Popular, segment: int, without: Ints, own: Ints, rules: Rules
) -> tuple[Ints, list[str]]:
    """Popular items that fill a list up to k, those of the segment first, and the source of each.

    Parameters
    ----------
    segment
        Position of the segment, `UNKNOWN` for none: then what is popular at all.
    without
        Items that are left out.
    own
        Items that the list has already.
    """
    near = popular.of(segment) if segment != UNKNOWN else np.empty(0, np.int64)
    far = popular.of(UNKNOWN)
    listed = np.concatenate((near, far[~np.isin(far, near)]))
    is_near = np.arange(len(listed)) < len(near)
    keep = ~np.isin(listed, without)
    if rules.hidden is not None:
        keep &= ~np.isin(listed, rules.hidden)
    listed, is_near = listed[keep], is_near[keep]
    if rules.max_per_category is not None and rules.categories is not None:
        whole = np.concatenate((own, listed))[None, :]
        keep = allowed(whole, rules.categories, rules.max_per_category)[0, len(own) :]
        listed, is_near = listed[keep], is_near[keep]
    n = rules.k - len(own)
    sources = [POPULAR_IN_SEGMENT if each else POPULAR for each in is_near[:n]]
    return listed[:n], sources


def write_popular(path: Path, popular: Popular, item_ids: Sequence[str]) -> None:
    """Write the popular lists: segment (null for all items), rank from 1, item_index, item_id."""
    rows, places = np.nonzero(popular.items >= 0)
    items = popular.items[rows, places]
    columns = {
        C.SEGMENT: pa.array([*popular.segments, None], pa.string()).take(pa.array(rows)),
        C.RANK: pa.array(places + 1, pa.int32()),
        C.ITEM_INDEX: pa.array(items, pa.int32()),
        C.ITEM_ID: pa.array(item_ids, pa.string()).take(pa.array(items)),
    }
    pq.write_table(pa.table(columns), path)


def read_popular(path: Path) -> Popular:
    """The popular lists that `write_popular` wrote."""
    table = pq.read_table(path)
    names = table.column(C.SEGMENT).to_pylist()
    ranks = table.column(C.RANK).to_numpy()
    segments = sorted({name for name in names if name is not None})
    row_of = {name: row for row, name in enumerate(segments)}
    found = np.full((len(segments) + 1, max(ranks, default=0)), -1, np.int64)
    rows = np.array([row_of.get(name, len(segments)) for name in names], np.int64)
    found[rows, ranks - 1] = table.column(C.ITEM_INDEX).to_numpy()
    return Popular(segments, found)
