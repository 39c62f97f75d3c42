"""Fixtures of the API's tests: the whole application over a published sample and real services."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pymongo import MongoClient

from dashboards.auth import Links, read_secret_key
from recgraph.accounts import KeyScope
from recgraph.cli.composing import compose
from recgraph.config import Settings, load_settings
from recgraph.services.accounts import MongoAccounts
from recgraph.services.connection import Connection, open_connection
from recgraph.services.mongo import MongoStore
from recgraph.services.publish import publish
from tests.dashboards.serving import HOSTS
from tests.sample import write_sample_generation

DATABASE = "test-api"


@pytest.fixture(scope="session")
def api_settings(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a data folder and a database that hold the sample generation; no broker."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = load_settings(
            data_dir=folder,
            mongo_uri=mongo_uri,
            mongo_database=DATABASE,
            kafka_bootstrap="127.0.0.1:9",
        )
    generation = write_sample_generation(settings.generations_dir, n_users=60, n_items=150)
    with open_connection(mongo_uri, DATABASE) as connection:
        publish(MongoStore(connection), generation, keep=3)
    yield settings
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(DATABASE)


@pytest.fixture(scope="session")
def connection(api_settings: Settings, mongo_uri: str) -> Iterator[Connection]:
    with open_connection(mongo_uri, DATABASE) as opened:
        yield opened


def make_app(settings: Settings, connection: Connection) -> Flask:
    folder = settings.data_dir / "dashboard"
    key = read_secret_key(folder / "session.key")
    links = Links(folder / "links")
    return compose(settings, connection, secret_key=key, links=links, hosts=HOSTS)


@pytest.fixture(scope="session")
def api_app(api_settings: Settings, connection: Connection) -> Flask:
    return make_app(api_settings, connection)


NewKey = Callable[..., str]


@pytest.fixture(scope="session")
def new_key(connection: Connection) -> NewKey:
    """Makes API keys with scopes."""

    def make(*scopes: KeyScope) -> str:
        _, secret = MongoAccounts(connection).keys.add("test", scopes or ("admin",), None)
        return secret

    return make


class Api:
    """A client that sends a key with each request."""

    def __init__(self, client: FlaskClient, key: str) -> None:
        self.client, self.key = client, key

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        return self.client.open("/api/v1" + path, method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> Any:
        return self("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self("DELETE", path, **options)


@pytest.fixture(scope="session")
def api(api_app: Flask, new_key: NewKey) -> Api:
    """A client with a key that may do everything."""
    return Api(api_app.test_client(use_cookies=False), new_key("admin"))


@pytest.fixture
def folder_of(api_settings: Settings) -> Path:
    return api_settings.data_dir
