"""The OpenAPI document, the page to try it, and Schemathesis: no request makes a 500."""

from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dashboards.api.routing import ROUTES, Route
from dashboards.live import STREAM_PATH, LiveParts
from dashboards.stream.app import PATH
from recgraph.config import Settings
from recgraph.services.door import Door
from tests.api.conftest import Api

pytestmark = pytest.mark.services

ALL_CHECKS = list(hypothesis.HealthCheck)
DOCUMENT = "/api/v1/openapi.json"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


CASES = [
    pytest.param(route, mode, id=f"{route.view.__name__}-{mode.value}")
    for route in ROUTES
    for mode in schemathesis.GenerationMode
    # Of what is open and takes nothing, nothing can be got wrong.
    if route.scope is not None or mode is schemathesis.GenerationMode.POSITIVE
]


@pytest.fixture(scope="session")
def described(api: Api, api_app: Flask) -> Any:
    return schemathesis.openapi.from_wsgi(DOCUMENT, api_app, headers=authorized(api))


def authorized(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.key}", "Accept-Encoding": "identity"}


@pytest.mark.parametrize(("route", "mode"), CASES)
def test_no_request_makes_an_error_of_ours(
    described: Any, api: Api, route: Route, mode: schemathesis.GenerationMode
) -> None:
    operation = described[path_of(route)][route.method]

    @hypothesis.seed(42)
    @hypothesis.settings(max_examples=15, database=None, suppress_health_check=ALL_CHECKS)
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def explore(case: schemathesis.Case) -> None:
        answer = case.call(headers=authorized(api))
        # 503 is the broker, which these tests have none of.
        case.validate_response(answer, checks=CHECKS if answer.status_code != 503 else CHECKS[1:])

    explore()


def path_of(route: Route) -> str:
    return "/api/v1" + route.rule.replace("<id:", "{").replace(">", "}")


def test_document_names_every_operation_and_its_scope(api: Api) -> None:
    document = api.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    operations = {
        (method.upper(), path) for path, found in document["paths"].items() for method in found
    }
    expected = {
        (r.method, "/api/v1" + r.rule.replace("<id:", "{").replace(">", "}")) for r in ROUTES
    }
    assert operations == expected | {("GET", STREAM_PATH)}
    activate = document["paths"]["/api/v1/generations/{generation}/activate"]["post"]
    assert "`operate`" in activate["description"]
    assert all(each["summary"] for found in document["paths"].values() for each in found.values())


@pytest.mark.parametrize(
    ("running", "public_url", "expected"),
    [
        (None, None, "http://127.0.0.1:8051"),
        ("http://127.0.0.1:9191", None, "http://localhost:9191"),
        ("http://127.0.0.1:9191", "https://shop.example", "https://shop.example"),
    ],
)
def test_document_says_where_the_stream_is(
    api: Api,
    api_app: Flask,
    api_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    running: str | None,
    public_url: str | None,
    expected: str,
) -> None:
    parts = LiveParts(Door(api_settings), lambda: running, lambda: None, public_url)
    monkeypatch.setitem(api_app.extensions, "recgraph_live", parts)
    stream = api.get("/openapi.json").json["paths"][PATH]["get"]
    assert [each["url"] for each in stream["servers"]] == [expected]
    assert list(stream["responses"]["200"]["content"]) == ["text/event-stream"]
    named = {(each["in"], each["name"]) for each in stream["parameters"]}
    assert named == {("query", "user"), ("query", "after"), ("header", "Last-Event-ID")}
