"""Fixtures of the dashboard's tests: a published sample, a Flask client, a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from pymongo.database import Database

from dashboards.app import create_app
from dashboards.auth import Links, read_secret_key
from recgraph.services.accounts import MongoAccounts
from recgraph.services.mongo import MongoStore, open_store
from tests.conftest import requires
from tests.dashboards.serving import (
    CHROMIUM_FLAGS,
    HOSTS,
    PATIENCE_MS,
    Site,
    new_context,
    sample_store,
    served,
)


@pytest.fixture(scope="session")
def store(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoStore]:
    """A store that holds the sample generation; tests only read it."""
    with sample_store(mongo_uri, tmp_path_factory.mktemp("generations")) as published:
        yield published


@pytest.fixture
def links(tmp_path: Path) -> Links:
    return Links(tmp_path / "links")


@pytest.fixture
def accounts(mongo_uri: str, mongo_database: "Database[dict[str, Any]]") -> Iterator[MongoAccounts]:
    """Accounts in a database of the test's own: none yet."""
    with open_store(mongo_uri, mongo_database.name) as own:
        yield MongoAccounts(own.connection)


@pytest.fixture
def client(store: MongoStore, accounts: MongoAccounts, links: Links, tmp_path: Path) -> FlaskClient:
    """A client of the whole application that has not signed in."""
    key = read_secret_key(tmp_path / "session.key")
    app = create_app(store, accounts, secret_key=key, links=links, hosts=HOSTS)
    return app.server.test_client()


@pytest.fixture(scope="session")
def site(store: MongoStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with served(store, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    requires(executable, "Chromium is not installed")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        opened = chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


DRAWN = """() => {
  const has = (selector) => document.querySelector(selector) !== null;
  const graphs = [...document.querySelectorAll(".dash-graph")];
  return has("#main h1") && graphs.every((graph) => graph.querySelector(".main-svg"))
    && (has("#network canvas") || !has("#network")) && (has(".ag-row") || !has("#top-grid"));
}"""


class Watched:
    """A signed-in page that remembers whatever went wrong in it."""

    def __init__(self, site: Site, page: Page) -> None:
        self.site, self.page = site, page
        self.problems: list[str] = []
        self.foreign: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: self._on_dialog(dialog))
        page.on("request", lambda request: self._on_request(request.url))

    def open(self, path: str) -> None:
        """Go to a page and wait until all of it is drawn."""
        self.page.goto(self.site.url + path)
        self.page.wait_for_function(DRAWN)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _on_dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, url: str) -> None:
        if not url.startswith((self.site.url, "data:", "blob:")):
            self.foreign.append(url)


@pytest.fixture
def open_browser(site: Site, browser: Browser) -> Iterator[Any]:
    """Opens signed-in pages of a width and scheme; fails on any problem they had."""
    opened: list[Watched] = []

    def signed_in(width: int = 1280, scheme: str = "light") -> Watched:
        watched = Watched(site, new_context(browser, width, scheme).new_page())
        opened.append(watched)
        watched.page.goto(site.link())
        watched.page.wait_for_selector("#main h1")
        return watched

    yield signed_in
    for watched in opened:
        watched.page.context.close()
        assert watched.problems == []
        assert watched.foreign == []
