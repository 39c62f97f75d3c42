"""Two generations on disk -> what changed between them: lists, users, products, settings, figures.

Lists are read as a stream of Parquet batches of both at once, sorted by user; only the ids, titles
and degrees of users and items are held whole. A user's two lists are compared down to the same
depth k, the smaller of the two generations'.
"""

import heapq
from collections.abc import Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from recgraph import generations
from recgraph.columns import Columns as C
from recgraph.errors import GenerationError
from recgraph.generations import Manifest, Metrics
from recgraph.likeness import PERSISTENCE, jaccard, overlaps, rank_biased_overlap
from recgraph.model import Ints

N_MOST_CHANGED = 10

_ROWS_A_BATCH = 20_000
_CELLS_A_BLOCK = 2**23
"""Comparisons of one place with another that are done at once, a byte each."""
_LONGEST_LIST = 1000


class ListChange(msgspec.Struct, frozen=True):
    """A user whose list changed."""

    user_id: str
    jaccard: float
    rbo: float
    came: list[str]
    """Titles of the items that are new in the list, best first; ids where there is no title."""
    gone: list[str]
    """Titles of those that are in it no more."""


class ItemChange(msgspec.Struct, frozen=True):
    """An item that stands in more lists than before, or in fewer."""

    item_id: str
    title: str | None
    before: int
    """Users in whose list it stood."""
    after: int


class Figure(msgspec.Struct, frozen=True):
    """A number or setting of both generations; None where one has none."""

    name: str
    before: Any
    after: Any


class Difference(msgspec.Struct, frozen=True):
    """What changed from one generation to another."""

    before: str
    """Id of a generation."""
    after: str
    k: int
    """Depth down to which lists are compared."""
    persistence: float
    """p of rank-biased overlap."""
    lists: int
    """Users with a list in both: those that are compared."""
    changed: float | None
    """Share of these lists that are not the same, order included; None when there are none."""
    jaccard: float | None
    """Mean share of common items among those of both lists, order left aside."""
    rbo: float | None
    """Mean rank-biased overlap: 1 for the same list, 0 for nothing in common."""
    new_lists: int
    """Users with a list in the second generation only."""
    gone_lists: int
    new_users: int
    gone_users: int
    new_items: int
    gone_items: int
    most_changed_users: list[ListChange]
    """Least rank-biased overlap first."""
    most_changed_items: list[ItemChange]
    """Most lists come or gone first."""
    degrees: list[Figure]
    """Coverage, Gini coefficient and top-1 % share of all lists."""
    metrics: list[Figure]
    """What the evaluation models did."""
    settings: list[Figure]
    """Those that differ."""


class _Pair(NamedTuple):
    """A user's list in both generations: item ids, best first."""

    user_id: str
    before: list[str]
    after: list[str]


class _Compared(NamedTuple):
    """A user's lists and how like each other they are; sorts by change, most first."""

    rbo: float
    jaccard: float
    pair: _Pair


class _Tally:
    """Sums over users, and the users that changed most."""

    def __init__(self) -> None:
        self.n_lists = self.n_changed = self.n_before_only = self.n_after_only = 0
        self.jaccard = self.rbo = 0.0
        self.most_changed: list[_Compared] = []

    def add(self, compared: list[_Compared]) -> None:
        changed = [each for each in compared if each.pair.before != each.pair.after]
        self.n_lists += len(compared)
        self.n_changed += len(changed)
        self.jaccard += sum(each.jaccard for each in compared)
        self.rbo += sum(each.rbo for each in compared)
        self.most_changed = heapq.nsmallest(N_MOST_CHANGED, [*self.most_changed, *changed])

    def mean(self, total: float) -> float | None:
        return total / self.n_lists if self.n_lists else None


