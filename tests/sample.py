"""A small complete generation on disk, laid out as `recgraph.generations` says: for tests.

The same arguments give the same bytes of content. It is consistent with itself: degrees count
the edges, the lists are the edges, the manifest counts both. The first ids and titles are nasty
on purpose. ``n_users=2_500, n_items=68_000, mean_bought=350`` makes one as large as Complete
Journey in a few seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from recgraph import fallback, histories, transforms
from recgraph.biases import Biases, joined
from recgraph.generations import (
    EDGES,
    ITEM_FACTORS,
    ITEM_NEIGHBOURS,
    ITEM_SUMS,
    ITEMS,
    POPULAR,
    TRANSFORM,
    USER_FACTORS,
    USERS,
    VERTICES,
    Counts,
    Degrees,
    ErrorMetrics,
    Manifest,
    Metrics,
    RankingMetrics,
    open_new,
    read_manifest,
    write_manifest,
)
from recgraph.histories import HISTORIES
from recgraph.lists import codes_of
from recgraph.weighing import MICROS_A_DAY

GENERATION_ID = "20260105-120000-5a3e"
CREATED_AT = datetime(2026, 1, 5, 12, 0, 0, 123456, tzinfo=UTC)
DEPARTMENTS = ["Bakery & Café", "Dairy", "GROCERY", "Produce"]
BRANDS = ["National", "Private"]

NASTY_USERS = [
    "user one",
    'O\'Brien "Bob"',
    "🛒",
    "$where",
    "a.b.c",
    "<img src=x onerror=alert(1)>",
    "=1+1",
    "naïve, \\ und\nzwei Zeilen",
]
NASTY_ITEMS = ["item one", "$gt", "x.y", "'quoted'", "🍎", "-1", "@home", "i:1"]
NASTY_TITLES = [
    "Plain Whole Milk, 1 Gal",
    "<img src=x onerror=alert(1)>",
    "=1+1 Cola",
    "'already prefixed",
    "Crème Brûlée 🍮",
    'Say "cheese"',
    "$9.99 Bargain {Box}",
    None,
]
WORDS = ["Milk", "Bread", "Apple", "Cola", "Yogurt", "Cheese", "Soup", "Tea", "Rice", "Ham"]

TIME = pa.timestamp("us", tz="UTC")
_BOUGHT = pa.struct(
    [
        ("item_id", pa.string()),
        ("rating", pa.float64()),
        ("n_events", pa.int64()),
        ("last_at", TIME),
        ("title", pa.string()),
        ("department", pa.string()),
    ]
)
_REASON = pa.struct([("item_id", pa.string()), ("share", pa.float64()), ("title", pa.string())])
_SIMILAR = pa.struct([("item_id", pa.string()), ("weight", pa.float64()), ("title", pa.string())])
_SIMILARS = pa.list_(_SIMILAR)
_RECOMMENDED = pa.struct(
    [
        ("item_id", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float64()),
        ("parts", pa.map_(pa.string(), pa.float64())),
        ("source", pa.string()),
        ("title", pa.string()),
        ("department", pa.string()),
        ("because", pa.list_(_REASON)),
    ]
)
_BUYER = pa.struct([("user_id", pa.string()), ("rating", pa.float64()), ("last_at", TIME)])
_RECOMMENDED_TO = pa.struct(
    [("user_id", pa.string()), ("rank", pa.int32()), ("score", pa.float64())]
)


@dataclass(frozen=True)
class _Graph:
    """Ids, attributes and both kinds of edges; an edge is a row of the index arrays."""

    users: np.ndarray
    items: np.ndarray
    titles: np.ndarray
    departments: np.ndarray
    brands: np.ndarray
    categories: np.ndarray
    bought: dict[str, np.ndarray]
    recommended: dict[str, np.ndarray]


def write_sample_generation(
    root: Path,
    *,
    generation_id: str = GENERATION_ID,
    n_users: int = 40,
    n_items: int = 60,
    mean_bought: float = 8.0,
    n_factors: int = 8,
    k: int = 5,
    seed: int = 7,
    created_at: datetime = CREATED_AT,
    status: Literal["complete", "rejected"] = "complete",
    max_neighbours: int = 500,
) -> Path:
    """Write a complete generation under ``root`` and return its folder."""
    rng = np.random.default_rng(seed)
    graph = _build_graph(rng, n_users, n_items, mean_bought, k)
    rank = _pagerank(graph)
    with open_new(root, generation_id) as folder:
        _write_parts(folder / VERTICES, _vertices(graph, rank))
        _write_parts(folder / EDGES, _edges(graph))
        _write_parts(folder / USERS, _users(graph, rank, max_neighbours))
        _write_parts(folder / ITEMS, _items(graph, rank, max_neighbours))
        _write_factors(folder, rng, n_users, n_items, n_factors)
        _write_walk(folder, graph)
        _write_histories(folder / HISTORIES, graph)
        _write_lists(folder, graph)
        manifest = _manifest(graph, generation_id, created_at, status, k, n_factors)
        write_manifest(folder, manifest)
    return root / generation_id


def make_rated(folder: Path) -> Path:
    """Make a sample generation one that predicts ratings, with its purchases as ratings of 1."""
    factors = np.load(folder / ITEM_FACTORS)
    found = Biases(1.0, np.empty(0, np.float32), np.linspace(-0.2, 0.2, len(factors)))
    np.save(folder / ITEM_FACTORS, joined(factors[:0], factors, found)[1])
    for name in (ITEM_SUMS, ITEM_NEIGHBOURS):
        (folder / name).unlink()
    manifest = read_manifest(folder)
    changed = {"feedback": "explicit", "coefficients": {"als": 1.0}, "mean_rating": 1.0}
    settings = manifest.settings | {"bias_damping": 5.0}
    write_manifest(folder, msgspec.structs.replace(manifest, settings=settings, **changed))
    return folder


def _build_graph(
    rng: np.random.Generator, n_users: int, n_items: int, mean_bought: float, k: int
) -> _Graph:
    popularity = 1.0 / np.arange(1, n_items + 1) ** 0.9
    popularity /= popularity.sum()
    user, item = _bought_pairs(rng, n_users, n_items, mean_bought, popularity)
    n_events = rng.geometric(0.6, len(user))
    epoch = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)
    last_at = (epoch + rng.integers(0, 86_400_000 * 365, len(user))) * 1000
    bought = {
        "user": user,
        "item": item,
        "n_events": n_events,
        "rating": n_events + rng.integers(0, 4, len(user)) / 4,
        "last_at": last_at,
    }
    return _Graph(
        users=_named(NASTY_USERS, [f"u{i}" for i in range(n_users)]),
        items=_named(NASTY_ITEMS, [str(1000 + i) for i in range(n_items)]),
        titles=_named(NASTY_TITLES, [_title(i) for i in range(n_items)]),
        departments=_without_attributes([DEPARTMENTS[i % 4] for i in range(n_items)]),
        brands=_without_attributes([BRANDS[i % 2] for i in range(n_items)]),
        categories=_without_attributes([WORDS[i % 10].upper() for i in range(n_items)]),
        bought=bought,
        recommended=_recommended(rng, user, item, n_users, popularity, k),
    )


def _named(nasty: Sequence[str | None], plain: list[str]) -> np.ndarray:
    return np.array([*nasty, *plain[len(nasty) :]][: len(plain)], dtype=object)


def _title(i: int) -> str:
    return f"{WORDS[i % 10]} {WORDS[(i // 10) % 10]} No {i}"


def _without_attributes(values: list[str]) -> np.ndarray:
    """Return the values, but none for the item that the catalogue does not know."""
    unknown = NASTY_TITLES.index(None)
    return np.array([None if i == unknown else value for i, value in enumerate(values)], object)


def _bought_pairs(
    rng: np.random.Generator,
    n_users: int,
    n_items: int,
    mean_bought: float,
    popularity: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct (user, item) pairs with long tails; every user and every item has one."""
    wanted = np.minimum(rng.lognormal(np.log(mean_bought), 0.7, n_users).astype(int) + 1, n_items)
    users = np.repeat(np.arange(n_users), wanted)
    items = rng.choice(n_items, len(users), p=popularity)
    users = np.concatenate([users, rng.integers(0, n_users, n_items)])
    items = np.concatenate([items, np.arange(n_items)])
    pairs = np.unique(users.astype(np.int64) * n_items + items)
    return pairs // n_items, pairs % n_items


