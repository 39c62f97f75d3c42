"""Signing in with a link or a password, signing out, and one's own account."""

import gc
import itertools
import logging
import re
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner

from dashboards.app import create_app
from dashboards.auth import Links, read_secret_key
from recgraph.accounts import SESSION_LIFETIME
from recgraph.passwords import verify_password
from recgraph.services import remembered
from recgraph.services.accounts import MongoAccounts
from recgraph.services.attempts import ACCOUNT, ADDRESS
from recgraph.services.mongo import MongoStore
from tests.dashboards.sending import (
    OTHER_PASSWORD,
    PASSWORD,
    add_account,
    csrf_token,
    send_form,
    sign_in,
    status_of,
    use_link,
)
from tests.dashboards.serving import HOSTS

pytestmark = pytest.mark.services

ANN = "ann@example.com"


def is_signed_in(client: FlaskClient) -> bool:
    return client.get("/_dash-layout").status_code == 200


def app_client(
    store: MongoStore, accounts: MongoAccounts, links: Links, key: bytes, public_url: str = ""
) -> FlaskClient:
    """Return a client of another server process over the same store, as far as Flask can tell."""
    app = create_app(
        store, accounts, secret_key=key, links=links, hosts=HOSTS, public_url=public_url or None
    )
    return app.server.test_client()


@pytest.fixture
def other_process(
    store: MongoStore, accounts: MongoAccounts, links: Links, tmp_path: Path
) -> FlaskClient:
    """A client of a server process of its own: nothing in memory is shared."""
    own = MongoAccounts(accounts.connection)
    return app_client(store, own, links, read_secret_key(tmp_path / "session.key"))


def take_cookies(client: FlaskClient, other: FlaskClient) -> None:
    """Let a client send what another one has."""
    for cookie in other._cookies.values():
        client.set_cookie(cookie.key, cookie.value)


# --- one-time links -----------------------------------------------------------------------------


def test_link_works_once(client: FlaskClient, links: Links) -> None:
    token = links.new_token()
    first = client.get("/sign-in", query_string={"token": token})
    assert first.status_code == 302
    assert first.headers["Location"] == "/"
    stranger = client.application.test_client()
    second = stranger.get("/sign-in", query_string={"token": token})
    assert second.status_code == 401
    assert "used already" in second.text
    assert not is_signed_in(stranger)


def test_link_opened_again_in_the_same_browser_leads_to_the_pages(
    client: FlaskClient, links: Links
) -> None:
    query = {"token": links.new_token()}
    assert client.get("/sign-in", query_string=query).status_code == 302
    assert client.get("/sign-in", query_string=query).headers["Location"] == "/"


def test_head_request_does_not_use_the_link(client: FlaskClient, links: Links) -> None:
    query = {"token": links.new_token()}
    assert client.head("/sign-in", query_string=query).status_code == 200
    assert client.get("/sign-in", query_string=query).status_code == 302


def test_token_can_be_pasted(client: FlaskClient, links: Links) -> None:
    token = f"  {links.new_token()}\n"
    answer = send_form(client, "/sign-in?next=/user%3Fid%3D1", token=token)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/user?id=1"


@pytest.mark.parametrize("token", ["wrong", "..", "../session.key", "\x00", "é🛒", "a" * 5000, "/"])
def test_wrong_token_is_refused(client: FlaskClient, token: str) -> None:
    assert send_form(client, "/sign-in", token=token).status_code == 401


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "x"],
)
def test_sign_in_never_leads_to_another_site(
    client: FlaskClient, links: Links, wanted: str
) -> None:
    query = {"token": links.new_token(), "next": wanted}
    assert client.get("/sign-in", query_string=query).headers["Location"] == "/"


def test_wrong_tokens_make_an_address_wait(client: FlaskClient, links: Links) -> None:
    attempts = [send_form(client, "/sign-in", token="wrong") for _ in range(ADDRESS.n_free + 1)]
    assert [each.status_code for each in attempts] == [401] * ADDRESS.n_free + [429]
    good = links.new_token()
    assert send_form(client, "/sign-in", token=good).status_code == 429
    assert send_form(client, "/sign-in", token=good, address="192.0.2.7").status_code == 302


# --- passwords ----------------------------------------------------------------------------------


