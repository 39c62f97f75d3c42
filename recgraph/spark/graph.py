"""Interactions and lists -> the graph of users and items.

Inside, vertices are dense longs: users 0 to n_users - 1, items behind them. What leaves
(`recgraph.spark.profiles`) is keyed by ids that last: ``u:<user id>`` and ``i:<item id>``.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from graphframes import GraphFrame
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph import metrics
from recgraph.columns import Columns as C
from recgraph.generations import Degrees
from recgraph.spark.model import Indexed
from recgraph.spark.pagerank import pagerank
from recgraph.spark.scratch import map_table, mappable, materialize

USER, ITEM = "user", "item"
BOUGHT, RECOMMENDED = "bought", "recommended"
ATTRIBUTES = (C.TITLE, C.DEPARTMENT, C.BRAND, C.CATEGORY)
"""What the catalogue says of an item, beside its picture."""
PARTS = (C.ALS, C.WALK, C.REPEAT, C.CONTENT)
KEY = "key"
"""The id that lasts."""

_PAGERANK_SWEEPS = 10
_RESET_PROBABILITY = 0.15
_MOST_BY_GRAPHX = 2_000_000
"""Edges: GraphX holds each in both directions in the heap of the JVM, 2 GiB by default."""


class Graph(NamedTuple):
    """Vertices and edges by dense long ids; both frames are materialized."""

    vertices: DataFrame
    """id, kind, external_id, key, the catalogue's attributes, image_url, both degrees, pagerank;
    sorted by id."""
    edges: DataFrame
    """src (a user), dst (an item), kind, rank, score and its parts, rating, source, because,
    n_events, last_at in microseconds; sorted by src, kind, rank and dst, a user in one file."""
    table: Path
    """The vertices for `recgraph.spark.scratch.map_table`: row i is that of id i."""
    n_users: int
    n_items: int
    similar: DataFrame
    """item_index, neighbour_index, weight: where a step of the walk leads."""


def build_graph(
    indexed: Indexed, lists: DataFrame, catalogue: DataFrame | None, similar: DataFrame
) -> Graph:
    """The graph of who bought what and who is recommended what.

    Parameters
    ----------
    indexed
        The interactions; those that are purchases are the bought edges.
    lists
        `recgraph.spark.recommend.LISTS`: the recommended edges.
    catalogue
        item_id, attributes and image_url; items that it lacks keep empty ones.
    similar
        `recgraph.spark.walk.NEIGHBOURS`: what the profiles of items name as similar.
    """
    edges = build_edges(indexed, lists).repartitionByRange(C.SRC)
    edges = materialize(edges.sortWithinPartitions(C.SRC, C.KIND, C.RANK, C.DST))
    bare = _bare_vertices(indexed, catalogue)
    ranked = ranked_vertices(bare, edges, indexed.n_users, indexed.n_items)
    vertices = materialize(_with_degrees(bare, edges).join(ranked, C.ID).orderBy(C.ID))
    return Graph(vertices, edges, mappable(vertices), indexed.n_users, indexed.n_items, similar)


def build_edges(indexed: Indexed, lists: DataFrame) -> DataFrame:
    """Bought and recommended edges, from users to items."""
    src = F.col(C.USER_INDEX).cast("long").alias(C.SRC)
    dst = (F.col(C.ITEM_INDEX).cast("long") + indexed.n_users).alias(C.DST)
    bought = indexed.interactions.where(C.IS_BOUGHT).select(
        src,
        dst,
        F.lit(BOUGHT).alias(C.KIND),
        C.RATING,
        C.N_EVENTS,
        F.unix_micros(C.LAST_AT).alias(C.LAST_AT),
    )
    recommended = lists.select(
        src,
        dst,
        F.lit(RECOMMENDED).alias(C.KIND),
        C.RANK,
        *(F.col(name).cast("double").alias(name) for name in (C.SCORE, *PARTS)),
        C.SOURCE,
        C.BECAUSE,
    )
    return bought.unionByName(recommended, allowMissingColumns=True)


def _bare_vertices(indexed: Indexed, catalogue: DataFrame | None) -> DataFrame:
    """Kind, ids and attributes of every user and item."""
    attributes = (*ATTRIBUTES, C.IMAGE_URL)
    unknown = [F.lit(None).cast("string").alias(name) for name in attributes]
    users = indexed.users.select(
        F.col(C.USER_INDEX).cast("long").alias(C.ID),
        F.lit(USER).alias(C.KIND),
        F.col(C.USER_ID).alias(C.EXTERNAL_ID),
        F.concat(F.lit("u:"), C.USER_ID).alias(KEY),
        *unknown,
    )
    items = indexed.items
    if catalogue is not None:
        items = items.join(catalogue.select(C.ITEM_ID, *attributes), C.ITEM_ID, "left")
    else:
        items = items.select("*", *unknown)
    items = items.select(
        (F.col(C.ITEM_INDEX).cast("long") + indexed.n_users).alias(C.ID),
        F.lit(ITEM).alias(C.KIND),
        F.col(C.ITEM_ID).alias(C.EXTERNAL_ID),
        F.concat(F.lit("i:"), C.ITEM_ID).alias(KEY),
        *attributes,
    )
    return users.unionByName(items)


def _with_degrees(vertices: DataFrame, edges: DataFrame) -> DataFrame:
    """The vertices with their degree in each kind of edge; 0 where there is none."""
    ends = edges.select(F.explode(F.array(C.SRC, C.DST)).alias(C.ID), C.KIND)
    degrees = ends.groupBy(C.ID).agg(
        F.count_if(F.col(C.KIND) == BOUGHT).cast("int").alias(C.BOUGHT_DEGREE),
        F.count_if(F.col(C.KIND) == RECOMMENDED).cast("int").alias(C.RECOMMENDED_DEGREE),
    )
    return vertices.join(degrees, C.ID, "left").fillna(0, [C.BOUGHT_DEGREE, C.RECOMMENDED_DEGREE])


def ranked_vertices(
    vertices: DataFrame,
    edges: DataFrame,
    n_users: int,
    n_items: int,
    *,
    most_by_graphx: int = _MOST_BY_GRAPHX,
) -> DataFrame:
    """The pagerank of each vertex by id; the mean over all vertices is 1.

    Both kinds of edges count, in both directions: along recommended edges alone PageRank is only
    the in-degree again. What GraphX has no room for, `recgraph.spark.pagerank` ranks, to the same
    numbers.
    """
    if edges.count() > most_by_graphx:
        return pagerank(
            edges,
            n_users=n_users,
            n_items=n_items,
            reset=_RESET_PROBABILITY,
            n_sweeps=_PAGERANK_SWEEPS,
        )
    there = edges.select(C.SRC, C.DST)
    back = edges.select(F.col(C.DST).alias(C.SRC), F.col(C.SRC).alias(C.DST))
    graph = GraphFrame(vertices.select(C.ID), there.unionByName(back))
    ranked = graph.pageRank(resetProbability=_RESET_PROBABILITY, maxIter=_PAGERANK_SWEEPS)
    vertices_ranked: DataFrame = ranked.vertices.select(C.ID, C.PAGERANK)
    return vertices_ranked


def degrees_of_items(graph: Graph) -> Degrees:
    """The degree distributions over all items."""
    items = _items_of(graph)
    bought, recommended = (
        np.unique(items.column(degree).to_numpy(), return_counts=True)
        for degree in (C.BOUGHT_DEGREE, C.RECOMMENDED_DEGREE)
    )
    each = items.column(C.RECOMMENDED_DEGREE).to_numpy()
    return Degrees(
        bought=list(zip(*(column.tolist() for column in bought), strict=True)),
        recommended=list(zip(*(column.tolist() for column in recommended), strict=True)),
        coverage=float((each > 0).mean()),
        top_share=metrics.top_share(each),
        gini=metrics.gini(each),
    )


def departments_recommended(graph: Graph) -> list[str]:
    """Departments of the items that stand in at least one list, alphabetically."""
    items = _items_of(graph)
    listed = items.filter(pc.greater(items.column(C.RECOMMENDED_DEGREE), 0))
    return sorted(pc.unique(listed.column(C.DEPARTMENT)).drop_null().to_pylist())


def _items_of(graph: Graph) -> pa.Table:
    return map_table(graph.table).slice(graph.n_users)
