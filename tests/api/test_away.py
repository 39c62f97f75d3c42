"""While MongoDB or Kafka is away, by a crash or frozen: what is served, readiness, no hanging."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from recgraph.config import Settings
from recgraph.errors import StoreUnavailable
from recgraph.services.connection import Connection, open_connection
from recgraph.services.embedded import ensure_kafka, kafka_service, stop_all
from recgraph.services.feedback import MongoFeedback
from recgraph.services.processes import running
from tests.api.conftest import DATABASE, Api, make_app
from tests.api.tap import Tap, tapped
from tests.api.test_lists import ids
from tests.conftest import java_problem, requires
from tests.contracts.sink import message

pytestmark = pytest.mark.services

LIST = "/users/u12/recommendations"
TIMEOUT_S = 2.0
EVENTS_S = 5.0
"""Seconds that events may take, as in `recgraph serve`."""


@pytest.fixture
def tap(mongo_uri: str) -> Iterator[Tap]:
    port = urlsplit(mongo_uri).port
    assert port is not None
    with tapped(port) as opened:
        yield opened


@pytest.fixture
def tapped_connection(tap: Tap) -> Iterator[Connection]:
    uri = f"mongodb://127.0.0.1:{tap.port}/?directConnection=true"
    with open_connection(uri, DATABASE, longest_s=TIMEOUT_S) as opened:
        yield opened


@pytest.fixture
def tapped_api(api_settings: Settings, tapped_connection: Connection, api: Api) -> Api:
    app = make_app(api_settings, tapped_connection)
    return Api(app.test_client(use_cookies=False), api.key)


@pytest.mark.parametrize("fault", ["close", "freeze"])
def test_last_known_list_is_served_and_marked(tapped_api: Api, tap: Tap, fault: str) -> None:
    fresh = tapped_api.get(LIST)
    assert fresh.status_code == 200
    tapped_api.get("/popular")
    getattr(tap, fault)()
    time.sleep(1.1)  # what is remembered for a second is forgotten
    started = time.monotonic()
    stale = [tapped_api.get(LIST) for _ in range(3)]
    spent = time.monotonic() - started
    assert [each.status_code for each in stale] == [200] * 3
    assert ids(stale[0]) == ids(fresh)
    assert stale[0].json["is_stale"]
    assert tapped_api.get("/popular").json["is_stale"]
    assert spent < 3 * TIMEOUT_S
    tap.reopen()
    time.sleep(3.5)
    back = tapped_api.get(LIST)
    assert (back.status_code, back.json["is_stale"]) == (200, False)


def test_what_is_not_known_is_503_with_a_time_to_wait(tapped_api: Api, tap: Tap) -> None:
    tapped_api.get(LIST)
    tap.close()
    time.sleep(1.1)
    for path in ("/users/u13/recommendations", "/products/1033", "/generations"):
        started = time.monotonic()
        answer = tapped_api.get(path)
        assert answer.status_code == 503
        assert answer.json["type"] == "urn:recgraph:away"
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - started < 2 * TIMEOUT_S
    ready = tapped_api.get("/ready")
    assert ready.status_code == 503
    assert {each["part"] for each in ready.json["errors"]} >= {"store", "generation"}
    assert "127.0.0.1" not in ready.text  # it is open to everybody
    assert tapped_api.get("/health").status_code == 200
    feedback = {"kind": "hidden", "product_id": "1033", "user_id": "u12"}
    assert tapped_api.post("/feedback", json=feedback).status_code == 503


def test_what_is_computed_goes_on_from_the_folder_and_is_marked(tapped_api: Api, tap: Tap) -> None:
    asks = {
        "/baskets/recommendations": {"product_ids": ["1033", "1040"]},
        "/users/u12/what-if": {"purchases": [{"product_id": "1033"}]},
        "/users/u15/what-if": {"out_of_stock": ["1033"]},
    }
    asked_before = [path for path in asks if "u15" not in path]
    before = {path: tapped_api.post(path, json=asks[path]) for path in asked_before}
    assert {each.json["is_stale"] for each in before.values()} == {False}
    tap.close()
    time.sleep(1.1)
    away = {path: tapped_api.post(path, json=asked) for path, asked in asks.items()}
    assert {each.status_code for each in away.values()} == {200}
    assert {each.json["is_stale"] for each in away.values()} == {True}
    assert {path: ids(away[path]) for path in before} == {p: ids(a) for p, a in before.items()}
    why = tapped_api.get("/users/u12/because?product_id=1033")
    assert (why.status_code, why.json["is_stale"]) == (200, True)


def test_nothing_is_computed_before_the_store_was_ever_there(tapped_api: Api, tap: Tap) -> None:
    tap.close()
    answer = tapped_api.post("/baskets/recommendations", json={"product_ids": ["1033"]})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_last_known_feedback_holds(tap: Tap, tapped_connection: Connection, tmp_path: Path) -> None:
    feedback = MongoFeedback(tapped_connection, tmp_path / "changed")
    feedback.add("hidden", "1033", "u14")
    assert feedback.excluded("u14") == {"1033"}
    unread = MongoFeedback(tapped_connection, tmp_path / "changed")
    try:
        tap.close()
        (tmp_path / "changed").touch()
        assert feedback.excluded("u14") == {"1033"}
        with pytest.raises(StoreUnavailable):
            unread.excluded("u14")
    finally:
        tap.reopen()
        time.sleep(3.5)
        assert feedback.remove("1033", "u14")


def test_frozen_broker_is_said_in_time_and_lists_go_on(
    api: Api, api_settings: Settings, connection: Connection, settings: Settings
) -> None:
    requires(java_problem() is None, java_problem() or "")
    changes = {"kafka_bootstrap": ensure_kafka(settings)}
    broker = running(kafka_service(settings))
    assert broker is not None
    app = make_app(api_settings.model_copy(update=changes), connection)
    own = Api(app.test_client(use_cookies=False), api.key)

    def send(event_id: str) -> Any:
        body = message(event_id=event_id)
        return own.post("/events", data=body, content_type="application/json")

    try:
        assert (send("a").status_code, own.get("/ready").status_code) == (202, 200)
        broker.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        refused = send("b")
        assert time.monotonic() - started < 2 * EVENTS_S
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json["errors"][0]["event_id"] == "b"
        started = time.monotonic()
        ready = own.get("/ready")
        assert [each["part"] for each in ready.json["errors"]] == ["broker"]
        assert own.get(LIST).status_code == 200
        assert time.monotonic() - started < 1
        broker.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 30
        while send("b").status_code != 202 or own.get("/ready").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.5)
    finally:
        broker.send_signal(signal.SIGCONT)
        app.extensions["recgraph_api"].sink.close()
        stop_all(settings)