def _recommended(
    rng: np.random.Generator,
    user: np.ndarray,
    item: np.ndarray,
    n_users: int,
    popularity: np.ndarray,
    k: int,
) -> dict[str, np.ndarray]:
    """Return k unseen items a user, popular ones more often, best first."""
    starts = np.searchsorted(user, np.arange(n_users + 1))
    lists = []
    for index in range(n_users):
        weights = popularity**1.3
        weights[item[starts[index] : starts[index + 1]]] = 0
        n_listed = min(k, int((weights > 0).sum()))
        lists.append(rng.choice(len(weights), n_listed, replace=False, p=weights / weights.sum()))
    lengths = np.array([len(listed) for listed in lists])
    rank = np.concatenate([np.arange(1, length + 1) for length in lengths])
    listed = np.repeat(np.arange(n_users), lengths)
    score = np.round(1.0 / (rank + 0.5), 6)
    walk = np.where(listed == 1, 0.0, np.round(0.4 * score, 6))
    return {
        "user": listed,
        "item": np.concatenate(lists),
        "rank": rank,
        "score": score,
        "walk": walk,
        "source": np.where(listed == 1, "popular", "als+walk"),
        "because": np.where(listed == 1, -1, item[starts[listed]]),
    }


def _pagerank(graph: _Graph) -> np.ndarray:
    """Return the PageRank of users, then items, over all edges in both directions."""
    n_users, n_vertices = len(graph.users), len(graph.users) + len(graph.items)
    ends = [(edges["user"], edges["item"] + n_users) for edges in (graph.bought, graph.recommended)]
    src = np.concatenate([end for pair in ends for end in pair])
    dst = np.concatenate([end for pair in ends for end in reversed(pair)])
    out_degree = np.bincount(src, minlength=n_vertices)
    rank = np.full(n_vertices, 1.0)
    for _ in range(10):
        flow = np.bincount(dst, weights=(rank / out_degree)[src], minlength=n_vertices)
        rank = 0.15 + 0.85 * flow
    return rank


