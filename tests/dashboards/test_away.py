"""The server while MongoDB is away: it says so, soon, and forgets nobody who is signed in."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dashboards.app import create_app
from dashboards.auth import Links, read_secret_key
from recgraph.config import Settings
from recgraph.services import remembered
from recgraph.services.accounts import MongoAccounts
from recgraph.services.connection import open_connection
from recgraph.services.embedded import ensure_mongo, service_states, stop_all
from recgraph.services.mongo import MongoStore
from tests.dashboards.sending import (
    HTML,
    PASSWORD,
    add_account,
    csrf_token,
    send_form,
    sign_in,
)
from tests.dashboards.serving import HOSTS

pytestmark = pytest.mark.services

ANN = "ann@example.com"


@pytest.fixture
def away(settings: Settings, links: Links, tmp_path: Path) -> Iterator[FlaskClient]:
    """A client that has signed in; then the server's MongoDB was killed."""
    with open_connection(ensure_mongo(settings), "away", longest_s=5.0) as connection:
        accounts = MongoAccounts(connection)
        key = read_secret_key(tmp_path / "session.key")
        app = create_app(MongoStore(connection), accounts, secret_key=key, links=links, hosts=HOSTS)
        add_account(accounts)
        client = app.server.test_client()
        sign_in(client, ANN)
        assert client.get("/_dash-layout").status_code == 200
        (pid,) = [state.pid for state in service_states(settings) if state.pid]
        os.kill(pid, signal.SIGKILL)
        yield client
    stop_all(settings)


def test_away_is_said_at_once_after_the_first_time(
    away: FlaskClient, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "FRESH_S", 0.0)
    assert away.get("/_dash-layout").status_code == 200  # this one may wait
    started = time.monotonic()
    stranger = away.application.test_client()
    refused = send_form(stranger, "/sign-in", email=ANN, password=PASSWORD)
    assert refused.status_code == 503
    assert "MongoDB does not answer" in refused.text
    assert int(refused.headers["Retry-After"]) >= 1
    token = links.new_token()
    assert stranger.get("/sign-in", query_string={"token": token}).status_code == 503
    keyed = stranger.get("/api/v1/x", headers={"X-API-Key": "rg_00000000_x"})
    assert keyed.status_code == 503
    assert keyed.mimetype == "application/problem+json"
    assert stranger.get("/", headers=HTML).status_code == 401  # nobody need be asked
    assert time.monotonic() - started < 2.0
    assert links.use(token)  # it was not used up


def test_signing_out_works_in_this_browser(away: FlaskClient) -> None:
    answer = send_form(away, "/sign-out", page="/account")
    assert answer.status_code == 503
    assert "This browser is signed out" in answer.text
    assert away.get("/_dash-layout").status_code == 401


def test_server_that_comes_back_is_used_again(away: FlaskClient, settings: Settings) -> None:
    token = csrf_token(away.application.test_client())
    assert token
    assert away.get("/account").status_code == 200
    ensure_mongo(settings)
    deadline = time.monotonic() + 20
    stranger = away.application.test_client()
    while sign_in(stranger, ANN).status_code != 302:
        assert time.monotonic() < deadline
        time.sleep(0.5)
