"""A function -> a route, with all that the OpenAPI document and the guard need to know of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response
from werkzeug.routing import BaseConverter

from recgraph.accounts import Scope

View = Callable[..., Response]


@dataclass(frozen=True)
class Route:
    """One operation of the API."""

    method: str
    rule: str
    """Below ``/api/v1``, with ``<id:name>`` for an id."""
    view: View
    scope: Scope | None
    """What a caller must hold; None is open to everybody."""
    tag: str
    query: type[Any] | None
    body: type[Any] | None
    returns: type[Any] | None
    status: int
    lines: bool
    """The body may also be NDJSON."""


ROUTES: list[Route] = []
"""Every operation, in the order of the document."""


class IdConverter(BaseConverter):
    """An id in a path: any text, slashes included."""

    regex = r"[\s\S]+?"
    part_isolating = False


def route(
    method: str,
    rule: str,
    *,
    scope: Scope | None,
    tag: str,
    query: type[Any] | None = None,
    body: type[Any] | None = None,
    returns: type[Any] | None = None,
    status: int = 200,
    lines: bool = False,
) -> Callable[[View], View]:
    """Return a decorator that makes a function an operation; its docstring describes it."""

    def add(view: View) -> View:
        ROUTES.append(Route(method, rule, view, scope, tag, query, body, returns, status, lines))
        return view

    return add
