"""The guard before every route: the whole URL map, with each role and each scope of a key."""

import itertools
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from dashboards.access import OPEN_ROUTES, needs, principal, require
from dashboards.auth import Links, read_secret_key
from recgraph.accounts import Scope, parse_key_scopes, parse_role
from recgraph.cli.composing import compose
from recgraph.config import Settings, load_settings
from recgraph.services.accounts import MongoAccounts
from recgraph.services.mongo import MongoStore
from tests.dashboards.sending import HTML, add_account, sign_in, status_of, use_link
from tests.dashboards.serving import HOSTS

pytestmark = pytest.mark.services

MAY: dict[str, set[str]] = {
    "nobody": set(),
    "viewer": {"pages", "read"},
    "operator": {"pages", "read", "write", "operate"},
    "admin": {"pages", "read", "write", "operate", "admin"},
    "link": {"pages", "read", "write", "operate", "admin"},
    "key read": {"read"},
    "key write": {"write"},
    "key admin": {"read", "write", "operate", "admin"},
}
"""What opens to whom: the pages, and the API by scopes."""
PAGES = {
    *("/", "/dash", "/account", "/sign-out", "/assets/dash", "/_favicon.ico", "/_reload-hash"),
    *("/_dash-layout", "/_dash-dependencies", "/_dash-update-component", "/api-docs"),
    *("/_dash-component-suites/dash/dash", "/api-docs/dash"),
}
"""Every path of the pages; what is not here or in `API` fails the test."""
API = {
    "read": {
        *("GET /api/v1/openapi.json", "GET /api/v1/feedback", "GET /api/v1/popular"),
        *("GET /api/v1/users/dash/recommendations", "GET /api/v1/users/dash/because"),
        *("GET /api/v1/users/dash/history", "POST /api/v1/users/dash/what-if"),
        *("POST /api/v1/baskets/recommendations", "GET /api/v1/graph/ego"),
        *("GET /api/v1/products/dash", "GET /api/v1/products/dash/similar"),
        "GET /api/v1/generations",
        *(f"{method} /api/dash" for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    },
    "write": {"POST /api/v1/events", "POST /api/v1/feedback", "DELETE /api/v1/feedback"},
    "operate": {"POST /api/v1/generations/dash/activate"},
    "admin": set(),
}
"""Every operation of the API by the scope that opens it."""
REFUSED = {401, 403}
SCOPES: tuple[Scope, ...] = ("read", "write", "operate", "admin")


def group_of(method: str, path: str) -> str:
    """Return which entry of `MAY` has to name a route."""
    if path in OPEN_ROUTES:
        return "open"
    if path in PAGES:
        return "pages"
    operation = f"{'GET' if method == 'HEAD' else method} {path}"
    (scope,) = [scope for scope, operations in API.items() if operation in operations]
    return scope


def every_route(client: FlaskClient) -> list[tuple[str, str]]:
    """All methods and paths that the application has, with something in the placeholders."""
    return [
        (method, re.sub(r"<[^>]*>", "dash", rule.rule))
        for rule in client.application.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
    ]


@pytest.fixture
def whole(
    store: MongoStore, accounts: MongoAccounts, links: Links, settings: Settings, mongo_uri: str
) -> FlaskClient:
    """A client of all that `recgraph serve` serves: pages and API."""
    away = load_settings(
        data_dir=settings.data_dir, mongo_uri=mongo_uri, kafka_bootstrap="127.0.0.1:9"
    )
    folder = away.data_dir / "dashboard"
    key = read_secret_key(folder / "session.key")
    return compose(
        away, accounts.connection, secret_key=key, links=links, hosts=HOSTS
    ).test_client()


def become(sender: str, client: FlaskClient, accounts: MongoAccounts, links: Links) -> None:
    """Make the client send as the sender."""
    if sender == "link":
        use_link(client, links)
    elif sender.startswith("key "):
        _, secret = accounts.keys.add("test", parse_key_scopes([sender[4:]]), None)
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    elif sender != "nobody":
        add_account(accounts, parse_role(sender))
        assert sign_in(client, "ann@example.com").status_code == 302


@pytest.mark.parametrize("sender", MAY)
def test_every_route_opens_to_those_of_the_table_only(
    sender: str, whole: FlaskClient, accounts: MongoAccounts, links: Links
) -> None:
    become(sender, whole, accounts, links)
    routes = every_route(whole)
    assert {path for _, path in routes} >= PAGES
    wrong = {}
    for method, path in routes:
        group = group_of(method, path)
        status = status_of(whole, path, method=method)
        is_open = group == "open" or group in MAY[sender]
        if is_open == (status in REFUSED) or (status >= 500 and status != 503):
            wrong[method, path] = status
    assert wrong == {}


def test_options_tell_nothing_to_nobody(whole: FlaskClient) -> None:
    paths = {path for _, path in every_route(whole)} - OPEN_ROUTES
    assert {status_of(whole, path, method="OPTIONS") for path in paths} == {401}


@pytest.mark.parametrize("sender", MAY)
def test_scopes_open_what_the_table_says(
    sender: str,
    client: FlaskClient,
    accounts: MongoAccounts,
    links: Links,
    add_scope_routes: Callable[[FlaskClient], None],
) -> None:
    add_scope_routes(client)
    become(sender, client, accounts, links)
    opened = {scope for scope in SCOPES if client.get(f"/api/test/{scope}").status_code == 200}
    assert opened == MAY[sender] - {"pages"}


@pytest.fixture
def add_scope_routes() -> Callable[[FlaskClient], None]:
    """Adds a route for each scope."""

    def add(client: FlaskClient) -> None:
        for scope in SCOPES:
            rule = f"/api/test/{scope}"
            view = needs(scope)(lambda: principal().name)
            client.application.add_url_rule(rule, rule, view, methods=["GET", "POST"])

    return add


def test_a_route_that_says_nothing_opens_to_nobody(client: FlaskClient, links: Links) -> None:
    client.application.add_url_rule("/api/forgotten", "forgotten", lambda: "data")
    use_link(client, links)
    assert client.get("/api/forgotten").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        *("/network", "/nowhere", "/assets/theme.css", "/assets/recgraph.js", "/static/x", "/_mcp"),
        *("/sign-in/", "/sign-in/x", "/healthz/../", "/Healthz", "/assets/", "/api/v9/nothing"),
        "/assets/sign-in.css/..%2ftheme.css",
    ],
)
def test_a_path_beside_the_open_ones_answers_401(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401


@pytest.mark.parametrize("folder", ["/assets/", "/_dash-component-suites/dash/", "/api-docs/"])
@pytest.mark.parametrize("up", ["../", "..%2f", "%2e%2e/", "..\\", "....//", "/", "%00"])
def test_no_path_leads_out_of_a_folder_of_files(
    whole: FlaskClient, links: Links, folder: str, up: str
) -> None:
    use_link(whole, links)
    for target in (8 * up + "etc/passwd", 2 * up + "dashboards/auth.py", up + "auth.py"):
        with whole.get(folder + target) as answer:
            assert answer.status_code in (200, 404)
            assert "root:" not in answer.text
            assert "def read_secret_key" not in answer.text


def test_the_open_routes_of_the_pages_tell_nothing(client: FlaskClient) -> None:
    expected = {
        "/sign-in": 200,
        "/assets/sign-in.css": 200,
        "/assets/favicon.svg": 200,
        "/healthz": 204,
    }
    assert {path for path in OPEN_ROUTES if not path.startswith("/api/")} == set(expected)
    assert {path: status_of(client, path) for path in expected} == expected
    assert client.get("/healthz").data == b""


def test_navigation_without_a_session_gets_the_sign_in_page(client: FlaskClient) -> None:
    answer = client.get("/user?id=a%26b", headers=HTML)
    assert answer.status_code == 401
    assert "recgraph link" in answer.text
    assert 'action="/sign-in?next=%2Fuser%3Fid%3Da%2526b"' in answer.text


@pytest.mark.parametrize("path", ["/_dash-update-component", "/api/v1/nothing"])
def test_a_program_without_a_key_gets_a_problem_document(client: FlaskClient, path: str) -> None:
    answer = client.post(path, json={"output": "main.children"}, headers=HTML)
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert answer.json["status"] == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_keys_are_read_from_either_header(
    client: FlaskClient,
    accounts: MongoAccounts,
    add_scope_routes: Callable[[FlaskClient], None],
) -> None:
    add_scope_routes(client)
    _, secret = accounts.keys.add("till 3", ("read",), None)
    for headers in (
        {"Authorization": f"Bearer {secret}"},
        {"Authorization": f"bearer  {secret} "},
        {"X-API-Key": secret},
    ):
        answer = client.get("/api/test/read", headers=headers)
        assert (answer.status_code, answer.text) == (200, "till 3")
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer rg_00000000_x"},
        {"X-API-Key": ""},
        {"X-API-Key": "rg_é\x85"},
        {"X-API-Key": '{"$gt": ""}'},
        {"X-API-Key": "rg_" + "0" * 4000},
    ],
)
def test_a_wrong_key_is_refused_whoever_is_signed_in(
    client: FlaskClient,
    links: Links,
    add_scope_routes: Callable[[FlaskClient], None],
    headers: dict[str, str],
) -> None:
    add_scope_routes(client)
    use_link(client, links)
    assert client.get("/api/test/read").status_code == 200
    assert client.get("/api/test/read", headers=headers).status_code == 401


