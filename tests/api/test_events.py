"""Events over REST and a real broker: acknowledged, rejected with a reason, never a false yes."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from dashboards.api.events import MAX_BULK_BYTES, MAX_LINES
from recgraph.config import Settings
from recgraph.services.connection import Connection
from tests.api.conftest import Api, make_app
from tests.contracts.sink import message
from tests.services.test_sink import read_topic

pytestmark = pytest.mark.services


@pytest.fixture
def door(
    api: Api, api_settings: Settings, connection: Connection, kafka_bootstrap: str, topic: str
) -> Iterator[Api]:
    """An API whose events go to a fresh topic."""
    changes = {"kafka_bootstrap": kafka_bootstrap, "topic": topic}
    app = make_app(api_settings.model_copy(update=changes), connection)
    yield Api(app.test_client(use_cookies=False), api.key)
    app.extensions["recgraph_api"].sink.close()


def post_lines(api: Api, *lines: bytes) -> Any:
    return api.post("/events", data=b"\n".join(lines), content_type="application/x-ndjson")


def test_one_event_is_on_the_topic_when_it_is_accepted(
    door: Api, kafka_bootstrap: str, topic: str
) -> None:
    answer = door.post("/events", data=message(), content_type="application/json")
    assert answer.status_code == 202
    assert answer.json == {
        "accepted": 1,
        "rejected": 0,
        "events": [{"status": 202, "event_id": "e1", "line": 1}],
    }
    assert [value for *_, value in read_topic(kafka_bootstrap, topic)] == [message()]
    assert door.get("/ready").status_code == 200


def test_lines_are_answered_each(door: Api, kafka_bootstrap: str, topic: str) -> None:
    answer = post_lines(
        door, message(event_id="a"), b"", b"rubbish", message(event_id=...), message(quantity="x")
    )
    assert answer.status_code == 202
    assert (answer.json["accepted"], answer.json["rejected"]) == (2, 2)
    assert [
        (each["line"], each["status"], each.get("reason")) for each in answer.json["events"]
    ] == [
        (1, 202, None),
        (3, 422, "not_json"),
        (4, 202, None),
        (5, 422, "wrong_type"),
    ]
    written = {json.loads(value)["event_id"] for *_, value in read_topic(kafka_bootstrap, topic)}
    assert written == {e["event_id"] for e in answer.json["events"] if e["status"] == 202}


def test_bulk_of_many_lines(door: Api, kafka_bootstrap: str, topic: str) -> None:
    lines = [message(event_id=f"e{n}", user_id=f"u{n % 50}") for n in range(2_000)]
    answer = post_lines(door, *lines)
    assert answer.json["accepted"] == 2_000
    assert len(read_topic(kafka_bootstrap, topic)) == 2_000


def test_bulk_that_does_not_say_its_length_is_taken_whole_or_not_at_all(
    door: Api, kafka_bootstrap: str, topic: str
) -> None:
    line = message(event_id="a") + b" " * 999 + b"\n"
    for n_lines, status in ((200, 202), (1 + MAX_BULK_BYTES // len(line), 413)):
        answer = door.post(
            "/events",
            input_stream=BytesIO(n_lines * line),
            content_type="application/x-ndjson",
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},  # as gunicorn says
        )
        assert answer.status_code == status
    assert len(read_topic(kafka_bootstrap, topic)) == 200


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 422),
        (b"rubbish", "application/json", 422),
        (b"[]", "application/json", 422),
        (message(user_id={"$gt": ""}), "application/json", 422),
        (message(user_id="\ud800"), "application/json", 422),
        (message(occurred_at="9999-01-01T00:00:00Z"), "application/json", 422),
        (b"x" * 70_000, "application/json", 413),
        (b"", "application/x-ndjson", 422),
        (b"\n" * 100, "application/x-ndjson", 422),
        (b"1\n" * (MAX_LINES + 1), "application/x-ndjson", 413),
        (b"1" * (MAX_BULK_BYTES + 1), "application/x-ndjson", 413),
        (message(), "text/plain", 415),
        (message(), "", 415),
    ],
)
def test_what_is_no_event_is_a_problem(
    api: Api, body: bytes, content_type: str, status: int
) -> None:
    answer = api.post("/events", data=body, content_type=content_type)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"


def test_without_a_broker_nothing_is_accepted_and_ids_are_given(api: Api) -> None:
    answer = post_lines(api, message(event_id="a"), b"rubbish", message(event_id=...))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    first, second, third = answer.json["errors"]
    assert (first["status"], first["event_id"]) == (503, "a")
    assert (second["status"], second["reason"]) == (422, "not_json")
    assert third["status"] == 503
    assert third["event_id"]
    assert "broker" in {each["part"] for each in api.get("/ready").json["errors"]}