def compare(before: Path, after: Path) -> Difference:
    """What changed between the generations in two folders.

    Raises
    ------
    GenerationError
        A folder is no generation, or its files cannot be read.
    """
    first, second = generations.read_manifest(before), generations.read_manifest(after)
    k = min(_depth(first), _depth(second))
    tally = _tally(before, after, k)
    users = _vertices(before, after, "user", [])
    items = _vertices(before, after, "item", [C.TITLE])
    return Difference(
        before=first.id,
        after=second.id,
        k=k,
        persistence=PERSISTENCE,
        lists=tally.n_lists,
        changed=tally.mean(tally.n_changed),
        jaccard=tally.mean(tally.jaccard),
        rbo=tally.mean(tally.rbo),
        new_lists=tally.n_after_only,
        gone_lists=tally.n_before_only,
        new_users=_n_missing(users, "before"),
        gone_users=_n_missing(users, "after"),
        new_items=_n_missing(items, "before"),
        gone_items=_n_missing(items, "after"),
        most_changed_users=_with_titles(tally.most_changed, items),
        most_changed_items=_most_changed_items(items),
        degrees=[
            Figure(name, getattr(first.degrees, name), getattr(second.degrees, name))
            for name in ("coverage", "gini", "top_share")
        ],
        metrics=_figures(_measured(first.metrics), _measured(second.metrics)),
        settings=[
            figure
            for figure in _figures(_settings(first), _settings(second))
            if figure.before != figure.after
        ],
    )


# --- two lists ----------------------------------------------------------------------------------