@pytest.mark.parametrize("email", [ANN, " Ann@Example.COM "])
def test_password_signs_in(client: FlaskClient, accounts: MongoAccounts, email: str) -> None:
    add_account(accounts)
    answer = sign_in(client, email)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert is_signed_in(client)
    account = accounts.people.get(ANN)
    assert account is not None
    assert account.last_signed_in_at is not None


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (ANN, "wrong"),
        (ANN, ""),
        (ANN, PASSWORD.upper()),
        (ANN, "x" * 20_000),
        ("nobody@example.com", PASSWORD),
        ("", ""),
        ('{"$gt": ""}', '{"$gt": ""}'),
        ("a" * 20_000, "\x00"),
        ("<script>alert(1)</script>", "\ud800"),
    ],
)
def test_wrong_sign_in_says_the_same_whatever_is_wrong(
    client: FlaskClient, accounts: MongoAccounts, email: str, password: str
) -> None:
    add_account(accounts)
    answer = sign_in(client, email, password.encode(errors="replace").decode())
    assert answer.status_code == 401
    problem = re.search(r'role="alert">([^<]*)<', answer.text)
    assert problem is not None
    assert problem[1] == "This e-mail address and password do not go together."
    assert "<script>alert" not in answer.text
    assert not is_signed_in(client)


def test_disabled_account_gets_the_same_answer(
    client: FlaskClient, accounts: MongoAccounts
) -> None:
    add_account(accounts)
    accounts.people.set_active(ANN, is_active=False)
    answer = sign_in(client, ANN)
    assert answer.status_code == 401
    assert "do not go together" in answer.text
    accounts.people.set_active(ANN, is_active=True)
    assert sign_in(client, ANN).status_code == 302


def test_wrong_passwords_make_an_account_wait_everywhere(
    client: FlaskClient, other_process: FlaskClient, accounts: MongoAccounts
) -> None:
    add_account(accounts)
    for email in (ANN, "nobody@example.com"):  # who does not exist has to wait as well
        addresses = [f"192.0.2.{i}" for i in range(ACCOUNT.n_free)]
        wrong = [
            send_form(client, "/sign-in", email=email, password="wrong", address=address)
            for address in addresses
        ]
        assert [each.status_code for each in wrong] == [401] * ACCOUNT.n_free
        refused = send_form(other_process, "/sign-in", email=email, password=PASSWORD)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert "Wait 2 seconds" in refused.text or "Wait 1 second" in refused.text


def test_sign_in_without_the_form_token_is_refused(
    client: FlaskClient, accounts: MongoAccounts
) -> None:
    add_account(accounts)
    fields = {"email": ANN, "password": PASSWORD}
    for token in ("", "wrong", csrf_token(client.application.test_client())):
        answer = client.post("/sign-in", data={**fields, "csrf_token": token})
        assert answer.status_code == 400
        assert "try again" in answer.text
    assert not is_signed_in(client)


@pytest.mark.parametrize("path", ["/sign-in", "/account", "/sign-out", "/_dash-update-component"])
def test_no_body_makes_an_error_of_ours(client: FlaskClient, links: Links, path: str) -> None:
    if path != "/sign-in":
        use_link(client, links)
    million = b"x" * 1_000_000
    bodies = [million, b"email=" + million, b"{", b"\x00\xff", b"[" * 100_000, b"null", b"{}"]
    kinds = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    for body, kind in itertools.product(bodies, [*kinds, "application/json", "text/plain", ""]):
        answer = client.post(path, data=body, content_type=kind)
        assert answer.status_code < 500, (body[:20], kind)
        if kind in kinds and len(body) > 500_000 and not path.startswith("/_dash"):
            assert answer.status_code == 413
    assert is_signed_in(client) == (path != "/sign-in")


PAGE_CALL: dict[str, Any] = {
    "output": "..main.children...nav.children...title.data...notice.children..",
    "outputs": [
        {"id": name, "property": property}
        for name, property in [
            *(("main", "children"), ("nav", "children"), ("title", "data"), ("notice", "children"))
        ]
    ],
    "inputs": [
        {"id": "url", "property": "pathname", "value": "/"},
        {"id": "url", "property": "search", "value": ""},
    ],
    "changedPropIds": [],
}
"""What a browser sends when it opens the overview."""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 200),
        ({"output": "nothing.children"}, 400),
        ({"output": {"$gt": ""}}, 400),
        ({"outputs": 3}, 400),
        ({"inputs": []}, 400),
        ({"inputs": None}, 400),
        ({"inputs": [{"id": "url"}] * 2}, 400),
        ({"inputs": [{"id": "url", "property": "pathname", "value": {"$gt": ""}}] * 2}, 400),
        ({"inputs": [{"id": "url", "property": "pathname", "value": "\x00$/../%"}] * 2}, 200),
        ({"state": PAGE_CALL["inputs"]}, 400),
        ({"changedPropIds": 1}, 400),
    ],
)
def test_call_that_no_page_makes_is_refused(
    client: FlaskClient, links: Links, change: dict[str, Any], expected: int
) -> None:
    use_link(client, links)
    answer = client.post("/_dash-update-component", json=PAGE_CALL | change)
    assert answer.status_code == expected, answer.text


