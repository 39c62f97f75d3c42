"""The graph by dense ids -> what leaves of it: vertices and edges by ids that last, and profiles.

Tasks go through the sorted edges and read what vertices are called from one table that all of them
map into memory, so that nothing is joined, and nothing but the edges of items sorted again.
"""

from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.model import Ints, offsets_of
from recgraph.spark.edge_blocks import Block, map_blocks
from recgraph.spark.graph import ATTRIBUTES, BOUGHT, KEY, PARTS, RECOMMENDED, Graph
from recgraph.spark.scratch import materialize, take_rows

_EDGES = (
    "src string, dst string, kind string, rank int, score double, als double, walk double, "
    "repeat double, content double, rating float, source string"
)
_USERS = (
    "user_id string, user_index int, bought_degree int, recommended_degree int, pagerank double, "
    "bought array<struct<item_id: string, rating: float, n_events: int, last_at: timestamp, "
    "title: string, department: string>>, "
    "recommended array<struct<item_id: string, rank: int, score: double, "
    "parts: map<string, double>, source: string, title: string, department: string, "
    "because: array<struct<item_id: string, share: double, title: string>>>>"
)
_ITEMS = (
    "item_id string, item_index int, title string, department string, brand string, "
    "category string, image_url string, bought_degree int, recommended_degree int, "
    "pagerank double, "
    "buyers array<struct<user_id: string, rating: float, last_at: timestamp>>, "
    "recommended_to array<struct<user_id: string, rank: int, score: double>>, "
    "similar array<struct<item_id: string, weight: double, title: string>>"
)
_N_SIMILAR = 10
"""Similar items that the profile of an item names."""
_OTHER = "other"
_DEGREES = (C.BOUGHT_DEGREE, C.RECOMMENDED_DEGREE, C.PAGERANK)


def external_vertices(graph: Graph) -> DataFrame:
    """The vertices as they leave: keyed ``u:<user id>`` or ``i:<item id>``."""
    key = F.col(KEY).alias(C.ID)
    return graph.vertices.select(key, C.KIND, C.EXTERNAL_ID, *ATTRIBUTES, *_DEGREES)


def external_edges(graph: Graph) -> DataFrame:
    """The edges as they leave, sorted by source, kind, rank and target."""
    return map_blocks(graph.edges, C.SRC, (0, graph.n_users), graph.table, _edge_rows, _EDGES)


def user_profiles(graph: Graph, *, max_neighbours: int) -> DataFrame:
    """A row a user: `recgraph.ports.UserProfile` and user_index, sorted by user_index.

    Bought edges are ordered by rating and then by the latest purchase, recommended ones by rank;
    what is left equal by index.
    """
    make = partial(_user_rows, n_users=graph.n_users, max_neighbours=max_neighbours)
    return map_blocks(graph.edges, C.SRC, (0, graph.n_users), graph.table, make, _USERS)


def item_profiles(graph: Graph, *, max_neighbours: int) -> DataFrame:
    """A row an item: `recgraph.ports.ItemProfile` and item_index, sorted by item_index."""
    near = materialize(_nearest_of_items(graph, max_neighbours))
    make = partial(_item_rows, n_users=graph.n_users)
    span = (graph.n_users, graph.n_users + graph.n_items)
    return map_blocks(near, C.ID, span, graph.table, make, _ITEMS)


def _edge_rows(block: Block, vertices: pa.Table) -> pa.RecordBatch:
    keys = vertices.select([KEY])
    edges = block.edges
    columns = {name: take_rows(keys, _numbers(block, name)).column(KEY) for name in (C.SRC, C.DST)}
    others = (C.KIND, C.RANK, C.SCORE, *PARTS, C.RATING, C.SOURCE)
    return _batch(columns | {name: edges.column(name) for name in others})


