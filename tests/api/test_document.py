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
    assert operations == expected
    activate = document["paths"]["/api/v1/generations/{generation}/activate"]["post"]
    assert "`operate`" in activate["description"]
    assert all(each["summary"] for found in document["paths"].values() for each in found.values())