def test_many_attempts_leave_nothing_in_memory(
    client: FlaskClient, accounts: MongoAccounts
) -> None:
    token = csrf_token(client)

    def attempt(i: int) -> int:
        data = {"csrf_token": token, "email": f"user{i}@example.com", "password": "wrong"}
        return client.post("/sign-in", data=data).status_code

    first = [attempt(i) for i in range(ADDRESS.n_free + 100)]
    gc.collect()
    before = len(gc.get_objects())
    further = [attempt(i) for i in range(1_000, 2_000)]
    gc.collect()
    assert len(gc.get_objects()) - before < 500
    assert first.count(401) < ADDRESS.n_free + 10
    assert further.count(429) > 990
    assert accounts.connection.database["attempts"].estimated_document_count() < 50


def test_a_flood_is_told_to_come_again_and_somebody_gets_in_through_it(
    client: FlaskClient, accounts: MongoAccounts
) -> None:
    add_account(accounts)
    app, token = client.application, csrf_token(client)
    kept = client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert kept is not None

    def attempt(i: int) -> int:
        data = {"csrf_token": token, "email": f"user{i}@example.com", "password": "wrong"}
        stranger = app.test_client(use_cookies=False)  # each thread needs its own
        sent = {"Cookie": f"{kept.key}={kept.value}"}
        source = {"REMOTE_ADDR": f"10.0.{i // 256}.{i % 256}"}
        return stranger.post("/sign-in", data=data, headers=sent, environ_base=source).status_code

    numbers, stop = itertools.count(), threading.Event()

    def flood() -> list[int]:
        return [attempt(next(numbers)) for _ in iter(lambda: stop.wait(0.02), True)]

    own = app.test_client()
    with ThreadPoolExecutor(8) as strangers:
        floods = [strangers.submit(flood) for _ in range(8)]
        while next(numbers) < 100:
            time.sleep(0.01)
        answers = [sign_in(own, ANN).status_code]
        while answers[-1] == 503 and len(answers) < 500:
            time.sleep(0.02)
            answers.append(sign_in(own, ANN).status_code)
        stop.set()
        statuses = Counter(status for each in floods for status in each.result())
    assert answers[-1] == 302
    assert is_signed_in(own)
    assert statuses.keys() == {401, 503}
    n_kept = accounts.connection.database["attempts"].estimated_document_count()
    assert n_kept <= 2 * (statuses[401] + 1)  # what was not looked at leaves nothing