def _user_rows(
    block: Block, vertices: pa.Table, *, n_users: int, max_neighbours: int
) -> pa.RecordBatch:
    users = vertices.slice(block.first, block.stop - block.first)
    bought = block.of_kind(BOUGHT)
    strength = (-_numbers(bought, C.RATING), -_numbers(bought, C.LAST_AT), _numbers(bought, C.DST))
    bought = bought.strongest(max_neighbours, *strength)
    recommended = block.of_kind(RECOMMENDED).strongest(max_neighbours)
    return _batch(
        {
            C.USER_ID: users.column(C.EXTERNAL_ID),
            C.USER_INDEX: pa.array(np.arange(block.first, block.stop), pa.int32()),
            **{name: users.column(name) for name in _DEGREES},
            C.BOUGHT: bought.lists(_bought(bought, vertices)),
            C.RECOMMENDED: recommended.lists(_recommended(recommended, vertices, n_users)),
        }
    )


def _bought(block: Block, vertices: pa.Table) -> pa.StructArray:
    items = _named(vertices, _numbers(block, C.DST), C.ITEM_ID, C.TITLE, C.DEPARTMENT)
    return _structs(
        {
            C.ITEM_ID: items[C.ITEM_ID],
            C.RATING: block.edges.column(C.RATING),
            C.N_EVENTS: block.edges.column(C.N_EVENTS),
            C.LAST_AT: _moments(block),
            C.TITLE: items[C.TITLE],
            C.DEPARTMENT: items[C.DEPARTMENT],
        }
    )


def _recommended(block: Block, vertices: pa.Table, n_users: int) -> pa.StructArray:
    items = _named(vertices, _numbers(block, C.DST), C.ITEM_ID, C.TITLE, C.DEPARTMENT)
    return _structs(
        {
            C.ITEM_ID: items[C.ITEM_ID],
            C.RANK: block.edges.column(C.RANK),
            C.SCORE: block.edges.column(C.SCORE),
            "parts": _parts(block.edges),
            C.SOURCE: block.edges.column(C.SOURCE),
            C.TITLE: items[C.TITLE],
            C.DEPARTMENT: items[C.DEPARTMENT],
            C.BECAUSE: _reasons(block.edges, vertices, n_users),
        }
    )


def _parts(edges: pa.Table) -> pa.MapArray:
    """Part of the score -> what it adds, without the parts that are off."""
    values = np.stack([edges.column(name).to_numpy() for name in PARTS], axis=1)
    is_there = ~np.isnan(values)
    names = np.broadcast_to(np.array(PARTS), values.shape)
    return pa.MapArray.from_arrays(
        offsets_of(is_there.sum(axis=1)), pa.array(names[is_there]), pa.array(values[is_there])
    )


def _reasons(edges: pa.Table, vertices: pa.Table, n_users: int) -> pa.ListArray:
    """The bought items behind each recommended edge, the largest share first."""
    lists = edges.column(C.BECAUSE).combine_chunks()
    lengths = lists.value_lengths().fill_null(0).to_numpy()
    indices, shares = (each.to_numpy() for each in lists.flatten().flatten())
    order = np.lexsort((indices, -shares, np.repeat(np.arange(len(lengths)), lengths)))
    items = _named(vertices, indices[order].astype(np.int64) + n_users, C.ITEM_ID, C.TITLE)
    reasons = _structs(
        {
            C.ITEM_ID: items[C.ITEM_ID],
            C.SHARE: pa.array(shares[order]),
            C.TITLE: items[C.TITLE],
        }
    )
    return pa.ListArray.from_arrays(offsets_of(lengths), reasons)


