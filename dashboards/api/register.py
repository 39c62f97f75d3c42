"""Every operation -> a server: routes, what they need, errors, the rate limit, the document."""

from flask import Blueprint, Flask, Response, current_app, g, request

# Importing a module of operations adds them to `ROUTES`, in the order of the document.
from dashboards.access import needs, principal
from dashboards.api import docs, events, feedback, lists, reading, running  # noqa: F401
from dashboards.api.parts import EXTENSION, ApiParts, parts
from dashboards.api.routing import ROUTES, IdConverter
from dashboards.problems import ProblemError, handle_errors, problem

PREFIX = "/api/v1"
METHODS = ("GET", "POST", "DELETE")
UNKNOWN = "api_unknown"
OPEN = frozenset(PREFIX + route.rule for route in ROUTES if route.scope is None)
"""What answers to everybody: whether the service is well."""


def register_api(server: Flask, handed: ApiParts) -> None:
    """Put the API on a server that is protected already."""
    server.extensions[EXTENSION] = handed
    server.url_map.converters["id"] = IdConverter
    handle_errors(server)
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    for route in ROUTES:
        view = route.view if route.scope is None else needs(route.scope)(route.view)
        api.add_url_rule(route.rule, view.__name__, view, methods=[route.method])
    api.before_request(_count)
    api.after_request(_say_what_is_left)
    server.register_blueprint(api)
    # Else the pages, which answer to every path, would answer to these.
    server.add_url_rule(
        "/api/<path:rest>", UNKNOWN, needs("read")(_unknown), methods=[*METHODS, "PATCH", "PUT"]
    )
    docs.add_page(server)


def _unknown(rest: str) -> Response:
    """Return that there is nothing here, or nothing for this method."""
    del rest
    routes = current_app.url_map.bind("")
    found = [m for m in METHODS if routes.match(request.path, m)[0] != UNKNOWN]
    if not found:
        return problem(
            404, "unknown-path", "there is nothing here; /api/v1/openapi.json says what is."
        )
    allowed = ", ".join(found)
    detail = f"found {request.method}, expected {allowed}."
    return problem(405, "method", detail, headers={"Allow": allowed})


def _count() -> None:
    """Let the request pass, unless its sender has spent this minute's requests."""
    if request.path in OPEN:
        return
    asked_by = principal()
    limit = parts().limit
    g.spent = spent = limit.spend(f"{asked_by.kind} {asked_by.id}")
    if spent.is_over:
        detail = f"more than {limit.per_minute:,} requests in this minute; wait {spent.reset_s} s."
        headers = {"Retry-After": str(spent.reset_s)}
        raise ProblemError(429, "too-many-requests", detail, headers=headers)


def _say_what_is_left(response: Response) -> Response:
    spent = g.get("spent")
    if spent is not None:
        response.headers.extend(
            [
                ("RateLimit-Limit", str(parts().limit.per_minute)),
                ("RateLimit-Remaining", str(spent.remaining)),
                ("RateLimit-Reset", str(spent.reset_s)),
            ]
        )
    return response
