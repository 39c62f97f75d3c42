"""The search of the network page: a text -> users and products, as links."""

import dash_mantine_components as dmc
from dash import html

from dashboards.parts import Child, vertex_link
from dashboards.text import name_of, number
from recgraph.ports import Hit, Store

N_HITS = 12
"""Suggestions for a search."""
MAX_QUERY_LENGTH = 200
"""Characters of a search that are used."""


def search_box() -> Child:
    """Return the field and the place of its suggestions."""
    field = dmc.TextInput(
        id="network-search",
        label="User or product",
        placeholder="An id, or the beginning of words of a title",
        autoComplete="off",
        spellCheck=False,
    )
    hits = html.Div(id="network-hits", className="hits", role="status")
    return html.Div([field, hits], className="search", role="search")


def find(store: Store, text: str, n_hits: int) -> list[Hit]:
    """Return what the store finds; nothing for a blank text."""
    query = text.strip()[:MAX_QUERY_LENGTH]
    return store.search(query, n_hits) if query else []


def suggestions(store: Store, text: str) -> Child:
    """Return the suggestions as links; a note when nothing begins like the text."""
    if not text.strip():
        return None
    hits = find(store, text, N_HITS)
    if not hits:
        return html.P("Nothing begins like this.", className="hint")
    return html.Ul([html.Li(_hit(hit)) for hit in hits])


def _hit(hit: Hit) -> Child:
    is_user = hit.kind == "user"
    name = f"User {hit.external_id}" if is_user else name_of(hit.title, hit.external_id)
    bought = number(hit.bought_degree)
    about = f"bought {bought}" if is_user else f"{hit.external_id} · {bought} buyers"
    link = vertex_link(hit.kind, hit.external_id, name)
    return [link, html.Span(about, className="amount")]
