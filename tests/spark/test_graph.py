"""The house graph: a handful of edges whose degrees, lists and keys can be counted by hand."""

import pytest
from pyspark.sql import SparkSession

from recgraph.spark import graph as spark_graph
from recgraph.spark import profiles, recommend, walk
from recgraph.spark.graph import Graph
from recgraph.spark.model import index_interactions
from tests.spark.conftest import interactions

BOUGHT = [
    ("ann", "bread", 3.0),
    ("ann", "milk", 1.0),
    ("bob", "bread", 1.0),
    ("c.$ o", "salt", 2.0),
]
LISTS = [
    (0, 2, 1, 0.9, 0.5, 0.4, None, None, "als+walk", [(1, 0.1), (0, 0.3)]),
    (1, 1, 1, 0.8, 0.8, 0.0, None, None, "als", []),
    (1, 2, 2, 0.4, 0.4, 0.0, None, None, "als", []),
    (2, 0, 1, 0.7, 0.7, 0.0, None, None, "als", []),
]
NEIGHBOURS = [(0, 1, 0.2), (0, 2, 0.5), (1, 0, 0.1)]


@pytest.fixture(scope="module")
def house(spark: SparkSession) -> Graph:
    lists = spark.createDataFrame(LISTS, recommend.LISTS)
    similar = spark.createDataFrame(NEIGHBOURS, walk.NEIGHBOURS)
    catalogue = spark.createDataFrame(
        [
            ("bread", "=Bread", "BAKERY", "Own", "LOAVES", None),
            ("salt", None, None, None, None, "https://img.example/s.jpg"),
            ("unsold", "x", "y", "z", "w", None),
        ],
        "item_id string, title string, department string, brand string, category string, "
        "image_url string",
    )
    indexed = index_interactions(interactions(spark, BOUGHT))
    return spark_graph.build_graph(indexed, lists, catalogue, similar)


def test_vertices_know_their_degrees_and_attributes(house: Graph) -> None:
    rows = {row["id"]: row for row in profiles.external_vertices(house).collect()}
    degrees = {key: (row["bought_degree"], row["recommended_degree"]) for key, row in rows.items()}
    assert degrees == {
        "u:ann": (2, 1),
        "u:bob": (1, 2),
        "u:c.$ o": (1, 1),
        "i:bread": (2, 1),
        "i:milk": (1, 1),
        "i:salt": (1, 2),
    }
    assert (rows["i:bread"]["title"], rows["i:bread"]["department"]) == ("=Bread", "BAKERY")
    assert rows["i:milk"]["title"] is None


def test_pagerank_has_mean_one_and_counts_both_kinds_of_edges(house: Graph) -> None:
    ranks = {row["id"]: row["pagerank"] for row in profiles.external_vertices(house).collect()}
    assert sum(ranks.values()) == pytest.approx(6, abs=1e-6)
    assert ranks["i:bread"] > ranks["i:milk"]
    assert min(ranks.values()) > 0


def test_edges_are_keyed_by_ids_that_last(house: Graph) -> None:
    rows = [tuple(row) for row in profiles.external_edges(house).collect()]
    assert len(rows) == len(BOUGHT) + len(LISTS)
    assert ("u:ann", "i:bread", "bought", *[None] * 6, 3.0, None) in rows
    (bob,) = [row for row in rows if row[:2] == ("u:bob", "i:salt")]
    assert bob[2:4] == ("recommended", 2)
    assert bob[4:7] == (pytest.approx(0.4), pytest.approx(0.4), 0.0)
    assert bob[7:] == (None, None, None, "als")
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_user_profiles_hold_the_strongest_neighbours_first(house: Graph) -> None:
    profiles = {row["user_id"]: row for row in _users(house, 500)}
    ann = profiles["ann"]
    assert [each["item_id"] for each in ann["bought"]] == ["bread", "milk"]
    assert ann["bought"][0]["title"] == "=Bread"
    first = ann["recommended"][0]
    assert first["parts"] == {"als": 0.5, "walk": pytest.approx(0.4)}
    assert [tuple(each) for each in first["because"]] == [
        ("bread", 0.3, "=Bread"),
        ("milk", 0.1, None),
    ]
    assert profiles["bob"]["recommended"][0]["because"] == []
    assert [each["rank"] for each in profiles["bob"]["recommended"]] == [1, 2]


def test_profiles_are_cut_but_degrees_are_not(house: Graph) -> None:
    ann = next(row for row in _users(house, 1) if row["user_id"] == "ann")
    assert len(ann["bought"]) == 1
    assert ann["bought_degree"] == 2


def test_item_profiles_hold_buyers_and_readers(house: Graph) -> None:
    rows = profiles.item_profiles(house, max_neighbours=500).collect()
    assert [row["item_index"] for row in rows] == [0, 1, 2]
    bread, _, salt = rows
    assert [each["user_id"] for each in bread["buyers"]] == ["ann", "bob"]
    assert [each["user_id"] for each in salt["recommended_to"]] == ["ann", "bob"]
    assert [(each["item_id"], each["title"]) for each in bread["similar"]] == [
        ("salt", None),
        ("milk", None),
    ]
    assert salt["similar"] == []


def test_item_profiles_have_the_pictures_of_the_catalogue(house: Graph) -> None:
    rows = profiles.item_profiles(house, max_neighbours=5).collect()
    assert {row["item_id"]: row["image_url"] for row in rows} == {
        "bread": None,
        "milk": None,
        "salt": "https://img.example/s.jpg",
    }
    assert [row["item_index"] for row in rows] == [0, 1, 2]


def test_degrees_of_items_describe_the_distribution(house: Graph) -> None:
    degrees = spark_graph.degrees_of_items(house)
    assert degrees.recommended == [(1, 2), (2, 1)]
    assert degrees.bought == [(1, 2), (2, 1)]
    assert degrees.coverage == 1.0
    assert degrees.top_share == 0.5


def test_departments_are_those_of_recommended_items(house: Graph) -> None:
    assert spark_graph.departments_recommended(house) == ["BAKERY"]


def _users(house: Graph, n: int) -> list:  # type: ignore[type-arg]
    return profiles.user_profiles(house, max_neighbours=n).collect()
