"""An error -> an RFC 9457 problem document: every answer under ``/api`` that is no success.

Each has ``type``, ``title``, ``status``, ``detail`` and ``instance``; some have ``errors``, what is
wrong with which field. A detail never quotes more of a request than a name or a short value.

References
----------
RFC 9457, Problem Details for HTTP APIs.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from recgraph.errors import NotPublished, RecgraphError, SinkUnavailable, StoreError

PREFIX = "/api/"
"""Paths whose errors are problem documents."""
CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
"""Seconds after which a store that does not answer is worth asking again."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document."""

    type: str
    """A URN that a program can compare, such as ``urn:recgraph:store-away``."""
    title: str
    status: int
    detail: str
    """What was found, what was expected, what to do."""
    instance: str = ""
    """The path that was asked for."""
    errors: list[Any] = []
    """What is wrong with which field or line."""


class ProblemError(Exception):
    """An answer that is a problem.

    Parameters
    ----------
    status
        The HTTP status, 4xx or 5xx.
    kind
        The end of the problem's URN.
    detail
        What was found, what was expected, what to do.
    errors
        What is wrong with which field or line.
    headers
        Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: list[Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.errors = errors or []
        self.headers = dict(headers or {})


def problem(
    status: int,
    kind: str,
    detail: str,
    errors: list[Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer with a problem document; see `ProblemError` for the parameters."""
    # A path may hold half a character, which no JSON can.
    instance = request.path.encode(errors="replace").decode()[:200]
    title = HTTPStatus(status).phrase
    document = Problem(f"urn:recgraph:{kind}", title, status, detail, instance, errors or [])
    body = msgspec.json.encode(document)
    answer = Response(body, status, mimetype=CONTENT_TYPE)
    answer.headers.update(headers or {})
    return answer


def handle_errors(server: Flask) -> None:
    """Make every error under `PREFIX` a problem document; other paths keep theirs."""
    server.register_error_handler(ProblemError, _of_problem)
    server.register_error_handler(RecgraphError, _of_ours)
    server.register_error_handler(HTTPException, _of_http)


def _of_problem(error: ProblemError) -> Response:
    return problem(error.status, error.kind, error.detail, error.errors, error.headers)


def _of_ours(error: RecgraphError) -> Response:
    if not request.path.startswith(PREFIX):
        raise error
    if isinstance(error, StoreError | SinkUnavailable):
        retry_after_s = getattr(error, "retry_after_s", RETRY_AFTER_S)
        kind = "nothing-published" if isinstance(error, NotPublished) else "away"
        return problem(503, kind, str(error), headers={"Retry-After": f"{retry_after_s:.0f}"})
    return problem(422, "refused", str(error))


def _of_http(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if not request.path.startswith(PREFIX) or status < 400:
        return error
    kind = HTTPStatus(status).phrase.lower().replace(" ", "-")
    headers = {
        name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")
    }
    return problem(status, kind, error.description or "", headers=headers)
