"""The pieces that pages are made of: cards, stats, tables, figures, notices, links."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

import plotly.graph_objects as go
from dash import dcc, html
from flask import current_app, has_app_context

from dashboards.figures import CONFIG
from dashboards.text import ago, moment
from recgraph.graph import vertex_id
from recgraph.ports import Kind

Child: TypeAlias = Any
"""A component, a text, a number or a list of them: what Dash takes as children."""
IMAGE_HOSTS = "IMAGE_HOSTS"
"""Name of the server's option that holds where pictures may come from."""


def url(path: str, **query: str) -> str:
    """Return a path with its query, safe for any id."""
    return f"{path}?{urlencode(query)}" if query else path


def aria(**attributes: str) -> dict[str, Any]:
    """Return aria attributes as Dash takes them: their names hold a hyphen."""
    return {f"aria-{name}": value for name, value in attributes.items()}


def link(text: Child, href: str) -> Child:
    """Return a link to another page, followed without a reload."""
    # not Mantine's Anchor: it decodes the address, which loses an id's & # % and +
    return dcc.Link(text, href=href)


def vertex_link(kind: Kind, external_id: str, text: str) -> Child:
    """Return a link to the neighbourhood of a user or product."""
    return link(text, url("/network", vertex=vertex_id(kind, external_id)))


def image_hosts() -> Collection[str]:
    """Return the servers whose pictures are shown; none where no server lays a page out."""
    hosts: Collection[str] = current_app.config.get(IMAGE_HOSTS, ()) if has_app_context() else ()
    return hosts


def picture(image_url: str | None, name: str) -> Child:
    """Return a picture of a product; None where there is none, or its server is not allowed."""
    found = urlsplit(image_url or "")
    if found.scheme != "https" or found.hostname not in image_hosts():
        return None
    # The server of the picture learns no address of ours.
    return html.Img(
        src=image_url, alt=name, className="product-image", referrerPolicy="no-referrer"
    )


def user_link(user_id: str) -> Child:
    """Return a link to a user's page."""
    return link(user_id, url("/user", id=user_id))


def page(title: str, lead: Child, *children: Child) -> list[Child]:
    """Return a page: its heading, one sentence on what it shows, its cards."""
    head = html.Header([html.H1(title), html.P(lead, className="lead")], className="page-head")
    return [head, *children]


def card(title: str, *children: Child, hint: Child = None, className: str = "") -> Child:
    """Return a titled card."""
    head: list[Child] = [html.H2(title)]
    if hint is not None:
        head.append(html.P(hint, className="hint"))
    return html.Section([*head, *children], className=f"card {className}".strip())


def stat(label: str, value: str, sentence: Child = None) -> Child:
    """Return a number with its name and at most one plain sentence."""
    parts: list[Child] = [html.Dt(label), html.Dd(value, className="value")]
    if sentence is not None:
        parts.append(html.Dd(sentence, className="hint"))
    return html.Div(parts, className="stat")


def stats(*cards: Child) -> Child:
    """Return stat cards in a row that wraps."""
    return html.Dl(list(cards), className="stats")


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[Child]], *, n_texts: int = 1
) -> Child:
    """Return a table; columns after the first ``n_texts`` hold numbers and align right.

    A narrow screen leaves out departments and sources.
    """
    sides = ["text" if position < n_texts else "number" for position in range(len(heads))]
    kinds = {"Rank": " rank", "Department": " aside", "Source": " aside"}
    sides = [side + kinds.get(head, "") for head, side in zip(heads, sides, strict=True)]
    head = [
        html.Th(name, scope="col", className=side) for name, side in zip(heads, sides, strict=True)
    ]
    body = [
        html.Tr([html.Td(cell, className=side) for cell, side in zip(row, sides, strict=True)])
        for row in rows
    ]
    parts = [
        html.Caption(caption, className="visually-hidden"),
        html.Thead(html.Tr(head)),
        html.Tbody(body),
    ]
    # focusable, so that the keyboard can scroll a table that is wider than the screen
    wrapper: dict[str, Any] = {"tabIndex": "0", "role": "region", "aria-label": caption}
    return html.Div(html.Table(parts), className="table", **wrapper)


def figure(name: str, drawn: go.Figure, description: str) -> Child:
    """Return a figure that takes the colours of the scheme in the browser.

    ``description`` is what a screen reader says in its place.
    """
    height = drawn.layout.height
    graph = dcc.Graph(
        id={"type": "figure", "name": name}, config=CONFIG, style={"height": f"{height}px"}
    )
    data = dcc.Store(id={"type": "figure-data", "name": name}, data=drawn)
    picture = html.Div(graph, role="img", **aria(label=description))
    return html.Figure([data, picture], className="figure")


def when(at: datetime) -> Child:
    """Return a time, relative and absolute."""
    return html.Time(f"{ago(at)} · {moment(at)}", dateTime=at.isoformat())


def notice(title: str, text: Child, *commands: str) -> Child:
    """Return a calm explanation, and the commands that help."""
    lines = [html.Pre(html.Code("\n".join(commands)))] if commands else []
    return html.Section([html.H2(title), html.P(text), *lines], className="card notice")