def _degrees(edges: dict[str, np.ndarray], side: str, n: int) -> np.ndarray:
    return np.bincount(edges[side], minlength=n)


def _keys(graph: _Graph) -> tuple[np.ndarray, np.ndarray]:
    users = np.array([f"u:{user_id}" for user_id in graph.users], dtype=object)
    items = np.array([f"i:{item_id}" for item_id in graph.items], dtype=object)
    return users, items


def _vertices(graph: _Graph, rank: np.ndarray) -> pa.Table:
    n_users, n_items = len(graph.users), len(graph.items)
    no_user = np.full(n_users, None, dtype=object)
    columns = {
        "id": np.concatenate(_keys(graph)),
        "kind": ["user"] * n_users + ["item"] * n_items,
        "external_id": np.concatenate([graph.users, graph.items]),
        "title": np.concatenate([no_user, graph.titles]),
        "department": np.concatenate([no_user, graph.departments]),
        "brand": np.concatenate([no_user, graph.brands]),
        "category": np.concatenate([no_user, graph.categories]),
        "pagerank": rank,
    }
    for kind, edges in (("bought", graph.bought), ("recommended", graph.recommended)):
        of_users = _degrees(edges, "user", n_users)
        of_items = _degrees(edges, "item", n_items)
        columns[f"{kind}_degree"] = np.concatenate([of_users, of_items])
    return pa.table(columns)


def _edges(graph: _Graph) -> pa.Table:
    users, items = _keys(graph)
    b, r = graph.bought, graph.recommended
    n_bought, n_recommended = len(b["user"]), len(r["user"])
    table = pa.table(
        {
            "src": np.concatenate([users[b["user"]], users[r["user"]]]),
            "dst": np.concatenate([items[b["item"]], items[r["item"]]]),
            "kind": ["bought"] * n_bought + ["recommended"] * n_recommended,
            "rank": pa.array([None] * n_bought + r["rank"].tolist(), pa.int32()),
            "score": pa.array([None] * n_bought + r["score"].tolist(), pa.float64()),
            **{
                name: pa.array([None] * n_bought + values, pa.float64())
                for name, values in _parts(r).items()
            },
            "rating": pa.array(b["rating"].tolist() + [None] * n_recommended, pa.float64()),
            "source": pa.array([None] * n_bought + r["source"].tolist(), pa.string()),
        }
    )
    return table.sort_by([(name, "ascending") for name in ("src", "kind", "rank", "dst")])


