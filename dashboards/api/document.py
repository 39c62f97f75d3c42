"""The operations and their structs -> the OpenAPI document.

spectree reads functions and structs on an application of its own, where nothing is ever asked: the
views that answer stay plain functions. What spectree cannot say is added: problem documents, NDJSON
and which scope an operation needs.
"""

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Flask
from spectree import Response, SpecTree
from spectree.model_adapter import get_msgspec_model_adapter

from dashboards.api.routing import ROUTES, Route
from dashboards.problems import CONTENT_TYPE, Problem
from recgraph import __version__

PREFIX = "/api/v1"
_ABOUT = """Recommendations from sales, as a graph.

Send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`; `recgraph keys add` makes one. In a
browser that is signed in, the session counts. Each operation names the scope that it needs. Errors
are problem documents (RFC 9457). Answers have an `ETag`, and `RateLimit-` headers say how many
requests are left of this minute.

New lists come as server-sent events from `GET /api/v1/stream`, of a process and a port of its own
(`recgraph status` says where, by default the port after this one): `?user=ID` for one user's, the
same keys, with the scope `read`. Each event `recommendations` is a list; after a break
`Last-Event-ID` or `?after=` brings what was missed, and the event `gap` says that some is gone.
"""
_TAGS = (
    *("Recommendations", "Products and users", "Graph", "Events", "Feedback", "Generations"),
    "Service",
)
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "session"},
}


@functools.cache
def document() -> bytes:
    """Return the document as JSON."""
    spec = SpecTree(
        "flask",
        model_adapter=get_msgspec_model_adapter(),
        title="recgraph",
        description=_ABOUT,
        version=__version__,
        annotations=False,
        mode="strict",
        naming_strategy=lambda model: model.__name__,
        nested_naming_strategy=lambda parent, child: child,
    )
    app = Flask("document", static_folder=None)
    for route in ROUTES:
        _add(app, spec, route)
    with app.app_context():
        return msgspec.json.encode(_completed(spec.spec, ROUTES))


def _add(app: Flask, spec: SpecTree, route: Route) -> None:
    returns = {f"HTTP_{route.status}": route.returns}
    described = spec.validate(
        query=route.query,
        json=route.body,
        resp=Response(**returns),
        tags=[route.tag],
        operation_id=route.view.__name__,
        skip_validation=True,
    )(route.view)
    rule = PREFIX + route.rule.replace("<id:", "<")
    app.add_url_rule(rule, route.view.__name__, described, methods=[route.method])


def _completed(spec: dict[str, Any], routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document with what spectree cannot say."""
    spec["tags"] = [{"name": name} for name in _TAGS]
    components = spec["components"]
    schemas, found = msgspec.json.schema_components(
        [Problem], ref_template="#/components/schemas/{name}"
    )
    components["schemas"] |= found
    components["schemas"].pop("ValidationError", None)
    problem = {
        "description": "A problem document",
        "content": {CONTENT_TYPE: {"schema": schemas[0]}},
    }
    components |= {"responses": {"Problem": problem}, "securitySchemes": _SCHEMES}
    for route in routes:
        path = (PREFIX + route.rule).replace("<id:", "{").replace(">", "}")
        _complete(spec["paths"][path][route.method.lower()], route)
    return spec


def _complete(operation: dict[str, Any], route: Route) -> None:
    to_problem = {"$ref": "#/components/responses/Problem"}
    operation["responses"].pop("422", None)
    operation["responses"] |= {"4XX": to_problem, "503": to_problem}
    if route.method == "GET" and route.scope is not None:
        operation["responses"]["304"] = {"description": "Not changed since the ETag that was sent"}
    operation["security"] = []
    if route.scope is not None:
        operation["security"] = [{"bearer": []}, {"key": []}, {"session": []}]
        operation["description"] += f"\n\nNeeds the scope `{route.scope}`."
    if route.lines:
        lines = {"schema": {"type": "string", "description": "One event a line."}}
        operation["requestBody"]["content"]["application/x-ndjson"] = lines
    for parameter in operation["parameters"]:
        _simplify(parameter)


def _simplify(parameter: dict[str, Any]) -> None:
    """Say of a parameter what holds when it is given: no text in a query is null."""
    schema = parameter["schema"]
    if "anyOf" in schema:
        schema = next(each for each in schema["anyOf"] if each != {"type": "null"})
    parameter["description"] = schema.get("description", "") or parameter["description"]
    parameter["schema"] = schema | ({"minLength": 1} if parameter["in"] == "path" else {})
