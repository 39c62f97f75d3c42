from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest

from recgraph import graph as graphs
from recgraph.errors import InputError
from recgraph.generations import EDGES, VERTICES
from recgraph.graph import (
    MAX_EDGES,
    MAX_VERTICES,
    ego_network,
    explanation,
    kind_and_id,
    layout_positions,
    vertex_id,
)
from recgraph.ports import Kind
from recgraph.services.mongo import MongoStore
from recgraph.services.publish import publish
from tests.dashboards.serving import fresh_store
from tests.sample import NASTY_ITEMS, write_sample_generation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generations")
    return write_sample_generation(root, n_users=80, n_items=150, mean_bought=15, k=10)


@pytest.fixture(scope="module")
def store(mongo_uri: str, folder: Path) -> Iterator[MongoStore]:
    with fresh_store(mongo_uri) as empty:
        publish(empty, folder, keep=1)
        yield empty


@pytest.fixture(scope="module")
def all_edges(folder: Path) -> set[tuple[str, str, str]]:
    """Every edge of the generation, as the graphs name it."""
    vertices = pq.read_table(folder / VERTICES).to_pylist()
    names = {v["id"]: vertex_id(v["kind"], v["external_id"]) for v in vertices}
    edges = pq.read_table(folder / EDGES).to_pylist()
    return {(names[edge["src"]], names[edge["dst"]], edge["kind"]) for edge in edges}


@pytest.mark.parametrize("kind", ["user", "item"])
@pytest.mark.parametrize("external_id", ["1", "u:1", ":", " ", "a:b", "🛒"])
def test_vertex_id_keeps_any_id(kind: Kind, external_id: str) -> None:
    assert kind_and_id(vertex_id(kind, external_id)) == (kind, external_id)


@pytest.mark.parametrize("text", ["", "1", "u", "u:", "i:", "x:1", "U:1", ":1"])
def test_text_that_is_no_vertex_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="was expected"):
        kind_and_id(text)


@pytest.mark.services
@pytest.mark.parametrize("start", ["i:1010", "u:u20", "u:$where", *(f"i:{i}" for i in NASTY_ITEMS)])
def test_ego_network_holds_edges_of_the_generation_only(
    store: MongoStore, all_edges: set[tuple[str, str, str]], start: str
) -> None:
    graph = ego_network(store, [start])
    assert next(iter(graph)) == start
    assert graph.number_of_edges() > 5
    assert set(graph.edges(keys=True)) <= all_edges
    assert nx.is_weakly_connected(graph)


