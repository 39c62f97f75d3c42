"""Network: the neighbourhood of a user or product, to walk through by clicking."""

from collections.abc import Collection, Mapping
from typing import Any

import dash_cytoscape as cyto
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from dashboards.labels import Drawn, crowded
from dashboards.pages.details import details
from dashboards.pages.search import find, search_box, suggestions
from dashboards.parts import Child, aria, card, notice, page, table, url, vertex_link
from dashboards.text import name_of, number
from recgraph import graph as graphs
from recgraph.errors import InputError
from recgraph.graph import Graph, Positions
from recgraph.ports import Store

PATH = "/network"
NAME = "Network"

MAX_TABLE_ROWS = 300
"""Edges that the table beside the picture lists."""

RULE = (
    "The strongest first: recommendations by rank, purchases by how often. "
    f"At most {graphs.MAX_VERTICES:,} vertices and {graphs.MAX_EDGES:,} edges."
)
PATHS_RULE = (
    "The paths behind a recommendation: what this user shares with those who bought the product, "
    f"the {graphs.MAX_PATHS} who share most."
)


def layout(store: Store, query: Mapping[str, str]) -> list[Child]:
    """Return the page around the vertex in the query, or around the most recommended product."""
    n_edges = store.current().manifest.counts.edges
    lead = "Search a user or product, then click a vertex to expand it."
    vertex = query.get("vertex") or _default_vertex(store)
    if vertex is None:
        return page("Network", lead, notice("Nothing to show", "The graph has no vertex."))
    try:
        graph, rule = _graph(store, vertex, query.get("why"))
        profile = graphs.read_profile(store, vertex)
    except InputError as error:
        return page("Network", lead, search_box(), notice("No such vertex", str(error)))
    if profile is None:
        kind, external_id = graphs.kind_and_id(vertex)
        name = {"user": "user", "item": "product"}[kind]
        text: Child = ["The current generation knows no ", name, " ", html.Code(external_id), "."]
        return page("Network", lead, search_box(), notice(f"Unknown {name}", text))
    if not graph:
        text = "Nobody who bought this product shares a purchase with this user."
        return page("Network", lead, search_box(), notice("No path", text))
    return page(
        "Network",
        lead,
        search_box(),
        dcc.Store(id="network-centres", data=list(filter(None, [vertex, query.get("why")]))),
        html.Div([_picture(graph, n_edges, rule), _panel(details(profile))], className="network"),
        html.Div(_edge_table(graph), id="network-table"),
    )


def register(app: Dash, store: Store) -> None:
    """Suggestions, expanding, and the colours of the scheme."""
    app.clientside_callback(
        ClientsideFunction("recgraph", "themed_network"),
        Output("network", "stylesheet"),
        Input("scheme", "computedColorScheme"),
        State("stylesheets", "data"),
    )

    @app.callback(
        Output("network-hits", "children"),
        Input("network-search", "value"),
        prevent_initial_call=True,
    )
    def suggest(text: str | None) -> Child:
        return suggestions(store, text or "")

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("network-search", "n_submit"),
        State("network-search", "value"),
        prevent_initial_call=True,
    )
    def go_to_the_first(n_submit: int | None, text: str | None) -> str:
        hits = find(store, text or "", 1)
        if not (n_submit and hits):
            raise PreventUpdate
        return url("", vertex=graphs.vertex_id(hits[0].kind, hits[0].external_id))

    @app.callback(
        Output("network", "elements"),
        Output("network-centres", "data"),
        Output("network-panel", "children"),
        Output("network-count", "children"),
        Output("network-table", "children"),
        Input("network", "tapNodeData"),
        State("network-centres", "data"),
        State("network", "elements"),
        prevent_initial_call=True,
    )
    def expand(
        tapped: dict[str, Any] | None, centres: list[str], elements: list[dict[str, Any]]
    ) -> tuple[Any, ...]:
        if not tapped:
            raise PreventUpdate
        return _expanded(store, str(tapped["id"]), [str(centre) for centre in centres], elements)


def _expanded(
    store: Store, vertex: str, centres: list[str], elements: list[dict[str, Any]]
) -> tuple[Any, ...]:
    """Return the grown graph, its centres, the panel, the count and the table."""
    profile = graphs.read_profile(store, vertex)
    if profile is None:  # another generation became current meanwhile
        raise PreventUpdate
    centres = list(dict.fromkeys([*centres, vertex]))[: graphs.MAX_CENTRES]
    graph = graphs.ego_network(store, centres)
    places = graphs.layout_positions(graph, _positions(elements))
    n_edges = store.current().manifest.counts.edges
    count = _count(graph, n_edges, RULE)
    return _elements(graph, places), centres, details(profile), count, _edge_table(graph)


def _default_vertex(store: Store) -> str | None:
    items = store.top_recommended(1) or store.popular(1)
    return graphs.vertex_id("item", items[0].item_id) if items else None


def _graph(store: Store, vertex: str, why: str | None) -> tuple[Graph, str]:
    """Return the neighbourhood, or with ``why`` the paths from a user to a product."""
    if not why:
        return graphs.ego_network(store, [vertex]), RULE
    (kind, user_id), (item_kind, item_id) = graphs.kind_and_id(vertex), graphs.kind_and_id(why)
    if (kind, item_kind) != ("user", "item"):
        message = f"A path runs from a user to a product, found {vertex!r} and {why!r}."
        raise InputError(message)
    return graphs.explanation(store, user_id, item_id), PATHS_RULE


