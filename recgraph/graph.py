"""Store -> the small graphs that people look at: ego networks and explanations, with positions.

Every graph here is a `networkx.MultiDiGraph` whose vertices are ``u:<user id>`` and
``i:<item id>`` and whose edges run from user to item, keyed ``bought`` or ``recommended``. All of
them are bounded, in vertices, in edges and in reads: the whole graph is never loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TypeAlias

import networkx as nx
import numpy as np

from recgraph.errors import InputError
from recgraph.ports import ItemProfile, Kind, Store, UserProfile

MAX_VERTICES = 300
"""Vertices of the largest graph drawn."""
MAX_EDGES = 2_000
"""Edges of the largest graph drawn."""
MAX_CENTRES = 24
"""Vertices that can be expanded in one graph; each costs one read."""
NEIGHBOURS = 24
"""Neighbours that a centre brings along: recommended and bought in turn, the strongest first."""
SECOND_CENTRES = 8
"""Neighbours of the first centre that bring along neighbours of their own."""
SECOND_NEIGHBOURS = 6
"""Neighbours that each of those brings."""
MAX_PATHS = 8
"""Likeminded users that an explanation shows."""
SHARED_ITEMS = 5
"""Shared purchases that an explanation shows for each of them."""

BOUGHT = "bought"
RECOMMENDED = "recommended"

Graph: TypeAlias = "nx.MultiDiGraph[str]"
Positions: TypeAlias = dict[str, tuple[float, float]]
Profile: TypeAlias = UserProfile | ItemProfile

_PIXELS = 225.0
_COLUMN_PIXELS = 300.0
_SPACING = 2.2
_WIDER = 1.45  # pictures are wider than high


class Edge(NamedTuple):
    """One edge, with what it tells about its item."""

    user: str
    item: str
    kind: str
    attributes: dict[str, Any]
    item_attributes: dict[str, Any]


def vertex_id(kind: Kind, external_id: str) -> str:
    """Return the id of a vertex, such as ``u:1364`` or ``i:995242``."""
    return f"{kind[0]}:{external_id}"


def kind_and_id(vertex: str) -> tuple[Kind, str]:
    """Return kind and external id of a vertex.

    Raises
    ------
    InputError
        The text begins with neither ``u:`` nor ``i:``, or nothing follows.
    """
    prefix, _, external_id = vertex.partition(":")
    if prefix == "u" and external_id:
        return "user", external_id
    if prefix == "i" and external_id:
        return "item", external_id
    message = f"{vertex!r} is no vertex: u:<user id> or i:<product id> was expected."
    raise InputError(message)


def read_profile(store: Store, vertex: str) -> Profile | None:
    """Return the profile of a vertex, or None when the generation does not know it."""
    kind, external_id = kind_and_id(vertex)
    return store.user(external_id) if kind == "user" else store.item(external_id)


def ego_network(store: Store, centres: Sequence[str]) -> Graph:
    """Return the neighbourhood of the centres; empty when the first one is unknown.

    The strongest neighbours come first: recommendations by rank, purchases by rating. The first
    centre's nearest neighbours bring some of their own, so that what they share can be seen, and
    every edge that was read between two shown vertices is shown. It stops at `MAX_VERTICES` and
    `MAX_EDGES`.
    """
    graph: Graph = nx.MultiDiGraph()
    centres = list(dict.fromkeys(centres))[:MAX_CENTRES]
    start = read_profile(store, centres[0])
    if start is None:
        return graph
    longest = dict.fromkeys(_nearest(centres[0], start), SECOND_NEIGHBOURS)
    longest = {centres[0]: NEIGHBOURS} | longest | dict.fromkeys(centres, NEIGHBOURS)
    profiles = {centres[0]: start} | _read(store, [v for v in longest if v != centres[0]])
    edges = {vertex: _edges(vertex, profile) for vertex, profile in profiles.items()}
    for vertex, profile in profiles.items():
        _add_vertex(graph, vertex, profile, is_centre=vertex in centres)
        _add_edges(graph, edges[vertex][: longest[vertex]])
    _add_edges(graph, chain.from_iterable(edges.values()), within=frozenset(graph))
    return graph


def explanation(store: Store, user_id: str, item_id: str) -> Graph:
    """Return paths user - bought item - likeminded user - recommended item; empty without any.

    The likeminded users are those of the item's strongest buyers who share most purchases with
    the user.
    """
    graph: Graph = nx.MultiDiGraph()
    user, item = store.user(user_id), store.item(item_id)
    if user is None or item is None:
        return graph
    mine = _bought_items(user, except_for=item_id)
    buyers = [row.user_id for row in item.buyers[:MAX_CENTRES] if row.user_id != user_id]
    others = _read(store, [vertex_id("user", buyer) for buyer in buyers])
    shared = {v: [i for i in _bought_items(other) if i in mine] for v, other in others.items()}
    nearest = sorted(filter(shared.get, shared), key=lambda v: -len(shared[v]))[:MAX_PATHS]
    if not nearest:
        return graph
    ends: dict[str, Profile] = {vertex_id("user", user_id): user, vertex_id("item", item_id): item}
    shown: dict[str, Profile] = {vertex: others[vertex] for vertex in nearest} | ends
    for vertex, profile in shown.items():
        _add_vertex(graph, vertex, profile, is_centre=vertex in ends)
    between = chain.from_iterable(shared[vertex][:SHARED_ITEMS] for vertex in nearest)
    within = frozenset(graph) | {vertex_id("item", i) for i in between}
    for vertex, profile in shown.items():
        _add_edges(graph, _edges(vertex, profile), within=within)
    layers = {vertex_id("user", user_id): 0, vertex_id("item", item_id): 3}
    layers |= dict.fromkeys(nearest, 2)
    nx.set_node_attributes(graph, {vertex: layers.get(vertex, 1) for vertex in graph}, "layer")
    return graph


def layout_positions(
    graph: Graph, fixed: Mapping[str, tuple[float, float]] | None = None
) -> Positions:
    """Return a position for every vertex, in pixels; those in ``fixed`` keep theirs.

    The same graph gets the same positions. A vertex that joins a fixed graph appears beside its
    neighbours and settles between the others.
    """
    fixed = {vertex: place for vertex, place in (fixed or {}).items() if vertex in graph}
    if len(fixed) == len(graph) or len(graph) < 2:
        return {vertex: fixed.get(vertex, (0.0, 0.0)) for vertex in graph}
    if all("layer" in data for _, data in graph.nodes(data=True)):
        return _in_layers(graph)
    simple = nx.Graph(graph)
    pixels = _PIXELS * np.sqrt(len(simple) / 40)
    if fixed:
        return _grown(simple, fixed, pixels) | fixed
    return _scaled(nx.kamada_kawai_layout(simple, _distances(simple)), pixels)


def _distances(graph: "nx.Graph[str]") -> dict[str, dict[str, float]]:
    """Return the length of the path between any two vertices; what no path joins stands apart."""
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    apart = 1.0 + max(max(row.values()) for row in lengths.values())
    return {
        vertex: {other: row.get(other, apart) for other in graph} for vertex, row in lengths.items()
    }


def _grown(
    graph: "nx.Graph[str]", fixed: Mapping[str, tuple[float, float]], pixels: float
) -> Positions:
    """Return positions where only what has joined the fixed vertices moves."""
    places = nx.spring_layout(
        graph,
        k=_SPACING / np.sqrt(len(graph)),
        pos=_beside_neighbours(graph, fixed, pixels),
        fixed=list(fixed),
        iterations=50,
        seed=42,
    )
    return _scaled(places, pixels)


def _scaled(places: Mapping[str, Any], pixels: float) -> Positions:
    return {v: (float(x * pixels * _WIDER), float(y * pixels)) for v, (x, y) in places.items()}


def _in_layers(graph: Graph) -> Positions:
    """Return positions in columns, left to right, each column around the middle."""
    columns: dict[int, list[str]] = {}
    for vertex, layer in nx.get_node_attributes(graph, "layer").items():
        columns.setdefault(layer, []).append(vertex)
    return {
        vertex: (_COLUMN_PIXELS * layer, _COLUMN_PIXELS * 2 * ((place + 0.5) / len(column) - 0.5))
        for layer, column in columns.items()
        for place, vertex in enumerate(column)
    }


def _beside_neighbours(
    graph: "nx.Graph[str]", fixed: Mapping[str, tuple[float, float]], pixels: float
) -> dict[str, Any]:
    rng = np.random.default_rng(42)
    places = {
        vertex: np.asarray(place) / (pixels * _WIDER, pixels) for vertex, place in fixed.items()
    }
    centre = np.mean(list(places.values()), axis=0)
    for vertex in graph:
        if vertex not in fixed:
            near = [places[other] for other in graph[vertex] if other in fixed] or [centre]
            places[vertex] = np.mean(near, axis=0) + rng.normal(0, 0.3, 2)
    return places


def _read(store: Store, vertices: Iterable[str]) -> dict[str, Profile]:
    """Return the profiles of those vertices that the generation knows, in order."""
    profiles = {vertex: read_profile(store, vertex) for vertex in vertices}
    return {vertex: profile for vertex, profile in profiles.items() if profile is not None}


def _bought_items(profile: Profile, except_for: str | None = None) -> dict[str, None]:
    """Return the items a user bought, the strongest first; nothing for an item."""
    rows = profile.bought if isinstance(profile, UserProfile) else []
    return {row.item_id: None for row in rows if row.item_id != except_for}


def _nearest(vertex: str, profile: Profile) -> list[str]:
    """Return the neighbours that bring neighbours of their own."""
    ends = [e.item if e.user == vertex else e.user for e in _edges(vertex, profile)]
    return list(dict.fromkeys(ends))[:SECOND_CENTRES]


def _edges(vertex: str, profile: Profile) -> list[Edge]:
    """Return the edges of a profile: recommended and bought in turn, the strongest first."""
    if isinstance(profile, UserProfile):
        recommended = [
            Edge(vertex, vertex_id("item", row.item_id), RECOMMENDED, _place(row), _about(row))
            for row in profile.recommended
        ]
        bought = [
            Edge(
                vertex, vertex_id("item", row.item_id), BOUGHT, {"rating": row.rating}, _about(row)
            )
            for row in profile.bought
        ]
    else:
        about = _about(profile)
        recommended = [
            Edge(vertex_id("user", row.user_id), vertex, RECOMMENDED, _place(row), about)
            for row in profile.recommended_to
        ]
        bought = [
            Edge(vertex_id("user", row.user_id), vertex, BOUGHT, {"rating": row.rating}, about)
            for row in profile.buyers
        ]
    pairs = zip_longest(recommended, bought)
    return [edge for pair in pairs for edge in pair if edge is not None]


def _place(row: Any) -> dict[str, Any]:
    return {"rank": row.rank, "score": row.score}


def _about(row: Any) -> dict[str, Any]:
    return {"title": row.title, "department": row.department}


def _add_vertex(graph: Graph, vertex: str, profile: Profile, *, is_centre: bool) -> None:
    kind, _ = kind_and_id(vertex)
    about = _about(profile) if isinstance(profile, ItemProfile) else {}
    if vertex in graph or len(graph) < MAX_VERTICES:
        graph.add_node(vertex, **{"kind": kind, "is_centre": is_centre, **about})


def _add_edges(
    graph: Graph, edges: Iterable[Edge], *, within: frozenset[str] | None = None
) -> None:
    """Add edges and their ends, as long as there is room, and within the vertices given."""
    n_edges = graph.number_of_edges()  # which walks all vertices: asked once
    for edge in edges:
        ends = {edge.user, edge.item}
        is_inside = within is None or ends <= within
        has_room = len(graph) + len(ends.difference(graph)) <= MAX_VERTICES
        if is_inside and has_room and n_edges < MAX_EDGES:
            n_edges += not graph.has_edge(edge.user, edge.item, key=edge.kind)
            _add_end(graph, edge.user, kind="user")
            _add_end(graph, edge.item, kind="item", **edge.item_attributes)
            graph.add_edge(edge.user, edge.item, key=edge.kind, **edge.attributes)


def _add_end(graph: Graph, vertex: str, **attributes: Any) -> None:
    if vertex not in graph:
        graph.add_node(vertex, is_centre=False, **attributes)
