import itertools
import logging
import os
import re
import stat
import threading
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dashboards.app import create_app
from dashboards.auth import (
    LINK_LIFETIME_S,
    MAX_WRONG_TOKENS,
    OPEN_ROUTES,
    Links,
    Throttle,
    read_secret_key,
)
from recgraph.services.mongo import MongoStore
from tests.dashboards.serving import HOSTS

pytestmark = pytest.mark.services

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def every_route(client: FlaskClient) -> list[tuple[str, str]]:
    """All methods and paths that the application has, with something in the placeholders."""
    rules = client.application.url_map.iter_rules()
    return [
        (method, re.sub(r"<[^>]*>", "dash", rule.rule))
        for rule in rules
        for method in sorted(rule.methods or ())
    ]


def sign_in(client: FlaskClient, links: Links) -> None:
    assert client.get("/sign-in", query_string={"token": links.new_token()}).status_code == 302


def status_of(client: FlaskClient, path: str) -> int:
    with client.get(path) as answer:  # an asset holds its file open
        return answer.status_code


def test_every_route_without_a_session_answers_401(client: FlaskClient) -> None:
    routes = every_route(client)
    paths = {path for _, path in routes}
    assert {"/", "/_dash-layout", "/_dash-dependencies", "/_dash-update-component"} <= paths
    assert any(path.startswith("/_dash-component-suites/") for path in paths)
    assert any(path.startswith("/assets/") for path in paths)
    refused = {
        (method, path): client.open(path, method=method).status_code
        for method, path in routes
        if path not in OPEN_ROUTES
    }
    assert set(refused.values()) == {401}


@pytest.mark.parametrize(
    "path",
    [
        *("/network", "/nowhere", "/assets/theme.css", "/assets/recgraph.js", "/static/x", "/_mcp"),
        *("/sign-in/", "/sign-in/x", "/healthz/../", "/Healthz", "/assets/"),
        "/assets/sign-in.css/..%2ftheme.css",
    ],
)
def test_a_path_beside_the_open_ones_answers_401(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401


def test_open_routes_answer_without_a_session_and_tell_nothing(client: FlaskClient) -> None:
    assert {path: status_of(client, path) for path in OPEN_ROUTES} == {
        "/sign-in": 200,
        "/assets/sign-in.css": 200,
        "/assets/favicon.svg": 200,
        "/healthz": 204,
    }
    assert client.get("/healthz").data == b""


def test_navigation_without_a_session_gets_the_sign_in_page(client: FlaskClient) -> None:
    answer = client.get("/user?id=a%26b", headers=HTML)
    assert answer.status_code == 401
    assert "recgraph link" in answer.text
    assert 'action="/sign-in?next=%2Fuser%3Fid%3Da%2526b"' in answer.text


def test_a_callback_without_a_session_gets_json(client: FlaskClient) -> None:
    answer = client.post("/_dash-update-component", json={"output": "main.children"})
    assert answer.status_code == 401
    assert answer.json == {"error": "sign in first"}


def test_a_session_opens_the_routes(client: FlaskClient, links: Links) -> None:
    sign_in(client, links)
    paths = ["/", "/_dash-layout", "/_dash-dependencies", "/network", "/assets/theme.css"]
    assert {status_of(client, path) for path in paths} == {200}


def test_link_works_once(client: FlaskClient, links: Links) -> None:
    token = links.new_token()
    first = client.get("/sign-in", query_string={"token": token})
    assert first.status_code == 302
    assert first.headers["Location"] == "/"
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    stranger = client.application.test_client()
    second = stranger.get("/sign-in", query_string={"token": token})
    assert second.status_code == 401
    assert "used already" in second.text
    assert stranger.get("/_dash-layout").status_code == 401


def test_link_opened_again_in_the_same_browser_leads_to_the_pages(
    client: FlaskClient, links: Links
) -> None:
    query = {"token": links.new_token()}
    assert client.get("/sign-in", query_string=query).status_code == 302
    assert client.get("/sign-in", query_string=query).headers["Location"] == "/"


def test_link_opened_by_many_at_once_lets_one_in(links: Links) -> None:
    token = links.new_token()
    start, outcomes = threading.Barrier(8), []

    def race() -> None:
        start.wait()
        outcomes.append(links.use(token))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]


def test_link_made_by_another_process_is_good(links: Links, tmp_path: Path) -> None:
    assert links.use(Links(tmp_path / "links").new_token())


def test_link_older_than_a_day_is_refused_and_removed(links: Links, tmp_path: Path) -> None:
    token = links.new_token()
    (path,) = (tmp_path / "links").iterdir()
    long_ago = time.time() - LINK_LIFETIME_S - 1
    os.utime(path, (long_ago, long_ago))
    assert not links.use(token)
    os.utime(_only_file_after(links, tmp_path), (long_ago, long_ago))
    links.new_token()
    assert len(list((tmp_path / "links").iterdir())) == 1


def _only_file_after(links: Links, tmp_path: Path) -> Path:
    links.new_token()
    (path,) = (tmp_path / "links").iterdir()
    return path


def test_head_request_does_not_use_the_link(client: FlaskClient, links: Links) -> None:
    query = {"token": links.new_token()}
    assert client.head("/sign-in", query_string=query).status_code == 200
    assert client.get("/sign-in", query_string=query).status_code == 302


def test_token_can_be_pasted(client: FlaskClient, links: Links) -> None:
    form = {"token": f"  {links.new_token()}\n"}
    answer = client.post("/sign-in?next=/user%3Fid%3D1", data=form)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/user?id=1"