def _parts(recommended: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    """Return the parts of the scores; a row of the popular list has none of them."""
    is_blend = (recommended["source"] == "als+walk").tolist()
    walk, score = recommended["walk"], recommended["score"]
    parts = {"als": np.round(score - walk, 6).tolist(), "walk": walk.tolist()}
    off: list[float | None] = [None] * len(walk)
    blank = {"repeat": off, "content": off}
    return {
        name: [value if on else None for value, on in zip(values, is_blend, strict=True)]
        for name, values in parts.items()
    } | blank


def _lists(
    values: pa.StructArray, owner: np.ndarray, order: np.ndarray, n_owners: int, longest: int
) -> pa.ListArray:
    """Return the values grouped by owner, in the order given, each list cut."""
    order = order[np.argsort(owner[order], kind="stable")]
    sorted_owner = owner[order]
    starts = np.searchsorted(sorted_owner, np.arange(n_owners))
    kept = np.arange(len(order)) - starts[sorted_owner] < longest
    lengths = np.bincount(sorted_owner[kept], minlength=n_owners)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values.take(pa.array(order[kept])))


def _struct(columns: Sequence[Any], type_: pa.StructType) -> pa.StructArray:
    arrays = [
        pa.array(column, field.type)
        if field.type != TIME
        else pa.array(column, pa.int64()).cast(TIME)
        for column, field in zip(columns, type_, strict=True)
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(type_))


def _strongest_first(edges: dict[str, np.ndarray]) -> np.ndarray:
    if "rank" in edges:
        return np.lexsort((edges["user"], edges["rank"]))
    return np.lexsort((edges["user"], edges["item"], -edges["last_at"], -edges["rating"]))


def _users(graph: _Graph, rank: np.ndarray, longest: int) -> pa.Table:
    n_users, b, r = len(graph.users), graph.bought, graph.recommended
    of_bought = [
        *(graph.items[b["item"]], b["rating"], b["n_events"], b["last_at"]),
        *(graph.titles[b["item"]], graph.departments[b["item"]]),
    ]
    named = _parts(r)
    parts = [
        [("als", als), ("walk", walk)] if als is not None else [(source, score)]
        for als, walk, source, score in zip(
            named["als"], named["walk"], r["source"], r["score"], strict=True
        )
    ]
    because = [
        [{"item_id": graph.items[j], "share": share, "title": graph.titles[j]}] if j >= 0 else []
        for j, share in zip(r["because"].tolist(), r["walk"].tolist(), strict=True)
    ]
    of_recommended = [
        *(graph.items[r["item"]], r["rank"], r["score"], parts, r["source"]),
        *(graph.titles[r["item"]], graph.departments[r["item"]], because),
    ]
    bought, recommended = _struct(of_bought, _BOUGHT), _struct(of_recommended, _RECOMMENDED)
    return pa.table(
        {
            "user_index": pa.array(np.arange(n_users), pa.int32()),
            "user_id": pa.array(graph.users, pa.string()),
            "bought_degree": _degrees(b, "user", n_users),
            "recommended_degree": _degrees(r, "user", n_users),
            "pagerank": rank[:n_users],
            "bought": _lists(bought, b["user"], _strongest_first(b), n_users, longest),
            "recommended": _lists(recommended, r["user"], _strongest_first(r), n_users, longest),
        }
    )


def _similar(graph: _Graph, item: int) -> list[dict[str, Any]]:
    """Return the next two items as similar ones; the last item has none."""
    near = range(item + 1, min(item + 3, len(graph.items)))
    return [
        {"item_id": graph.items[j], "weight": 1.0 / (j - item), "title": graph.titles[j]}
        for j in near
    ]


