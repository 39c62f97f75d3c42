"""Interactions and lists -> the graph of users and items, and the profiles read from it.

Inside, vertices are dense longs: users 0 to n_users - 1, items behind them. What leaves is keyed
by ids that last: ``u:<user id>`` and ``i:<item id>``.
"""

from typing import NamedTuple

import numpy as np
from graphframes import GraphFrame
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recgraph import metrics
from recgraph.columns import Columns as C
from recgraph.generations import Degrees
from recgraph.spark.model import Indexed
from recgraph.spark.pagerank import pagerank
from recgraph.spark.scratch import materialize

USER, ITEM = "user", "item"
BOUGHT, RECOMMENDED = "bought", "recommended"

_ATTRIBUTES = (C.TITLE, C.DEPARTMENT, C.BRAND, C.CATEGORY)
_PARTS = (C.ALS, C.WALK, C.REPEAT, C.CONTENT)
_N_SIMILAR = 10
"""Similar items that the profile of an item names."""
_PAGERANK_SWEEPS = 10
_RESET_PROBABILITY = 0.15
_MOST_BY_GRAPHX = 2_000_000
"""Edges: GraphX holds each in both directions in the heap of the JVM, 2 GiB by default."""


class Graph(NamedTuple):
    """Vertices and edges by dense long ids; both frames are materialized."""

    vertices: DataFrame
    """id, kind, external_id, the catalogue's attributes, both degrees, pagerank."""
    edges: DataFrame
    """src (a user), dst (an item), kind, rank, score and its parts, rating, source, because,
    n_events, last_at."""
    n_users: int
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
        item_id and attributes; items that it lacks keep empty ones.
    similar
        `recgraph.spark.walk.NEIGHBOURS`: what the profiles of items name as similar.
    """
    edges = materialize(build_edges(indexed, lists))
    bare = _bare_vertices(indexed, catalogue)
    ranked = ranked_vertices(bare, edges, indexed.n_users, indexed.n_items)
    vertices = _with_degrees(bare, edges).join(ranked, C.ID)
    return Graph(materialize(vertices), edges, indexed.n_users, similar)


def build_edges(indexed: Indexed, lists: DataFrame) -> DataFrame:
    """Bought and recommended edges, from users to items."""
    src = F.col(C.USER_INDEX).cast("long").alias(C.SRC)
    dst = (F.col(C.ITEM_INDEX).cast("long") + indexed.n_users).alias(C.DST)
    bought = indexed.interactions.where(C.IS_BOUGHT).select(
        src, dst, F.lit(BOUGHT).alias(C.KIND), C.RATING, C.N_EVENTS, C.LAST_AT
    )
    recommended = lists.select(
        src,
        dst,
        F.lit(RECOMMENDED).alias(C.KIND),
        C.RANK,
        *(F.col(name).cast("double").alias(name) for name in (C.SCORE, *_PARTS)),
        C.SOURCE,
        C.BECAUSE,
    )
    return bought.unionByName(recommended, allowMissingColumns=True)


def _bare_vertices(indexed: Indexed, catalogue: DataFrame | None) -> DataFrame:
    """Kind, external id and attributes of every user and item."""
    users = indexed.users.select(
        F.col(C.USER_INDEX).cast("long").alias(C.ID),
        F.lit(USER).alias(C.KIND),
        F.col(C.USER_ID).alias(C.EXTERNAL_ID),
        *(F.lit(None).cast("string").alias(name) for name in _ATTRIBUTES),
    )
    items = indexed.items
    if catalogue is not None:
        items = items.join(catalogue.select(C.ITEM_ID, *_ATTRIBUTES), C.ITEM_ID, "left")
    else:
        items = items.select("*", *(F.lit(None).cast("string").alias(n) for n in _ATTRIBUTES))
    items = items.select(
        (F.col(C.ITEM_INDEX).cast("long") + indexed.n_users).alias(C.ID),
        F.lit(ITEM).alias(C.KIND),
        F.col(C.ITEM_ID).alias(C.EXTERNAL_ID),
        *_ATTRIBUTES,
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


def external_vertices(graph: Graph) -> DataFrame:
    """The vertices as they leave: keyed ``u:<user id>`` or ``i:<item id>``."""
    return graph.vertices.withColumn(C.ID, _key(C.KIND, C.EXTERNAL_ID))


def external_edges(graph: Graph) -> DataFrame:
    """The edges as they leave, sorted by source, kind, rank and target."""
    keys = graph.vertices.select(C.ID, _key(C.KIND, C.EXTERNAL_ID).alias("key"))
    keyed = graph.edges
    for end in (C.SRC, C.DST):
        named = keys.select(F.col(C.ID).alias(end), F.col("key").alias(f"{end}_key"))
        keyed = keyed.join(named, end)
    return keyed.select(
        F.col("src_key").alias(C.SRC),
        F.col("dst_key").alias(C.DST),
        *(C.KIND, C.RANK, C.SCORE, *_PARTS, C.RATING, C.SOURCE),
    ).orderBy(C.SRC, C.KIND, C.RANK, C.DST)


def _key(kind: str, external_id: str) -> Column:
    return F.concat(F.substring(kind, 1, 1), F.lit(":"), F.col(external_id))


def user_profiles(graph: Graph, *, max_neighbours: int) -> DataFrame:
    """A row a user: `recgraph.ports.UserProfile` and user_index, sorted by user_index."""
    items = graph.vertices.where(F.col(C.KIND) == ITEM).select(
        F.col(C.ID).alias(C.DST), F.col(C.EXTERNAL_ID).alias(C.ITEM_ID), C.TITLE, C.DEPARTMENT
    )
    edges = graph.edges.drop(C.BECAUSE).join(items, C.DST)
    edges = edges.join(_reasons(graph), [C.SRC, C.DST, C.KIND], "left")
    bought = F.struct(C.ITEM_ID, C.RATING, C.N_EVENTS, C.LAST_AT, C.TITLE, C.DEPARTMENT)
    because = F.coalesce(C.BECAUSE, F.array()).alias(C.BECAUSE)
    about = C.SOURCE, C.TITLE, C.DEPARTMENT, because
    recommended = F.struct(C.ITEM_ID, C.RANK, C.SCORE, _parts(), *about)
    users = graph.vertices.where(F.col(C.KIND) == USER).select(
        C.ID,
        F.col(C.EXTERNAL_ID).alias(C.USER_ID),
        F.col(C.ID).cast("int").alias(C.USER_INDEX),
        *(C.BOUGHT_DEGREE, C.RECOMMENDED_DEGREE, C.PAGERANK),
    )
    lists = {C.BOUGHT: (BOUGHT, bought), C.RECOMMENDED: (RECOMMENDED, recommended)}
    for name, (kind, neighbour) in lists.items():
        near = _nearest(edges, C.SRC, kind, neighbour, max_neighbours)
        users = _with_neighbours(users, near, name, C.SRC)
    return users.drop(C.ID).orderBy(C.USER_INDEX)


def _parts() -> Column:
    """Part of the score -> what it adds, without the parts that are off."""
    pairs = [each for name in _PARTS for each in (F.lit(name), F.col(name))]
    return F.map_filter(F.create_map(*pairs), lambda _, value: value.isNotNull()).alias("parts")


def _reasons(graph: Graph) -> DataFrame:
    """src, dst, kind, because: the bought items behind each recommended edge, by id and title."""
    named = _named_items(graph, C.ITEM_INDEX)
    reason = F.struct(F.negate(C.SHARE).alias("order"), C.ITEM_ID, C.SHARE, C.TITLE)
    reasons = F.transform(
        F.sort_array(F.collect_list(reason)),
        lambda each: F.struct(*(each[name].alias(name) for name in (C.ITEM_ID, C.SHARE, C.TITLE))),
    )
    return (
        graph.edges.select(C.SRC, C.DST, C.KIND, F.inline(C.BECAUSE))
        .join(named, C.ITEM_INDEX)
        .groupBy(C.SRC, C.DST, C.KIND)
        .agg(reasons.alias(C.BECAUSE))
    )


def _similar(graph: Graph) -> DataFrame:
    """item_index, similar: the strongest neighbours of each item, by id and title."""
    strongest = Window.partitionBy(C.ITEM_INDEX).orderBy(F.desc(C.WEIGHT), C.NEIGHBOUR_INDEX)
    nearest = graph.similar.withColumn("order", F.row_number().over(strongest)).where(
        F.col("order") <= _N_SIMILAR
    )
    named = _named_items(graph, C.NEIGHBOUR_INDEX)
    neighbour = F.struct(
        "order", C.ITEM_ID, F.col(C.WEIGHT).cast("double").alias(C.WEIGHT), C.TITLE
    )
    similar = F.transform(
        F.sort_array(F.collect_list(neighbour)),
        lambda each: F.struct(*(each[name].alias(name) for name in (C.ITEM_ID, C.WEIGHT, C.TITLE))),
    )
    by_item = nearest.join(named, C.NEIGHBOUR_INDEX).groupBy(C.ITEM_INDEX)
    return by_item.agg(similar.alias(C.SIMILAR))


def _named_items(graph: Graph, index: str) -> DataFrame:
    """The items' dense index, under a name of its own, with id and title."""
    return graph.vertices.where(F.col(C.KIND) == ITEM).select(
        (F.col(C.ID) - graph.n_users).cast("int").alias(index),
        F.col(C.EXTERNAL_ID).alias(C.ITEM_ID),
        C.TITLE,
    )