def test_a_flood_from_one_address_leaves_room_for_the_others(
    client: FlaskClient, accounts: MongoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_account(accounts)
    flooding, go_on = threading.Semaphore(0), threading.Event()

    def wait(password: str, password_hash: str | None) -> bool:
        if password == "wrong":
            flooding.release()
            assert go_on.wait(30)
        return verify_password(password, password_hash)

    monkeypatch.setattr("dashboards.signing.verify_password", wait)
    app = client.application

    def attempt(address: str) -> int:
        form = {"email": "nobody@example.com", "password": "wrong"}
        return send_form(app.test_client(), "/sign-in", address=address, **form).status_code

    one_network = ["2001:db8::1", "2001:db8::ffff"]
    with ThreadPoolExecutor(2) as strangers:
        flood = [strangers.submit(attempt, address) for address in one_network]
        for _ in flood:
            assert flooding.acquire(timeout=30)
        assert attempt("2001:db8::2") == 503
        own = sign_in(client, ANN).status_code
        go_on.set()
        assert [each.result() for each in flood] == [401, 401]
    assert own == 302
    assert attempt("2001:db8::2") == 401  # the places are free again


# --- sessions -----------------------------------------------------------------------------------


def test_cookie_is_for_the_server_only(client: FlaskClient, links: Links) -> None:
    first = client.get("/sign-in", query_string={"token": links.new_token()})
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie  # plain HTTP would lose it


PROXIED = {
    "Host": "127.0.0.1:8050",
    "X-Forwarded-Host": "shop.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "203.0.113.9",
}
"""What a proxy with TLS says of a request."""


@pytest.fixture
def behind(store: MongoStore, accounts: MongoAccounts, links: Links) -> FlaskClient:
    """A client of a server behind the proxy of ``https://shop.example``."""
    return app_client(store, accounts, links, b"k" * 32, "https://shop.example")


def test_cookie_is_secure_behind_a_proxy_with_tls(
    behind: FlaskClient, client: FlaskClient, links: Links
) -> None:
    query = {"token": links.new_token()}
    answer = behind.get("/sign-in", query_string=query, headers=PROXIED)
    assert answer.status_code == 302
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "Strict-Transport-Security" in answer.headers
    plain = client.get("/sign-in", headers=PROXIED)
    assert plain.status_code == 200
    assert "Strict" not in str(plain.headers)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [("https://shop.example", 401), ("http://shop.example", 401), ("https://evil.example", 403)],
)
def test_forms_come_from_the_name_of_the_proxy(
    behind: FlaskClient, origin: str, expected: int
) -> None:
    page = behind.get("/sign-in", headers=PROXIED, base_url="https://shop.example").text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    form = {"csrf_token": found[1], "email": ANN, "password": "wrong"}
    sent = PROXIED | {"Origin": origin, "Referer": f"{origin}/sign-in"}
    answer = behind.post("/sign-in", data=form, headers=sent, base_url="https://shop.example")
    assert answer.status_code == expected


@pytest.mark.parametrize(("is_behind", "expected"), [(True, 401), (False, 429)])
def test_behind_a_proxy_the_browsers_address_waits_and_elsewhere_the_senders(
    behind: FlaskClient, client: FlaskClient, is_behind: bool, expected: int
) -> None:
    asked = behind if is_behind else client

    def attempt(browser: str) -> int:
        # What a client says of itself stands left of what the proxy has seen.
        sent = {"X-Forwarded-For": f"198.51.100.{secrets.randbelow(250)}, {browser}"}
        return asked.get("/sign-in?token=wrong", headers=sent).status_code

    assert {attempt("203.0.113.9") for _ in range(ADDRESS.n_free)} == {401}
    assert attempt("203.0.113.9") == 429
    assert attempt("203.0.113.10") == expected


def test_session_works_in_another_process_and_after_a_restart(
    client: FlaskClient, other_process: FlaskClient, accounts: MongoAccounts
) -> None:
    add_account(accounts)
    sign_in(client, ANN)
    take_cookies(other_process, client)
    assert is_signed_in(other_process)


def test_expired_session_is_refused(
    client: FlaskClient, links: Links, accounts: MongoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_link(client, links)
    assert is_signed_in(client)
    past = {"$set": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}}
    accounts.connection.database["sessions"].update_many({}, past)
    monkeypatch.setattr(remembered, "FRESH_S", 0.0)  # what is a second later
    assert not is_signed_in(client)