def _nearest_of_items(graph: Graph, max_neighbours: int) -> DataFrame:
    """The strongest edges and similar items of each item: id, kind, other; sorted.

    A window finds them, a task at a time: a product that everybody bought must not fill a memory.
    """
    edges = graph.edges.select(
        F.col(C.DST).alias(C.ID),
        F.col(C.SRC).alias(_OTHER),
        *(C.KIND, C.RANK, C.SCORE, C.RATING, C.LAST_AT),
    )
    similar = graph.similar.select(
        (F.col(C.ITEM_INDEX).cast("long") + graph.n_users).alias(C.ID),
        (F.col(C.NEIGHBOUR_INDEX).cast("long") + graph.n_users).alias(_OTHER),
        F.lit(C.SIMILAR).alias(C.KIND),
        F.col(C.WEIGHT).alias(C.RATING),
    )
    strongest = Window.partitionBy(C.ID, C.KIND).orderBy(
        C.RANK, F.desc(C.RATING), F.desc(C.LAST_AT), _OTHER
    )
    n = F.when(F.col(C.KIND) == C.SIMILAR, _N_SIMILAR).otherwise(max_neighbours)
    return (
        edges.unionByName(similar, allowMissingColumns=True)
        .repartitionByRange(C.ID)
        .withColumn("position", F.row_number().over(strongest))
        .where(F.col("position") <= n)
        .drop("position")
    )


def _item_rows(block: Block, vertices: pa.Table, *, n_users: int) -> pa.RecordBatch:
    items = vertices.slice(block.first, block.stop - block.first)
    indices = np.arange(block.first - n_users, block.stop - n_users)
    bought, listed = block.of_kind(BOUGHT), block.of_kind(RECOMMENDED)
    similar = block.of_kind(C.SIMILAR)
    return _batch(
        {
            C.ITEM_ID: items.column(C.EXTERNAL_ID),
            C.ITEM_INDEX: pa.array(indices, pa.int32()),
            **{name: items.column(name) for name in (*ATTRIBUTES, C.IMAGE_URL, *_DEGREES)},
            C.BUYERS: bought.lists(_buyers(bought, vertices)),
            C.RECOMMENDED_TO: listed.lists(_listed(listed, vertices)),
            C.SIMILAR: similar.lists(_similar(similar, vertices)),
        }
    )


def _buyers(block: Block, vertices: pa.Table) -> pa.StructArray:
    users = _named(vertices, _numbers(block, _OTHER), C.USER_ID)
    return _structs(users | {C.RATING: block.edges.column(C.RATING), C.LAST_AT: _moments(block)})


def _listed(block: Block, vertices: pa.Table) -> pa.StructArray:
    users = _named(vertices, _numbers(block, _OTHER), C.USER_ID)
    return _structs(users | {name: block.edges.column(name) for name in (C.RANK, C.SCORE)})


def _similar(block: Block, vertices: pa.Table) -> pa.StructArray:
    items = _named(vertices, _numbers(block, _OTHER), C.ITEM_ID, C.TITLE)
    weights = block.edges.column(C.RATING).cast(pa.float64())
    return _structs({C.ITEM_ID: items[C.ITEM_ID], C.WEIGHT: weights, C.TITLE: items[C.TITLE]})


def _named(
    vertices: pa.Table, ids: Ints, name: str, *attributes: str
) -> dict[str, pa.ChunkedArray]:
    """The external ids of vertices, called ``name``, and attributes of theirs."""
    found = take_rows(vertices.select([C.EXTERNAL_ID, *attributes]), ids)
    return dict(zip((name, *attributes), found.columns, strict=True))


def _numbers(block: Block, column: str) -> Ints:
    found: Ints = block.edges.column(column).to_numpy()
    return found


def _moments(block: Block) -> pa.ChunkedArray:
    return block.edges.column(C.LAST_AT).cast(pa.timestamp("us", "UTC"))


def _structs(fields: dict[str, pa.ChunkedArray | pa.Array]) -> pa.StructArray:
    arrays = [_whole(field) for field in fields.values()]
    return pa.StructArray.from_arrays(arrays, names=list(fields))


def _batch(columns: dict[str, pa.ChunkedArray | pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: _whole(each) for name, each in columns.items()})


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