def item_profiles(
    graph: Graph, *, max_neighbours: int, catalogue: DataFrame | None = None
) -> DataFrame:
    """A row an item: `recgraph.ports.ItemProfile` and item_index, sorted by item_index.

    Parameters
    ----------
    catalogue
        item_id and image_url; without it there are no pictures.
    """
    users = graph.vertices.where(F.col(C.KIND) == USER).select(
        F.col(C.ID).alias(C.SRC), F.col(C.EXTERNAL_ID).alias(C.USER_ID)
    )
    edges = graph.edges.join(users, C.SRC)
    items = (
        graph.vertices.where(F.col(C.KIND) == ITEM)
        .select(
            C.ID,
            F.col(C.EXTERNAL_ID).alias(C.ITEM_ID),
            (F.col(C.ID) - graph.n_users).cast("int").alias(C.ITEM_INDEX),
            *_ATTRIBUTES,
            *(C.BOUGHT_DEGREE, C.RECOMMENDED_DEGREE, C.PAGERANK),
        )
        .join(_similar(graph), C.ITEM_INDEX, "left")
    )
    items = items.withColumn(C.SIMILAR, F.coalesce(C.SIMILAR, F.array()))
    lists = {
        C.BUYERS: (BOUGHT, F.struct(C.USER_ID, C.RATING, C.LAST_AT)),
        C.RECOMMENDED_TO: (RECOMMENDED, F.struct(C.USER_ID, C.RANK, C.SCORE)),
    }
    for name, (kind, neighbour) in lists.items():
        near = _nearest(edges, C.DST, kind, neighbour, max_neighbours)
        items = _with_neighbours(items, near, name, C.DST)
    if catalogue is None:
        items = items.withColumn(C.IMAGE_URL, F.lit(None).cast("string"))
    else:
        items = items.join(catalogue.select(C.ITEM_ID, C.IMAGE_URL), C.ITEM_ID, "left")
    return items.drop(C.ID).orderBy(C.ITEM_INDEX)


