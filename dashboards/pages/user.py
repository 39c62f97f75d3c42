"""User: what somebody bought, what is recommended to them, and from which part of the model."""

from collections.abc import Mapping, Sequence

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from dashboards.live import live_mark, news_of
from dashboards.parts import (
    Child,
    card,
    link,
    notice,
    page,
    stat,
    stats,
    table,
    url,
    user_link,
    vertex_link,
)
from dashboards.text import SOURCES, ago, listed, name_of, number, source_name
from recgraph.graph import vertex_id
from recgraph.ports import Bought, Reason, Recommended, Store, UserProfile

PATH = "/user"
NAME = "User"

MAX_ID_LENGTH = 1024
"""No id is longer (the bound of ``Settings.max_id_length``); a longer text is cut."""
N_BOUGHT = 50
"""Purchases that the page lists."""
N_POPULAR = 10
"""Products that an unknown user gets."""
N_EXAMPLES = 5
"""Users that the empty page offers."""


def layout(store: Store, query: Mapping[str, str]) -> list[Child]:
    """Return the page, for the user in the query."""
    user_id = query.get("id", "")[:MAX_ID_LENGTH]
    lead = "Look a user up by id."
    if not user_id.strip():
        return page("User", lead, _form(""), _examples(store))
    shown = html.Div(_shown(store, user_id), id="user-shown")
    whose = dcc.Store(id="user-whose", data=user_id)
    return page("User", lead, _form(user_id), whose, live_mark("user", user_id), shown)


def _shown(store: Store, user_id: str) -> list[Child]:
    user = store.user(user_id)
    return _unknown(store, user_id) if user is None else _known(user)


def register(app: Dash, store: Store) -> None:
    """Looking somebody up leads to their own address; a new list is shown as it comes."""

    @app.callback(
        Output("user-shown", "children"),
        news_of("user"),
        State("user-whose", "data"),
        prevent_initial_call=True,
    )
    def draw(news: object, user_id: str) -> list[Child]:
        del news
        return _shown(store, user_id)

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("user-find", "n_clicks"),
        Input("user-id", "n_submit"),
        State("user-id", "value"),
        prevent_initial_call=True,
    )
    def find(n_clicks: int | None, n_submit: int | None, user_id: str | None) -> str:
        if not (n_clicks or n_submit):
            raise PreventUpdate
        return url("", id=user_id) if user_id else ""


def _form(user_id: str) -> Child:
    field = dmc.TextInput(
        id="user-id",
        label="User id",
        value=user_id,
        placeholder="such as 1364",
        className="grow",
    )
    return html.Div([field, dmc.Button("Look up", id="user-find")], className="form", role="search")


def _examples(store: Store) -> Child:
    users = example_users(store)
    if not users:
        return notice("Nobody to show", "The current generation has no lists.")
    offers: list[Child] = [html.Li(user_link(user_id)) for user_id in users]
    return card("Some to begin with", html.Ul(offers, className="chips"))


def example_users(store: Store) -> list[str]:
    """Return some users who have a list."""
    most = store.top_recommended(1)
    item = store.item(most[0].item_id) if most else None
    return [] if item is None else [row.user_id for row in item.recommended_to[:N_EXAMPLES]]


def _unknown(store: Store, user_id: str) -> list[Child]:
    text: Child = [
        "The current generation knows no user ",
        html.Code(user_id),
        ". They bought nothing yet, or only after the last training, so they get the popular list.",
    ]
    rows = [
        [
            number(rank),
            vertex_link("item", item.item_id, name_of(item.title, item.item_id)),
            item.department or "",
            number(item.bought_degree),
        ]
        for rank, item in enumerate(store.popular(N_POPULAR), start=1)
    ]
    heads = ["Rank", "Product", "Department", "Buyers"]
    listed = table("The popular list", heads, rows, n_texts=3)
    return [notice("Unknown user", text), card("The popular list", listed)]


def _known(user: UserProfile) -> list[Child]:
    title = html.H2(["User ", html.Span(user.user_id, className="id")], className="subject")
    numbers = stats(
        stat("Products bought", number(user.bought_degree)),
        stat("Products recommended", number(user.recommended_degree)),
        stat("PageRank", number(user.pagerank, 2)),
    )
    to_graph = html.P(
        link("See the neighbourhood", url("/network", vertex=vertex_id("user", user.user_id)))
    )
    return [title, numbers, to_graph, _recommended(user), _bought(user)]


def _recommended(user: UserProfile) -> Child:
    if not user.recommended:
        return notice("Nothing is recommended", "No product was left after what was bought.")
    best = max(row.score for row in user.recommended)
    rows = [_recommended_row(user.user_id, row, best) for row in user.recommended]
    heads = ["Rank", "Product", "Department", "Source", "Score", ""]
    hint = (
        "The list is ordered by score: unitless, not a probability. A bar shows the parts that sum "
        "to it."
    )
    listed = table("Recommended to this user", heads, rows, n_texts=4)
    return card("Recommended", listed, hint=hint)


def _recommended_row(user_id: str, row: Recommended, best: float) -> list[Child]:
    why = url("/network", vertex=vertex_id("user", user_id), why=vertex_id("item", row.item_id))
    name = name_of(row.title, row.item_id)
    parts = " + ".join(f"{SOURCES.get(part, part)} {at:.3f}" for part, at in row.parts.items())
    score = html.Span(
        [_bar(row.parts, best), html.Span(f"{row.score:.3f}")], className="score", title=parts
    )
    product: Child = vertex_link("item", row.item_id, name)
    if row.because:
        product = [product, _reasons(row.because)]
    return [
        number(row.rank),
        product,
        row.department or "",
        html.Span(source_name(row.source), className="badge"),
        score,
        link(["Why?", html.Span(f" Paths to {name}", className="visually-hidden")], why),
    ]


def _bar(parts: Mapping[str, float], best: float) -> Child:
    """Return the parts side by side, as long as their share of the best score."""
    widths = {part: 100 * max(value, 0) / best if best > 0 else 0 for part, value in parts.items()}
    segments: list[Child] = [
        html.Span(className=f"part {part}", style={"flexGrow": f"{width:.1f}"})
        for part, width in widths.items()
    ]
    return html.Span(segments, className="bar", style={"width": f"{sum(widths.values()):.0f}%"})


def _reasons(because: Sequence[Reason]) -> Child:
    """Return the purchases that led to a row, the strongest first."""
    names = listed([name_of(reason.title, reason.item_id) for reason in because])
    return html.Div(f"because of {names}", className="hint because")


def _bought(user: UserProfile) -> Child:
    rows = [_bought_row(row) for row in user.bought[:N_BOUGHT]]
    heads = ["Product", "Department", "Times", "Last bought"]
    hint = f"Showing {number(len(rows))} of {number(user.bought_degree)}, the strongest first."
    return card("Bought", table("Bought by this user", heads, rows, n_texts=2), hint=hint)


def _bought_row(row: Bought) -> list[Child]:
    return [
        vertex_link("item", row.item_id, name_of(row.title, row.item_id)),
        row.department or "",
        number(row.n_events),
        html.Time(
            f"{row.last_at:%Y-%m-%d}", dateTime=row.last_at.isoformat(), title=ago(row.last_at)
        ),
    ]