def test_cookie_that_is_older_than_a_session_can_be_is_refused(
    client: FlaskClient, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = int(time.time() - SESSION_LIFETIME.total_seconds() - 10)
    with monkeypatch.context() as then:
        then.setattr(TimestampSigner, "get_timestamp", lambda self: long_ago)
        use_link(client, links)
    (cookie,) = client._cookies.values()
    stranger = client.application.test_client()
    stranger.set_cookie(cookie.key, cookie.value)
    assert not is_signed_in(stranger)


def test_session_signed_by_another_key_is_refused(
    client: FlaskClient, links: Links, store: MongoStore, accounts: MongoAccounts
) -> None:
    stranger = app_client(store, accounts, links, b"guessed" * 5)
    use_link(stranger, links)
    (value,) = (cookie.value for cookie in stranger._cookies.values())
    client.set_cookie(client.application.config["SESSION_COOKIE_NAME"], value)
    assert not is_signed_in(client)


def test_sign_out_ends_the_session_for_a_copy_of_the_cookie(
    client: FlaskClient, links: Links
) -> None:
    use_link(client, links)
    thief = client.application.test_client()
    take_cookies(thief, client)
    assert is_signed_in(thief)
    client.get("/sign-out")  # a link cannot sign anybody out
    assert is_signed_in(client)
    answer = send_form(client, "/sign-out", page="/account")
    assert answer.headers["Location"] == "/sign-in"
    assert not is_signed_in(client)
    assert not is_signed_in(thief)


def test_sign_out_without_the_form_token_changes_nothing(client: FlaskClient, links: Links) -> None:
    use_link(client, links)
    assert client.post("/sign-out").headers["Location"] == "/account"
    assert is_signed_in(client)


def test_role_is_that_of_now(client: FlaskClient, accounts: MongoAccounts) -> None:
    add_account(accounts, "viewer")
    sign_in(client, ANN)
    assert "viewer" in client.get("/account").text
    accounts.people.set_role(ANN, "admin")
    assert "You may do everything" in client.get("/account").text


@pytest.mark.parametrize("what", ["disable", "remove", "passwd", "disable and enable"])
def test_what_ends_an_account_ends_its_sessions(
    client: FlaskClient, other_process: FlaskClient, accounts: MongoAccounts, what: str
) -> None:
    account = add_account(accounts)
    sign_in(client, ANN)
    if what == "remove":
        accounts.people.remove(ANN)
        add_account(accounts)  # a new one of the same name is somebody else
    elif what == "passwd":
        accounts.people.set_password(ANN, "another hash")
    else:
        accounts.people.set_active(ANN, is_active=False)
    if what == "disable and enable":
        accounts.people.set_active(ANN, is_active=True)
    assert not is_signed_in(client)
    take_cookies(other_process, client)
    assert not is_signed_in(other_process)
    token = accounts.sessions.begin(account)  # a sign-in that began before
    assert accounts.sessions.principal(token) is None


# --- one's own account --------------------------------------------------------------------------


def change_password(client: FlaskClient, **fields: str) -> tuple[int, str]:
    form = {"current": PASSWORD, "new": OTHER_PASSWORD, "again": OTHER_PASSWORD, **fields}
    answer = send_form(client, "/account", page="/account", **form)
    return answer.status_code, answer.text


def test_password_change_ends_the_other_sessions(
    client: FlaskClient, accounts: MongoAccounts
) -> None:
    add_account(accounts)
    other = client.application.test_client()
    for each in (client, other):
        sign_in(each, ANN)
    assert change_password(client)[0] == 302
    assert is_signed_in(client)
    assert "Your password is changed" in client.get("/account?changed=1").text
    assert not is_signed_in(other)
    assert sign_in(other, ANN, PASSWORD).status_code == 401
    assert sign_in(other, ANN, OTHER_PASSWORD).status_code == 302


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"current": "wrong"}, "current password is another one"),
        ({"again": "different"}, "differ"),
        ({"new": "short", "again": "short"}, "expected 12 to 256"),
        ({"new": "password1234", "again": "password1234"}, "too easy to guess"),
        ({"new": ANN, "again": ANN}, "too easy to guess"),
        ({"csrf_token": "wrong"}, "try again"),
    ],
)
def test_password_change_that_is_refused_changes_nothing(
    client: FlaskClient, accounts: MongoAccounts, fields: dict[str, str], problem: str
) -> None:
    add_account(accounts)
    sign_in(client, ANN)
    status, text = change_password(client, **fields)
    assert 400 <= status < 500
    assert problem in text
    assert is_signed_in(client)
    assert sign_in(client.application.test_client(), ANN).status_code == 302


def test_link_has_no_password_to_change(client: FlaskClient, links: Links) -> None:
    use_link(client, links)
    page = client.get("/account").text
    assert "this machine" in page
    assert 'name="new"' not in page
    assert change_password(client)[0] == 422


def test_nothing_secret_is_logged_or_shown(
    client: FlaskClient, links: Links, accounts: MongoAccounts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    add_account(accounts)
    token = links.new_token()
    pages = [
        send_form(client, "/sign-in", token="a-wrong-one").text,
        sign_in(client, ANN, "another-wrong-one").text,
        sign_in(client, ANN, PASSWORD).text,
        change_password(client, new="a-third-one")[1],
    ]
    client.application.test_client().get("/sign-in", query_string={"token": token})
    for secret in (token, "a-wrong-one", "another-wrong-one", "a-third-one", PASSWORD):
        assert secret not in caplog.text
        assert secret not in "".join(pages)


def test_assets_open_once_signed_in(client: FlaskClient, links: Links) -> None:
    use_link(client, links)
    paths = ["/", "/_dash-layout", "/_dash-dependencies", "/network", "/assets/theme.css"]
    assert {status_of(client, path) for path in paths} == {200}