def _nearest(
    edges: DataFrame, end: str, kind: str, neighbour: Column, max_neighbours: int
) -> DataFrame:
    """The strongest neighbours of each vertex at one end of the edges, strongest first.

    Bought edges are ordered by rating and then by the latest purchase, recommended ones by rank;
    what is left equal by id. A window, not a collected list, finds them: a product that
    everybody bought must not fill the memory of a task.
    """
    other = C.DST if end == C.SRC else C.SRC
    strength = (
        [F.col(C.RANK), F.col(other)]
        if kind == RECOMMENDED
        else [F.col(C.RATING).desc(), F.col(C.LAST_AT).desc(), F.col(other)]
    )
    position = F.row_number().over(Window.partitionBy(end).orderBy(*strength))
    return (
        edges.where(F.col(C.KIND) == kind)
        .withColumn("position", position)
        .where(F.col("position") <= max_neighbours)
        .select(end, F.struct("position", neighbour.alias("neighbour")).alias("placed"))
    )


def _with_neighbours(vertices: DataFrame, near: DataFrame, name: str, end: str) -> DataFrame:
    # A comparator, because a neighbour holds a map, and maps have no order.
    by_position = F.array_sort(
        F.collect_list("placed"), lambda one, two: one["position"] - two["position"]
    )
    lists = near.groupBy(F.col(end).alias(C.ID)).agg(by_position.alias("placed"))
    return (
        vertices.join(lists, C.ID, "left")
        .withColumn(name, F.coalesce("placed.neighbour", F.array()))
        .drop("placed")
    )


def degrees_of_items(graph: Graph) -> Degrees:
    """The degree distributions over all items; only the distributions come to the driver."""
    items = graph.vertices.where(F.col(C.KIND) == ITEM)
    distributions = []
    for degree in (C.BOUGHT_DEGREE, C.RECOMMENDED_DEGREE):
        rows = items.groupBy(degree).count().orderBy(degree).collect()
        distributions.append([(row[degree], row["count"]) for row in rows])
    bought, recommended = distributions
    values, counts = (np.array(column) for column in zip(*recommended, strict=True))
    each = np.repeat(values, counts)
    return Degrees(
        bought=bought,
        recommended=recommended,
        coverage=float((each > 0).mean()),
        top_share=metrics.top_share(each),
        gini=metrics.gini(each),
    )


def departments_recommended(graph: Graph) -> list[str]:
    """Departments of the items that stand in at least one list, alphabetically."""
    rows = (
        graph.vertices.where((F.col(C.RECOMMENDED_DEGREE) > 0) & (F.col(C.KIND) == ITEM))
        .where(F.col(C.DEPARTMENT).isNotNull())
        .select(C.DEPARTMENT)
        .distinct()
        .orderBy(C.DEPARTMENT)
        .collect()
    )
    return [row[C.DEPARTMENT] for row in rows]