def _picture(graph: Graph, n_edges: int, rule: str) -> Child:
    places = graphs.layout_positions(graph)
    drawing = cyto.Cytoscape(
        id="network",
        elements=_elements(graph, places),
        layout={"name": "preset", "fit": True, "padding": 28},
        style={"width": "100%", "height": "100%"},
        minZoom=0.1,
        maxZoom=3,
        responsive=True,
        boxSelectionEnabled=False,
    )
    label = "Drawing of the neighbourhood; the table below lists the same edges with links."
    return html.Section(
        [
            html.Div(drawing, className="canvas", role="img", **aria(label=label)),
            html.Div(
                [_legend(), html.Div(_count(graph, n_edges, rule), id="network-count")],
                className="canvas-foot",
            ),
        ],
        className="card picture",
    )


def _legend() -> Child:
    entries = (
        ("dot-user", "user"),
        ("dot-item", "product"),
        ("line-bought", "bought"),
        ("line-recommended", "recommended"),
    )
    return html.Ul(
        [html.Li([html.Span(className=f"key {name}"), text]) for name, text in entries],
        className="legend",
    )


def _count(graph: Graph, n_edges: int, rule: str) -> list[Child]:
    shown, vertices = graph.number_of_edges(), graph.number_of_nodes()
    text = f"Showing {number(shown)} of {number(n_edges)} edges, {number(vertices)} vertices."
    centres = sum(data["is_centre"] for _, data in graph.nodes(data=True))
    is_full = (
        vertices >= graphs.MAX_VERTICES
        or shown >= graphs.MAX_EDGES
        or centres >= graphs.MAX_CENTRES
    )
    full = " It is full: start anew from a vertex in the table." if is_full else ""
    return [html.Strong(text), f" {rule}{full}"]


def _panel(children: list[Child]) -> Child:
    return html.Aside(
        children,
        id="network-panel",
        className="card panel",
        tabIndex="0",
        **aria(label="Details of the chosen vertex", live="polite"),
    )


def _elements(graph: Graph, places: Positions) -> list[dict[str, Any]]:
    drawn = [
        Drawn(vertex, _label(vertex, data), *places[vertex], _size(data), data["is_centre"])
        for vertex, data in graph.nodes(data=True)
    ]
    without_room = crowded(sorted(drawn, key=lambda each: _priority(graph, each.vertex)))
    vertices = [
        {
            "data": {"id": each.vertex, "label": each.label, "size": each.size},
            "position": {"x": each.x, "y": each.y},
            "classes": _classes(graph.nodes[each.vertex]["kind"], each, without_room),
        }
        for each in drawn
    ]
    edges = [
        {"data": {"id": f"{src} {dst} {kind}", "source": src, "target": dst}, "classes": kind}
        for src, dst, kind in graph.edges(keys=True)
    ]
    return [*vertices, *edges]


def _priority(graph: Graph, vertex: str) -> tuple[bool, bool, int]:
    """Sort by whose name is wanted most: centres, then products, then by edges."""
    data = graph.nodes[vertex]
    return not data["is_centre"], data["kind"] == "user", -graph.degree(vertex)


def _classes(kind: str, each: Drawn, without_room: Collection[str]) -> str:
    marks = [kind, "centre" * each.is_centre, "crowded" * (each.vertex in without_room)]
    return " ".join(filter(None, marks))


def _positions(elements: list[dict[str, Any]]) -> Positions:
    return {
        str(element["data"]["id"]): (
            float(element["position"]["x"]),
            float(element["position"]["y"]),
        )
        for element in elements
        if "position" in element
    }


def _label(vertex: str, data: Mapping[str, Any]) -> str:
    kind, external_id = graphs.kind_and_id(vertex)
    return f"User {external_id}" if kind == "user" else name_of(data.get("title"), external_id)


def _size(data: Mapping[str, Any]) -> int:
    if data["is_centre"]:
        return 30
    return 18 if data["kind"] == "item" else 14


def _edge_table(graph: Graph) -> Child:
    rows = []
    for src, dst, kind, data in graph.edges(keys=True, data=True):
        user_id, item_id = graphs.kind_and_id(src)[1], graphs.kind_and_id(dst)[1]
        strength = f"rank {data['rank']}" if "rank" in data else f"{data.get('rating', 0):g}"
        product = name_of(graph.nodes[dst].get("title"), item_id)
        rows.append(
            [
                vertex_link("user", user_id, user_id),
                kind,
                vertex_link("item", item_id, product),
                strength,
            ]
        )
    heads = ["User", "Edge", "Product", "Rank or rating"]
    listed = table("Edges shown", heads, rows[:MAX_TABLE_ROWS], n_texts=3)
    rest = len(rows) - MAX_TABLE_ROWS
    hint = "Each link starts anew from that vertex." + (
        f" {number(rest)} further edges are in the drawing only." if rest > 0 else ""
    )
    return html.Details(
        [html.Summary("The same as a table"), card("Edges shown", listed, hint=hint)]
    )