def _items(graph: _Graph, rank: np.ndarray, longest: int) -> pa.Table:
    n_items, b, r = len(graph.items), graph.bought, graph.recommended
    buyers = _struct([graph.users[b["user"]], b["rating"], b["last_at"]], _BUYER)
    listed = _struct([graph.users[r["user"]], r["rank"], r["score"]], _RECOMMENDED_TO)
    return pa.table(
        {
            "item_index": pa.array(np.arange(n_items), pa.int32()),
            "item_id": pa.array(graph.items, pa.string()),
            "title": pa.array(graph.titles, pa.string()),
            "department": pa.array(graph.departments, pa.string()),
            "brand": pa.array(graph.brands, pa.string()),
            "category": pa.array(graph.categories, pa.string()),
            "bought_degree": _degrees(b, "item", n_items),
            "recommended_degree": _degrees(r, "item", n_items),
            "pagerank": rank[len(graph.users) :],
            "buyers": _lists(buyers, b["item"], _strongest_first(b), n_items, longest),
            "recommended_to": _lists(listed, r["item"], _strongest_first(r), n_items, longest),
            "similar": pa.array([_similar(graph, item) for item in range(n_items)], _SIMILARS),
        }
    )


def _write_factors(
    folder: Path, rng: np.random.Generator, n_users: int, n_items: int, n_factors: int
) -> None:
    user_factors = rng.normal(0, 0.1, (n_users, n_factors)).astype(np.float32)
    table = pa.table(
        {
            "index": pa.array(np.arange(n_users), pa.int32()),
            "factors": pa.array(list(user_factors), pa.list_(pa.float32())),
        }
    )
    _write_parts(folder / USER_FACTORS, table)
    np.save(folder / ITEM_FACTORS, rng.normal(0, 0.1, (n_items, n_factors)).astype(np.float32))


def _write_walk(folder: Path, graph: _Graph) -> None:
    """Write made-up neighbours, 20 an item, and the sums of the ratings."""
    rng, n_items = np.random.default_rng(3), len(graph.items)
    items = np.repeat(np.arange(n_items), 20)
    near = (items + rng.integers(1, n_items, len(items))) % n_items
    weights = rng.uniform(0.01, 0.1, len(items)).astype(np.float32)
    neighbours = sparse.csr_matrix((weights, (items, near)), shape=(n_items, n_items))
    sparse.save_npz(folder / ITEM_NEIGHBOURS, neighbours, compressed=False)
    b = graph.bought
    sums = np.bincount(b["item"], np.log1p(b["n_events"]), minlength=n_items)
    np.save(folder / ITEM_SUMS, sums.astype(np.float32))


def _write_lists(folder: Path, graph: _Graph) -> None:
    """Write what lists are made with, besides scores."""
    popularity = _degrees(graph.bought, "item", len(graph.items)).astype(np.float32)
    popular = fallback.popular_lists(popularity, codes_of(graph.departments.tolist()), 200, None)
    fallback.write_popular(folder / POPULAR, popular, graph.items.tolist())
    transforms.write_fitted(folder / TRANSFORM, transforms.Fitted("count"))


def _write_histories(folder: Path, graph: _Graph) -> None:
    """Write one event for each purchase, a day apart, the last one when the pair says."""
    b = graph.bought
    n_events = b["n_events"]
    pair = np.repeat(np.arange(len(n_events)), n_events)
    days_ago = np.cumsum(n_events)[pair] - 1 - np.arange(len(pair))
    ids = np.array([user_id.encode() for user_id in graph.users], object)
    events = pa.table(
        {
            "user_id": pa.array(ids[b["user"][pair]], pa.large_binary()),
            "event": pa.array(np.arange(len(pair)), pa.int64()),
            "time": b["last_at"][pair] - days_ago * MICROS_A_DAY,
            "amount": np.ones(len(pair)),
            "item": b["item"][pair].astype(np.int32),
            "bought": np.ones(len(pair), bool),
        }
    )
    buyers = pa.table({name: b[name] for name in ("item", "user")})
    histories.write_histories(folder, events.sort_by("user_id").to_batches())
    in_order = buyers.sort_by([("item", "ascending"), ("user", "ascending")])
    histories.write_buyers(folder, in_order.to_batches(), len(graph.items))


