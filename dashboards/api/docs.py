"""The OpenAPI document, and a page to try the API: Swagger UI, all of it from this server."""

import importlib.util
from pathlib import Path

from flask import Flask, Response, render_template, send_file

from dashboards.access import needs
from dashboards.api.routing import route
from dashboards.headers import content_security_policy
from dashboards.live import stream_origin

PAGE = "/api-docs"
"""The page to try the API; outside of ``/api``, so that who is not signed in can sign in."""
OURS = "try-it.js"
ASSETS = {
    OURS: "text/javascript",
    "swagger_style.css": "text/css",
    "swagger_bundle.js": "text/javascript",
}
"""What the page loads: our file, and two of the package offapi."""


@route("GET", "/openapi.json", scope="read", tag="Service")
def read_document() -> Response:
    """The OpenAPI document of all this."""
    # Imported when it is first asked for: 40 MB of it are pages that are not used here.
    from dashboards.api.document import document

    return Response(document(stream_origin()), mimetype="application/json")


def add_page(server: Flask) -> None:
    """Add the page and its assets."""
    may_read = needs("read", people_only=True)
    server.add_url_rule(PAGE, "api_docs", may_read(_page))
    server.add_url_rule(f"{PAGE}/<name>", "api_docs_asset", may_read(_asset))


def _page() -> Response:
    page = Response(render_template("api_docs.html", page=PAGE))
    # Swagger UI writes style elements at run time, as the pages do.
    policy = content_security_policy(allows_inline_styles=True)
    page.headers["Content-Security-Policy"] = policy
    return page


def _asset(name: str) -> Response:
    if name not in ASSETS:
        return Response("there is no such file\n", 404, mimetype="text/plain")
    folder = Path(__file__).parent if name == OURS else _offapi()
    return send_file(folder / name, mimetype=ASSETS[name], max_age=3600)


def _offapi() -> Path:
    # Found, not imported: importing it reads all of its pages into memory.
    found = importlib.util.find_spec("offapi")
    assert found is not None  # spectree[offline] brings it
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])
