"""Store -> a Dash application, closed but for those who signed in.

Each page is a module of `dashboards.pages` with a path, a name, ``layout(store, query)`` and
``register(app, store)``. Pages are laid out anew at each visit; nothing is kept between requests.
"""

from collections.abc import Collection
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

from dash import MATCH, ClientsideFunction, Dash, Input, Output, State, html, set_props
from dash.exceptions import DependencyException
from flask_wtf.csrf import generate_csrf

from dashboards.access import admitted, mark_pages, protect
from dashboards.api import ApiParts, register_api
from dashboards.auth import Links
from dashboards.callbacks import check_calls
from dashboards.headers import add_headers
from dashboards.live import LiveParts, add_listening, register_live, stream_origin
from dashboards.pages import degrees, network, overview, reviews, shop, top, user
from dashboards.parts import IMAGE_HOSTS, Child, link, notice
from dashboards.server import new_server
from dashboards.shell import INDEX, navigation, shell
from dashboards.signing import add_signing
from recgraph.errors import NotPublished, StoreError
from recgraph.ports import Accounts, Store

_ALL: tuple[ModuleType, ...] = (overview, network, degrees, top, user, reviews, shop)
PAGES: dict[str, ModuleType] = {page.PATH: page for page in _ALL}
"""The pages, in the order of the navigation."""
NAMES: dict[str, str] = {path: page.NAME for path, page in PAGES.items()}


def create_app(
    store: Store,
    accounts: Accounts,
    *,
    secret_key: bytes,
    links: Links,
    hosts: list[str],
    public_url: str | None = None,
    api: ApiParts | None = None,
    live: LiveParts | None = None,
    image_hosts: Collection[str] = (),
) -> Dash:
    """Return the dashboard over a store.

    Parameters
    ----------
    store
        Where everything is read from.
    accounts
        Who may sign in, who is signed in, and the keys of programs.
    secret_key
        Signs the session cookies.
    links
        Where one-time sign-in links are redeemed.
    hosts
        Names that requests may call this server by.
    public_url
        Where browsers find the proxy in front of the server; None without one.
    api
        What the REST API is made of; None leaves it out.
    live
        What the shop and the live marks are made of; without it nobody buys, and pages stay as they
        were loaded.
    image_hosts
        Servers whose pictures of products are shown; none unless somebody wants them.
    """
    server = new_server(secret_key, hosts, public_url)
    server.config[IMAGE_HOSTS] = frozenset(image_hosts)
    protect(server, accounts)
    add_signing(server, accounts, links)
    app = Dash(
        __name__,
        server=server,  # type: ignore[arg-type]
        title="recgraph",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,
        assets_ignore=r"sign-in\.css|scheme\.js",
        index_string=INDEX,
        on_error=_explain_in_place,
        enable_mcp=False,
    )
    app.layout = _layout
    register_live(server, live)
    add_listening(app)
    _register_shell(app, store)
    for page in PAGES.values():
        page.register(app, store)
    mark_pages(server)
    check_calls(app)
    server.register_error_handler(DependencyException, _no_such_file)
    if api is not None:
        register_api(server, api)
    add_headers(server, app.csp_hashes(), stream_origin, image_hosts)
    with server.test_request_context():
        # Dash gives out scripts of documents that it has made; another process may have made one.
        app.index()
    return app


def _no_such_file(error: DependencyException) -> tuple[str, int]:
    del error  # it lists all files there are
    return "there is no such file\n", 404


def _layout() -> Child:
    who = admitted()
    if who is None or who.kind == "key":  # Dash checks a layout at the first request of anybody
        return html.Div()
    return shell(NAMES, who, generate_csrf())


def render(store: Store, path: str, search: str | None) -> list[Child]:
    """Return what stands on a page; a store that has nothing to show is explained, not an error."""
    page = PAGES.get(path)
    if page is None:
        return [notice("No such page", ["There is nothing here. ", link("To the overview", "/")])]
    text = (search or "").encode(errors="replace").decode()  # JSON can carry half a character
    query = dict(parse_qsl(text.removeprefix("?"), keep_blank_values=True))
    try:
        children: list[Child] = page.layout(store, query)
    except StoreError as error:
        return [explain(error)]
    return children


def explain(error: StoreError) -> Child:
    """Return what a store error means for a reader, and the commands that help."""
    if isinstance(error, NotPublished):
        text = "The pages show the current generation: train one and publish it, then reload."
        return notice("Nothing is published yet", text, "recgraph train", "recgraph publish")
    text = "MongoDB does not answer. Nothing is lost: start it, or look what it says, then reload."
    return notice("The store is away", text, "recgraph services", "recgraph up")


def _explain_in_place(error: Exception) -> None:
    if not isinstance(error, StoreError):
        raise error
    set_props("notice", {"children": explain(error)})


def _register_shell(app: Dash, store: Store) -> None:
    @app.callback(
        Output("main", "children"),
        Output("nav", "children"),
        Output("title", "data"),
        Output("notice", "children"),
        Input("url", "pathname"),
        Input("url", "search"),
    )
    def show_page(path: str | None, search: str | None) -> tuple[Any, ...]:
        path = path or "/"
        title = f"{NAMES.get(path, 'Not found')} · recgraph"
        return render(store, path, search), navigation(NAMES, path), title, None

    app.clientside_callback(
        ClientsideFunction("recgraph", "arrive"), Input("title", "data"), prevent_initial_call=True
    )
    app.clientside_callback(
        ClientsideFunction("recgraph", "themed_figure"),
        Output({"type": "figure", "name": MATCH}, "figure"),
        Input({"type": "figure-data", "name": MATCH}, "data"),
        Input("scheme", "computedColorScheme"),
        State("templates", "data"),
    )