def _write_parts(folder: Path, table: pa.Table) -> None:
    """Write a folder as Spark does: two part files and a marker."""
    folder.mkdir()
    half = (len(table) + 1) // 2
    for number, start in enumerate((0, half)):
        part = table.slice(start, half)
        pq.write_table(part, folder / f"part-{number:05d}-sample.snappy.parquet")
    (folder / "_SUCCESS").touch()


def _distribution(degrees: np.ndarray) -> list[tuple[int, int]]:
    values, counts = np.unique(degrees, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))


def _degrees_of(graph: _Graph) -> Degrees:
    n_items = len(graph.items)
    recommended = _degrees(graph.recommended, "item", n_items)
    ascending = np.sort(recommended)
    n_top = max(1, n_items // 100)
    weighted = (np.arange(1, n_items + 1) * ascending).sum()
    return Degrees(
        bought=_distribution(_degrees(graph.bought, "item", n_items)),
        recommended=_distribution(recommended),
        coverage=float((recommended > 0).mean()),
        top_share=float(ascending[-n_top:].sum() / ascending.sum()),
        gini=float(2 * weighted / (n_items * ascending.sum()) - (n_items + 1) / n_items),
    )


def _metrics(k: int, n_users: int) -> Metrics:
    ranking = [
        RankingMetrics("next_basket", "als+walk", k, n_users, 0.212, 0.081, 0.31),
        RankingMetrics("next_basket", "als", k, n_users, 0.205, 0.078, 0.3),
        RankingMetrics("next_basket", "popular", k, n_users, 0.104, 0.032, 0.08),
        RankingMetrics("next_basket", "repeats", k, n_users, 0.268, 0.097, 0.55),
        RankingMetrics("new_items", "als+walk", k, n_users, 0.062, 0.028, 0.27),
        RankingMetrics("new_items", "als", k, n_users, 0.058, 0.026, 0.26),
        RankingMetrics("new_items", "popular", k, n_users, 0.049, 0.021, 0.06),
    ]
    errors = [ErrorMetrics("als", 812, 0.431, 0.294), ErrorMetrics("constant", 812, 0.5, 0.5)]
    cut_at = datetime(2025, 12, 3, tzinfo=UTC)
    return Metrics(cut_at=cut_at, test_days=28.0, ranking=ranking, errors=errors, model="als+walk")


def _manifest(
    graph: _Graph,
    generation_id: str,
    created_at: datetime,
    status: Literal["complete", "rejected"],
    k: int,
    n_factors: int,
) -> Manifest:
    n_users, n_items = len(graph.users), len(graph.items)
    n_bought, n_recommended = len(graph.bought["user"]), len(graph.recommended["user"])
    events = int(graph.bought["n_events"].sum())
    listed = set(graph.departments[graph.recommended["item"]]) - {None}
    return Manifest(
        id=generation_id,
        created_at=created_at,
        status=status,
        feedback="implicit",
        settings={
            "n_factors": n_factors,
            "n_iterations": 10,
            "alpha": 10.0,
            "k": k,
            "seed": 42,
            "engine": "spark",
            "regularization": 0.1,
            "kind_weights": {"purchase": 1.0},
            "half_life_days": 60.0,
            "walk_half_life_days": None,
            "repeat_half_life_days": 90.0,
            "exclude_seen": True,
            "max_user_events": 10_000,
        },
        coefficients={"als": 2.0, "walk": 3.0},
        seen={"kZ3xSampleTopicUuid-w": {"0": events // 2, "1": events - events // 2}},
        events_version=3,
        counts=Counts(
            events=events,
            duplicates=3,
            conflicts=1,
            users=n_users,
            items=n_items,
            interactions=n_bought,
            density=n_bought / (n_users * n_items),
            recommendations=n_recommended,
            vertices=n_users + n_items,
            edges=n_bought + n_recommended,
        ),
        metrics=_metrics(k, n_users),
        degrees=_degrees_of(graph),
        departments=sorted(listed),
        seconds={"interactions": 1.2, "fit": 3.4, "recommend": 0.8, "graph": 2.1},
        reason="nDCG fell below the popularity baseline" if status == "rejected" else None,
    )