@pytest.mark.services
def test_ego_network_shows_the_strongest_neighbours_first(store: MongoStore) -> None:
    user = store.user("u20")
    assert user is not None
    graph = ego_network(store, ["u:u20"])
    shown = {item for _, item, kind in graph.out_edges("u:u20", keys=True) if kind == "recommended"}
    assert shown == {vertex_id("item", row.item_id) for row in user.recommended}
    strongest = [vertex_id("item", row.item_id) for row in user.bought[: graphs.NEIGHBOURS // 2]]
    assert set(strongest) <= set(graph["u:u20"])
    first = user.recommended[0]
    data = graph["u:u20"][vertex_id("item", first.item_id)]["recommended"]
    assert data == {"rank": 1, "score": first.score}


@pytest.mark.services
def test_ego_network_of_an_unknown_vertex_is_empty(store: MongoStore) -> None:
    assert len(ego_network(store, ["u:nobody"])) == 0
    assert len(ego_network(store, ["i:nothing", "u:u20"])) == 0


@pytest.mark.services
def test_ego_network_leaves_an_unknown_further_centre_out(store: MongoStore) -> None:
    assert set(ego_network(store, ["u:u20", "u:nobody"])) == set(ego_network(store, ["u:u20"]))


@pytest.mark.services
def test_expanding_adds_and_never_removes(store: MongoStore) -> None:
    before = ego_network(store, ["i:1010"])
    vertex = list(before)[-1]
    after = ego_network(store, ["i:1010", vertex])
    assert set(before) < set(after)
    assert set(before.edges(keys=True)) <= set(after.edges(keys=True))
    assert [v for v, centre in after.nodes(data="is_centre") if centre] == ["i:1010", vertex]


@pytest.mark.services
def test_ego_network_stays_within_bounds(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = [f"u:u{number}" for number in range(8, 80)]
    monkeypatch.setattr(graphs, "MAX_CENTRES", 80)
    graph = ego_network(store, everybody)
    assert len(graph) <= MAX_VERTICES
    assert graph.number_of_edges() <= MAX_EDGES
    monkeypatch.setattr(graphs, "MAX_VERTICES", 30)
    monkeypatch.setattr(graphs, "MAX_EDGES", 40)
    small = ego_network(store, everybody)
    assert len(small) == 30
    assert small.number_of_edges() == 40


@pytest.mark.services
def test_explanation_runs_over_shared_purchases(
    store: MongoStore, all_edges: set[tuple[str, str, str]]
) -> None:
    user = store.user("u20")
    assert user is not None
    target = user.recommended[0].item_id
    graph = explanation(store, "u20", target)
    assert set(graph.edges(keys=True)) <= all_edges
    layers = dict(graph.nodes(data="layer"))
    assert layers["u:u20"] == 0
    assert layers[vertex_id("item", target)] == 3
    between = [vertex for vertex, layer in layers.items() if layer == 1]
    assert between
    assert {kind_and_id(v)[1] for v in between} <= {row.item_id for row in user.bought}
    for vertex in between:
        assert graph.has_edge("u:u20", vertex, key="bought")
    for vertex in (vertex for vertex, layer in layers.items() if layer == 2):
        assert graph.has_edge(vertex, vertex_id("item", target), key="bought")


@pytest.mark.services
def test_explanation_of_the_unknown_is_empty(store: MongoStore) -> None:
    assert len(explanation(store, "nobody", "1010")) == 0
    assert len(explanation(store, "u20", "nothing")) == 0


def wheel(n_spokes: int) -> graphs.Graph:
    graph: graphs.Graph = nx.MultiDiGraph()
    for number in range(n_spokes):
        graph.add_edge("u:hub", f"i:{number}", key="bought")
    return graph


def test_positions_are_the_same_for_the_same_graph() -> None:
    assert layout_positions(wheel(30)) == layout_positions(wheel(30))


def test_positions_keep_vertices_apart() -> None:
    places = list(layout_positions(wheel(60)).values())
    gaps = [
        ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5
        for i, a in enumerate(places)
        for b in places[:i]
    ]
    assert min(gaps) > 5


def test_positions_spread_a_crowd_that_is_joined_by_everything() -> None:
    graph = wheel(24)
    graph.add_edges_from(
        (f"u:{user}", f"i:{item}", "bought") for user in range(8) for item in range(8)
    )
    places = np.array(list(layout_positions(graph).values()))
    gaps = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(len(places), 1)]
    assert gaps.min() > 20


def test_positions_of_parts_that_no_path_joins_are_apart_and_within_the_picture() -> None:
    graph = wheel(5)
    graph.add_edge("u:other", "i:other", key="bought")
    places = layout_positions(graph)
    joined = np.linalg.norm(np.subtract(places["u:other"], places["i:other"]))
    apart = min(np.linalg.norm(np.subtract(places["u:other"], places[v])) for v in wheel(5))
    assert 5 < joined < apart
    assert max(np.hypot(*place) for place in places.values()) < 500


def test_positions_that_are_fixed_are_kept() -> None:
    fixed = layout_positions(wheel(10))
    grown = wheel(10)
    grown.add_edge("u:other", "i:3", key="bought")
    grown.add_edge("u:other", "i:new", key="bought")
    places = layout_positions(grown, fixed | {"i:gone": (1.0, 2.0)})
    assert {vertex: places[vertex] for vertex in fixed} == fixed
    assert set(places) == set(grown)


@pytest.mark.parametrize("n_vertices", [0, 1])
def test_positions_of_a_tiny_graph(n_vertices: int) -> None:
    graph: graphs.Graph = nx.MultiDiGraph()
    graph.add_nodes_from([f"u:{number}" for number in range(n_vertices)], is_centre=True)
    assert layout_positions(graph) == {f"u:{number}": (0.0, 0.0) for number in range(n_vertices)}


def test_positions_of_layers_run_from_left_to_right() -> None:
    graph: graphs.Graph = nx.MultiDiGraph()
    nx.add_path(graph, ["u:1", "i:1", "u:2", "i:2"])
    nx.set_node_attributes(graph, {"u:1": 0, "i:1": 1, "u:2": 2, "i:2": 3}, "layer")
    places = layout_positions(graph)
    assert sorted(places, key=lambda vertex: places[vertex][0]) == ["u:1", "i:1", "u:2", "i:2"]