@pytest.mark.parametrize("token", ["wrong", "..", "../session.key", "\x00", "é🛒", "a" * 5000, "/"])
def test_wrong_token_is_refused(client: FlaskClient, token: str) -> None:
    assert client.post("/sign-in", data={"token": token}).status_code == 401


def test_empty_token_shows_the_page(client: FlaskClient) -> None:
    assert client.post("/sign-in", data={"token": " "}).status_code == 200


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "x"],
)
def test_sign_in_never_leads_to_another_site(
    client: FlaskClient, links: Links, wanted: str
) -> None:
    query = {"token": links.new_token(), "next": wanted}
    assert client.get("/sign-in", query_string=query).headers["Location"] == "/"


def test_wrong_tokens_are_throttled(client: FlaskClient, links: Links) -> None:
    statuses = [
        client.post("/sign-in", data={"token": "wrong"}).status_code
        for _ in range(MAX_WRONG_TOKENS + 1)
    ]
    assert statuses == [401] * MAX_WRONG_TOKENS + [429]
    good = {"token": links.new_token()}
    assert client.post("/sign-in", data=good).status_code == 429
    other = {"REMOTE_ADDR": "192.0.2.7"}
    assert client.post("/sign-in", data=good, environ_base=other).status_code == 302


def test_throttle_opens_again(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle = Throttle()
    for _ in range(MAX_WRONG_TOKENS):
        assert not throttle.is_closed("a")
        throttle.count("a")
    assert throttle.is_closed("a")
    monkeypatch.setattr("dashboards.auth.THROTTLE_S", 0.0)
    assert not throttle.is_closed("a")


def test_sign_out_ends_the_session(client: FlaskClient, links: Links) -> None:
    sign_in(client, links)
    client.get("/sign-out")  # a link cannot sign anybody out
    assert client.get("/_dash-layout").status_code == 200
    assert client.post("/sign-out").headers["Location"] == "/sign-in"
    assert client.get("/_dash-layout").status_code == 401


def test_session_survives_a_restart(
    client: FlaskClient, links: Links, store: MongoStore, tmp_path: Path
) -> None:
    sign_in(client, links)
    key = read_secret_key(tmp_path / "session.key")
    again = create_app(store, secret_key=key, links=links, hosts=HOSTS).server
    client.application = again
    assert client.get("/_dash-layout").status_code == 200


def test_session_signed_by_another_key_is_refused(
    client: FlaskClient, links: Links, store: MongoStore
) -> None:
    forged = create_app(store, secret_key=b"guessed" * 5, links=links, hosts=HOSTS).server
    stranger = forged.test_client()
    sign_in(stranger, links)
    (value,) = (cookie.value for cookie in stranger._cookies.values())
    client.set_cookie(client.application.config["SESSION_COOKIE_NAME"], value)
    assert client.get("/_dash-layout").status_code == 401


def test_foreign_host_name_is_refused(client: FlaskClient, links: Links) -> None:
    sign_in(client, links)
    for path, host in itertools.product(["/", "/sign-in", "/_dash-layout"], ["evil.example", "127.0.0.1.evil.example"]):  # fmt: skip  # noqa: E501
        assert client.get(path, headers={"Host": host}).status_code == 400
    assert client.get("/healthz", headers={"Host": "localhost:8050"}).status_code == 204


def test_post_from_another_origin_is_refused(client: FlaskClient, links: Links) -> None:
    sign_in(client, links)
    for origin in ("http://localhost:9999", "https://evil.example", "null"):
        assert client.post("/sign-out", headers={"Origin": origin}).status_code == 403
    assert client.post("/sign-out", headers={"Origin": "http://localhost"}).status_code == 302


def test_every_answer_carries_the_security_headers(client: FlaskClient, links: Links) -> None:
    refused = client.get("/", headers=HTML)
    sign_in(client, links)
    for answer in (refused, client.get("/"), client.get("/healthz"), client.get("/assets/x.css")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        scripts = re.search(r"script-src ([^;]*)", policy)
        assert scripts is not None
        assert "unsafe" not in scripts[1]
        assert "http" not in policy
    assert client.get("/").headers["Cache-Control"] == "no-store"


def test_documents_load_nothing_from_elsewhere(client: FlaskClient, links: Links) -> None:
    pages = [client.get("/", headers=HTML).text]
    sign_in(client, links)
    pages.append(client.get("/").text)
    for text in pages:
        sources = re.findall(r'(?:src|href)="([^"]*)"', text)
        assert sources
        assert all(source.startswith("/") for source in sources)


def test_secrets_are_kept_for_their_owner_only(links: Links, tmp_path: Path) -> None:
    token = links.new_token()
    key = read_secret_key(tmp_path / "session.key")
    assert stat.S_IMODE((tmp_path / "session.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "links").stat().st_mode) == 0o700
    (path,) = (tmp_path / "links").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.name
    assert len(key) == 32
    assert {entry.name for entry in tmp_path.iterdir()} == {"session.key", "links"}


def test_secret_key_is_the_same_for_all_who_ask(tmp_path: Path) -> None:
    path = tmp_path / "session.key"
    start, keys = threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        keys.append(read_secret_key(path))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert set(keys) == {path.read_bytes()}
    path.chmod(0o644)
    assert read_secret_key(path) == keys[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_secret_is_logged(
    client: FlaskClient, links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = links.new_token()
    client.post("/sign-in", data={"token": "a-wrong-one"})
    client.get("/sign-in", query_string={"token": token})
    assert token not in caplog.text
    assert "a-wrong-one" not in caplog.text
