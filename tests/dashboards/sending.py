"""What the tests of the server send: forms with their token, and links."""

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dashboards.auth import Links
from recgraph.accounts import Account, Role
from recgraph.passwords import hash_password
from recgraph.ports import Accounts

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
PASSWORD = "nine purple tram stops"
OTHER_PASSWORD = "quiet marble lanterns 88"
_HASH = hash_password(PASSWORD)


def csrf_token(client: FlaskClient, path: str = "/sign-in") -> str:
    """Return the token of a page's form."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path, headers=HTML).text)
    assert found is not None
    return found[1]


def send_form(
    client: FlaskClient, path: str, *, page: str = "/sign-in", address: str = "", **fields: str
) -> TestResponse:
    """Send a form as its page does."""
    data = {"csrf_token": csrf_token(client, page), **fields}
    environ: dict[str, Any] = {"REMOTE_ADDR": address} if address else {}
    return client.post(path, data=data, environ_base=environ)


def sign_in(client: FlaskClient, email: str, password: str = PASSWORD) -> TestResponse:
    return send_form(client, "/sign-in", email=email, password=password)


def use_link(client: FlaskClient, links: Links) -> None:
    assert client.get("/sign-in", query_string={"token": links.new_token()}).status_code == 302


def add_account(
    accounts: Accounts, role: Role = "viewer", email: str = "ann@example.com"
) -> Account:
    """Add an account with `PASSWORD`."""
    return accounts.people.add(email, role, _HASH)


def status_of(client: FlaskClient, path: str, **options: Any) -> int:
    with client.open(path, **options) as answer:  # an asset holds its file open
        return answer.status_code