def _tally(before: Path, after: Path, k: int) -> _Tally:
    tally = _Tally()
    pairs = _pairs(before, after, k, tally)
    n_rows = max(1, _CELLS_A_BLOCK // k**2)
    while block := list(islice(pairs, n_rows)):
        tally.add(_compare_block(block, k))
    return tally


def _compare_block(block: list[_Pair], k: int) -> list[_Compared]:
    codes: dict[str, int] = {}
    before = _coded([pair.before for pair in block], k, codes, filler=-1)
    after = _coded([pair.after for pair in block], k, codes, filler=-2)
    n_before, n_after = ((codes >= 0).sum(axis=1) for codes in (before, after))
    overlap = overlaps(before, after)
    rbo = rank_biased_overlap(overlap, n_before, n_after).tolist()
    shares = jaccard(overlap, n_before, n_after).tolist()
    return list(map(_Compared, rbo, shares, block))


def _coded(lists: list[list[str]], k: int, codes: dict[str, int], *, filler: int) -> Ints:
    """The lists as rows of codes; an item without one gets the next."""
    coded = np.full((len(lists), k), filler)
    for row, items in enumerate(lists):
        coded[row, : len(items)] = [codes.setdefault(item, len(codes)) for item in items]
    return coded


def _pairs(before: Path, after: Path, k: int, tally: _Tally) -> Iterator[_Pair]:
    """The lists of users who have one in both; the others are only counted."""
    both = heapq.merge(_lists(before, k, "before"), _lists(after, k, "after"), key=itemgetter(0))
    for user, found in groupby(both, key=itemgetter(0)):
        lists = {side: items for _, side, items in found}
        if len(lists) == 2:
            yield _Pair(user, **lists)
        elif "before" in lists:
            tally.n_before_only += 1
        else:
            tally.n_after_only += 1


def _lists(folder: Path, k: int, side: str) -> Iterator[tuple[str, str, list[str]]]:
    """User id, side, and the ids of the first k items of the user's list, sorted by user."""
    of_lists = (pc.field(C.KIND) == "recommended") & (pc.field(C.RANK) <= k)
    edges = folder / generations.EDGES
    rows = (
        row
        for batch in _batches(edges, [C.SRC, C.DST], of_lists)
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    last = ""
    for src, targets in groupby(rows, key=itemgetter(0)):
        if src < last:
            message = f"{edges} is not sorted by {C.SRC}: {src!r} follows {last!r}. Train again."
            raise GenerationError(message)
        last = src
        yield _external(src), side, [_external(dst) for _, dst in targets]


def _external(key: str) -> str:
    return key[2:]  # without u: or i:


def _batches(folder: Path, columns: list[str], where: pc.Expression) -> Iterator[pa.RecordBatch]:
    try:
        dataset = pads.dataset(folder, format="parquet")
        readahead = {"batch_readahead": 2, "fragment_readahead": 1}
        yield from dataset.to_batches(
            columns=columns, filter=where, batch_size=_ROWS_A_BATCH, **readahead
        )
    except (OSError, pa.ArrowException) as error:
        message = f"{folder} cannot be read: {' '.join(str(error).split())}. Train again."
        raise GenerationError(message) from error


# --- users and items ----------------------------------------------------------------------------


def _vertices(before: Path, after: Path, kind: str, attributes: list[str]) -> pa.Table:
    """A row a user or item of either: its id, and degree_before, degree_after, title_before, ..."""
    columns = {C.EXTERNAL_ID: C.EXTERNAL_ID, "degree": C.RECOMMENDED_DEGREE}
    columns |= {name: name for name in attributes}
    tables = []
    for folder in (before, after):
        batches = _batches(
            folder / generations.VERTICES, list(columns.values()), pc.field(C.KIND) == kind
        )
        tables.append(pa.Table.from_batches(batches).rename_columns(list(columns)))
    return tables[0].join(
        tables[1],
        C.EXTERNAL_ID,
        join_type="full outer",
        left_suffix="_before",
        right_suffix="_after",
    )


def _n_missing(vertices: pa.Table, side: str) -> int:
    return int(vertices.column(f"degree_{side}").null_count)


def _most_changed_items(items: pa.Table) -> list[ItemChange]:
    before, after = (pc.fill_null(items.column(f"degree_{s}"), 0) for s in ("before", "after"))
    change = pc.abs(pc.subtract(after, before))
    table = pa.table(
        {
            "item_id": items.column(C.EXTERNAL_ID),
            "title": _titles(items),
            "before": before,
            "after": after,
            "change": change,
        }
    )
    table = table.filter(pc.field("change") > 0)
    keys = [("change", "descending"), ("item_id", "ascending")]
    order = pc.select_k_unstable(table, min(N_MOST_CHANGED, len(table)), keys)
    return msgspec.convert(table.take(order).drop(["change"]).to_pylist(), list[ItemChange])


def _titles(items: pa.Table) -> pa.ChunkedArray:
    return pc.coalesce(items.column("title_after"), items.column("title_before"))


def _with_titles(most_changed: list[_Compared], items: pa.Table) -> list[ListChange]:
    wanted = {item for each in most_changed for item in each.pair.before + each.pair.after}
    found = pc.is_in(items.column(C.EXTERNAL_ID), pa.array(sorted(wanted), pa.string()))
    listed = items.filter(found)
    ids, titles = listed.column(C.EXTERNAL_ID).to_pylist(), _titles(listed).to_pylist()
    title_of = {item: title or item for item, title in zip(ids, titles, strict=True)}
    return [
        ListChange(
            user_id=each.pair.user_id,
            jaccard=each.jaccard,
            rbo=each.rbo,
            came=[title_of[item] for item in each.pair.after if item not in each.pair.before],
            gone=[title_of[item] for item in each.pair.before if item not in each.pair.after],
        )
        for each in most_changed
    ]


# --- manifests ----------------------------------------------------------------------------------


def _depth(manifest: Manifest) -> int:
    """The k of a generation's lists."""
    return msgspec.convert(manifest.settings.get("k", _LONGEST_LIST), int)


def _settings(manifest: Manifest) -> dict[str, Any]:
    return {"feedback": manifest.feedback, **manifest.settings}


def _measured(metrics: Metrics) -> dict[str, float]:
    ranking = {
        f"{row.task} {row.recommender} {name}@{row.k}": value
        for row in metrics.ranking
        for name, value in (("nDCG", row.ndcg), ("recall", row.recall))
    }
    return ranking | {f"{row.predictor} RMSE": row.rmse for row in metrics.errors}


def _figures(before: dict[str, Any], after: dict[str, Any]) -> list[Figure]:
    names = dict.fromkeys([*before, *after])
    return [Figure(name, before.get(name), after.get(name)) for name in names]
