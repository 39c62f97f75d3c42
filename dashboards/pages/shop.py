"""Shop: a small storefront on which a purchase changes the list while one looks.

A purchase goes to the topic of sales like any other; `live` makes the list anew, the stream says
so, and the page draws what the store then has. It says how long that took, and what has changed.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.exceptions import PreventUpdate

from dashboards.access import principal, require
from dashboards.live import LiveParts, live_mark, live_parts, news_of
from dashboards.pages.shelf import N_POPULAR, product_rows, shelf_of_user
from dashboards.pages.user import MAX_ID_LENGTH, example_users
from dashboards.parts import Child, aria, card, link, notice, page, url, user_link
from dashboards.text import name_of
from recgraph.errors import SinkUnavailable
from recgraph.events import Rejection, SaleEvent
from recgraph.ports import Store

PATH = "/shop"
NAME = "Shop"

MAX_QUERY_LENGTH = 200
N_HITS = 6
_LEAD = "Buy something, and watch the list change."
_UNCHANGED = "The list will not change"
_NO_RATING = (
    "The current generation predicts ratings, and a purchase here carries none: it is kept, and "
    "changes no list. Make a generation current that was trained on purchases."
)
_LIST_GENERATIONS = "recgraph generations list"


def layout(store: Store, query: Mapping[str, str]) -> list[Child]:
    """Return the storefront of the customer in the query, or the choice of one."""
    user_id = query.get("id", "")[:MAX_ID_LENGTH]
    if not user_id.strip():
        return page("Shop", _LEAD, _who(), _suggested(store))
    shelf = shelf_of_user(store, user_id)
    return page(
        "Shop",
        ["You are ", user_link(user_id), ". ", link("Be somebody else", PATH)],
        dcc.Store(id="shop-user", data=user_id),
        dcc.Store(id="shop-click"),
        dcc.Store(id="shop-bought"),
        dcc.Store(id="shop-changes", data=shelf.data()),
        *_problems(live_parts(), predicts_ratings=shelf.predicts_ratings),
        html.Div(
            [
                card(
                    "For you",
                    live_mark("shop", user_id),
                    html.P(id="shop-told", className="told", role="status"),
                    html.Div(shelf.drawn(can_buy=_can_buy()), id="shop-shelf"),
                ),
                card("Anything else?", _search(store), hint="Every product can be bought."),
            ],
            className="shop",
        ),
    )


def register(app: Dash, store: Store) -> None:
    """Entering, searching, buying, and drawing the list anew."""
    _register_choice(app, store)

    @app.callback(
        Output("shop-bought", "data"),
        Input("shop-click", "data"),
        State("shop-user", "data"),
        prevent_initial_call=True,
    )
    def buy(click: Mapping[str, Any], user_id: str) -> dict[str, Any]:
        require("write")
        return {"id": click["id"], **_buy(store, user_id, str(click["item"]))}

    @app.callback(
        Output("shop-shelf", "children"),
        Output("shop-changes", "data"),
        news_of("shop"),
        State("shop-user", "data"),
        State("shop-changes", "data"),
        prevent_initial_call=True,
    )
    def draw(news: Any, user_id: str, before: dict[str, Any]) -> tuple[Child, dict[str, Any]]:
        del news
        shelf = shelf_of_user(store, user_id, before)
        return shelf.drawn(can_buy=_can_buy()), shelf.data()

    app.clientside_callback(
        ClientsideFunction("shop", "told"),
        Output("shop-told", "children"),
        Input("shop-changes", "data"),
        Input("shop-bought", "data"),
        prevent_initial_call=True,
    )


def _register_choice(app: Dash, store: Store) -> None:
    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("shop-enter", "n_clicks"),
        Input("shop-id", "n_submit"),
        State("shop-id", "value"),
        prevent_initial_call=True,
    )
    def enter(n_clicks: int | None, n_submit: int | None, user_id: str | None) -> str:
        if not (n_clicks or n_submit) or not (user_id or "").strip():
            raise PreventUpdate
        return url("", id=user_id or "")

    @app.callback(
        Output("shop-hits", "children"), Input("shop-search", "value"), prevent_initial_call=True
    )
    def find(text: str | None) -> Child:
        text = (text or "").strip()[:MAX_QUERY_LENGTH]
        hits = [hit for hit in store.search(text, 2 * N_HITS) if hit.kind == "item"] if text else []
        if text and not hits:
            return html.P("No product begins like this.", className="hint")
        found = store.items(hit.external_id for hit in hits[:N_HITS])
        return product_rows(found.values(), can_buy=_can_buy())


def _buy(store: Store, user_id: str, item_id: str) -> dict[str, Any]:
    """Return where the sale stands on the topic, or why it stands nowhere."""
    parts = live_parts()
    item = store.items([item_id]).get(item_id)
    name = name_of(None if item is None else item.title, item_id)
    said: dict[str, Any] = {"name": name}
    if parts is None:
        return said | {"problem": "This dashboard takes no purchases."}
    try:
        (outcome,) = parts.sink.send([SaleEvent(user_id, item_id, 1.0, datetime.now(UTC))])
    except SinkUnavailable as error:
        return said | {"problem": f"Not bought, or nobody knows: {error}"}
    if isinstance(outcome, Rejection):
        return said | {"problem": f"Not bought: {outcome.detail}."}
    return said | {"partition": str(outcome.partition), "offset": outcome.offset}


def _can_buy() -> bool:
    return live_parts() is not None and principal().may("write")


def _problems(parts: LiveParts | None, *, predicts_ratings: bool) -> list[Child]:
    """Return why a purchase cannot be made, or would change nothing, and what helps."""
    if parts is None:
        return [notice("You may look around", "This dashboard takes no purchases.")]
    if not principal().may("write"):
        text = "Your account may look, not buy: that needs the scope write, which operators have."
        return [notice("You may look around", text)]
    if problem := parts.live_problem():
        text = f"A purchase would change nothing here at the moment: {problem}"
        return [notice(_UNCHANGED, text, "recgraph up", "recgraph live")]
    return [notice(_UNCHANGED, _NO_RATING, _LIST_GENERATIONS)] if predicts_ratings else []


def _who() -> Child:
    field = dmc.TextInput(
        id="shop-id", label="Household", placeholder="An id, such as 1364", className="grow"
    )
    form = html.Div([field, dmc.Button("Enter", id="shop-enter")], className="form", role="search")
    new_id = f"guest-{secrets.token_hex(4)}"
    newcomer = html.P(
        ["Or come ", link("as a new customer", url(PATH, id=new_id)), ", of whom nothing is known."]
    )
    return card("Who are you?", form, newcomer, className="who")


def _suggested(store: Store) -> Child:
    offers: list[Child] = [
        html.Li(link(user_id, url(PATH, id=user_id))) for user_id in example_users(store)
    ]
    return card("Some households", html.Ul(offers, className="chips")) if offers else None


def _search(store: Store) -> Child:
    field = dmc.TextInput(
        id="shop-search",
        label="Product",
        placeholder="An id, or the beginning of words of a title",
        autoComplete="off",
        debounce=200,
    )
    hits = html.Div(id="shop-hits", className="hits-below", **aria(live="polite"))
    popular = product_rows(store.popular(N_POPULAR), can_buy=_can_buy())
    return html.Div([field, hits, html.H3("What most people buy"), popular])