def test_a_view_can_ask_for_more(client: FlaskClient, accounts: MongoAccounts) -> None:
    def view() -> str:
        require("operate")
        return "done"

    client.application.add_url_rule("/api/more", "more", needs("read")(view))
    add_account(accounts, "viewer")
    sign_in(client, "ann@example.com")
    assert client.get("/api/more").status_code == 403
    accounts.people.set_role("ann@example.com", "operator")
    assert client.get("/api/more").text == "done"


def test_foreign_host_name_is_refused(client: FlaskClient, links: Links) -> None:
    use_link(client, links)
    paths, hosts = ["/", "/sign-in", "/_dash-layout"], ["evil.example", "127.0.0.1.evil.example"]
    for path, host in itertools.product(paths, hosts):
        assert client.get(path, headers={"Host": host}).status_code == 400
    assert client.get("/healthz", headers={"Host": "localhost:8050"}).status_code == 204


def test_post_from_another_origin_is_refused(client: FlaskClient, links: Links) -> None:
    use_link(client, links)
    for origin in ("http://localhost:9999", "https://evil.example", "null"):
        assert client.post("/sign-out", headers={"Origin": origin}).status_code == 403
    assert client.post("/sign-out", headers={"Origin": "http://localhost"}).status_code == 302


def test_every_answer_carries_the_security_headers(whole: FlaskClient, links: Links) -> None:
    refused = [whole.get("/", headers=HTML), whole.get("/api/v1/popular")]
    use_link(whole, links)
    paths = ("/", "/healthz", "/assets/x.css", "/api/v1/health", "/api/v1/popular", "/api/v1/x")
    for answer in (*refused, *map(whole.get, paths)):
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        scripts = re.search(r"script-src ([^;]*)", policy)
        assert scripts is not None
        assert "unsafe" not in scripts[1]
        assert "http" not in policy
    assert whole.get("/").headers["Cache-Control"] == "no-store"


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def test_inline_styles_are_allowed_in_two_documents_alone(whole: FlaskClient, links: Links) -> None:
    # docs/adr/0012-accounts.md says why there.
    use_link(whole, links)
    allowing = set()
    for path in {path for method, path in every_route(whole) if method == "GET"} | {"/sign-in"}:
        with whole.get(path) as answer:
            if "unsafe" in answer.headers["Content-Security-Policy"]:
                allowing.add(path)
    assert allowing == {"/", "/dash", "/api-docs"}  # the first two are one: Dash answers all paths


def test_documents_load_nothing_from_elsewhere(client: FlaskClient, links: Links) -> None:
    pages = [client.get("/", headers=HTML).text]
    use_link(client, links)
    pages += [client.get("/").text, client.get("/account").text]
    for text in pages:
        sources = re.findall(r'(?:src|href)="([^"]*)"', text)
        assert sources
        assert all(source.startswith("/") for source in sources)
