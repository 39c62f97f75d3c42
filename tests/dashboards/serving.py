"""A dashboard over a real store on a free port: for the browser tests and the screenshots."""

import secrets
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import waitress.server
from playwright.sync_api import Browser, BrowserContext
from pymongo import MongoClient

from dashboards.api import ApiParts
from dashboards.app import create_app
from dashboards.auth import Links, read_secret_key
from recgraph.config import load_settings
from recgraph.ports import Progress
from recgraph.services.accounts import MongoAccounts
from recgraph.services.door import Door
from recgraph.services.feedback import MongoFeedback
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import activate, publish
from tests.explored import EXPLORATION
from tests.sample import write_sample_generation

HOSTS = ["127.0.0.1", "localhost"]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
"""What a page may take while other tests have the cores: one alone needs a twentieth of it."""


@dataclass(frozen=True)
class Site:
    """A dashboard that is being served."""

    url: str
    links: Links
    accounts: MongoAccounts

    def link(self) -> str:
        """Return a one-time link into it."""
        return f"{self.url}/sign-in?token={self.links.new_token()}"


def new_context(
    browser: Browser, width: int = 1280, scheme: Any = "light", **options: Any
) -> BrowserContext:
    """Open a context of a browser, whose pages are waited for with patience."""
    size: Any = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=scheme, **options)
    context.set_default_timeout(PATIENCE_MS)
    return context


@contextmanager
def fresh_store(uri: str) -> Iterator[MongoStore]:
    """Give a store over a database that nobody else uses, dropped afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    with open_store(uri, name) as store:
        yield store
    with MongoClient(uri) as client:
        client.drop_database(name)


@contextmanager
def sample_store(uri: str, root: Path) -> Iterator[MongoStore]:
    """Give a store that holds the sample generation and some progress of ingest."""
    folder = write_sample_generation(root, n_users=60, n_items=150, mean_bought=14, k=10)
    now = datetime.now(UTC)
    with fresh_store(uri) as store:
        publish(store, folder, keep=3)
        store.write_progress(Progress(1_469_307, 12, now - timedelta(hours=3), now))
        store.write_exploration(EXPLORATION)
        yield store


def api_over(store: MongoStore, folder: Path) -> ApiParts:
    """Return a REST API over a store, without a broker and without models."""
    return ApiParts(
        store=store,
        feedback=MongoFeedback(store.connection, folder / "feedback.changed"),
        sink=Door(load_settings(data_dir=folder, kafka_bootstrap="127.0.0.1:9")),
        activate=partial(activate, store, folder / "generations", keep=3),
        serving=lambda: None,
        broker_problem=lambda: None,
    )


@contextmanager
def served(store: MongoStore, folder: Path, *, image_hosts: Collection[str] = ()) -> Iterator[Site]:
    """Serve a dashboard over the store, on a free port of this machine."""
    links = Links(folder / "links")
    key = read_secret_key(folder / "session.key")
    accounts = MongoAccounts(store.connection)
    app = create_app(
        *(store, accounts),
        secret_key=key,
        links=links,
        hosts=HOSTS,
        api=api_over(store, folder),
        image_hosts=image_hosts,
    )
    server = waitress.server.create_server(app.server, host="127.0.0.1", port=0, threads=8)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{server.effective_port}", links, accounts)
    finally:
        server.task_dispatcher.shutdown()
        server.close()
        thread.join(timeout=5)
