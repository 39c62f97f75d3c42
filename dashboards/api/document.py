"""The operations and their structs, and the stream -> the OpenAPI document.

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
from dashboards.live import STREAM_PATH
from dashboards.problems import CONTENT_TYPE, Problem
from recgraph import __version__
from recgraph.config import Settings

PREFIX = "/api/v1"
_ABOUT = """Recommendations from sales, as a graph.

Send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`; `recgraph keys add` makes one. In a
browser that is signed in, the session counts. Each operation names the scope that it needs. Errors
are problem documents (RFC 9457). Answers have an `ETag`, and `RateLimit-` headers say how many
requests are left of this minute.

New lists come as server-sent events from `GET /api/v1/stream`, of a process of its own.
"""
_STREAM = """New lists as they are made, as server-sent events, until one side hangs up.

Served by `recgraph stream`, a process of its own, at the server named here; while none runs, that
is the default. Try it with `curl -N`: this page would wait for an end that does not come.

Each event has an `id`. The event `recommendations` is a list, as
`GET /api/v1/users/{user_id}/recommendations` answers it; `ready` opens the stream; `stale` says why
no lists come, and `fresh` that they come again; `gap` says that lists are missing, which have to be
read. A comment every ten seconds says that the stream is alive. Who does not read is cut off.

Needs the scope `read`."""
_FIELDS = Settings.model_fields
_NO_STREAM = f"http://{_FIELDS['host'].default}:{_FIELDS['port'].default + 1}"
"""Where a stream is by default: on the port after the dashboard's."""
_TAGS = (
    *("Recommendations", "Products and users", "Graph", "Events", "Feedback", "Generations"),
    "Service",
)
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "session": {"type": "apiKey", "in": "cookie", "name": "session"},
}
_CREDENTIALS: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES]
_TO_PROBLEM = {"$ref": "#/components/responses/Problem"}
_PROBLEMS = {"4XX": _TO_PROBLEM, "503": _TO_PROBLEM}


def document(stream_url: str | None) -> bytes:
    """Return the document as JSON.

    Parameters
    ----------
    stream_url
        Where whoever asks finds the stream; None while there is none.
    """
    described = _described()
    paths = described["paths"] | {STREAM_PATH: {"get": _stream_operation(stream_url)}}
    return msgspec.json.encode(described | {"paths": paths})


@functools.cache
def _described() -> dict[str, Any]:
    """Return what this server answers."""
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
        return _completed(spec.spec, ROUTES)


def _stream_operation(stream_url: str | None) -> dict[str, Any]:
    """Return ``GET /api/v1/stream``, which is no route of this server."""
    position = "The id of the last event that came: what was missed since is sent first."
    events = {"schema": {"type": "string"}}
    return {
        "operationId": "stream",
        "tags": ["Recommendations"],
        "summary": "New lists as they are made, as server-sent events.",
        "description": _STREAM,
        "servers": [{"url": stream_url or _NO_STREAM, "description": "recgraph stream"}],
        "parameters": [
            _text("query", "user", "Only the lists of this user.", minLength=1, maxLength=1024),
            _text("header", "Last-Event-ID", position),
            _text(
                "query", "after", "The same, for who cannot send the header, which counts first."
            ),
        ],
        "responses": {
            "200": {"description": "The stream", "content": {"text/event-stream": events}},
            **_PROBLEMS,
        },
        "security": _CREDENTIALS,
    }


def _text(place: str, name: str, description: str, **bounds: int) -> dict[str, Any]:
    schema = {"type": "string", **bounds}
    return {"in": place, "name": name, "description": description, "schema": schema}


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
    operation["responses"].pop("422", None)
    operation["responses"] |= _PROBLEMS
    if route.method == "GET" and route.scope is not None:
        operation["responses"]["304"] = {"description": "Not changed since the ETag that was sent"}
    operation["security"] = []
    if route.scope is not None:
        operation["security"] = _CREDENTIALS
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
