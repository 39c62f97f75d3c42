"""A request -> the struct that a route asks for, or a problem that names the field."""

import re
from typing import Any, TypeVar

import msgspec
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from dashboards.problems import ProblemError

T = TypeVar("T")

MAX_BODY_BYTES = 256 * 1024
"""Longest JSON body."""
_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")


def read_query(kind: type[T]) -> T:
    """Return the query string as a struct; of a name given twice, the first counts.

    Raises
    ------
    ProblemError
        422: a name is unknown, or a value not of its type or out of its range.
    """
    try:
        return msgspec.convert(request.args.to_dict(), kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from None


def read_body(kind: type[T], *, content_type: str = "application/json") -> T:
    """Return the JSON body as a struct.

    Raises
    ------
    ProblemError
        415 it is not called JSON, 413 it is too long, 400 it is no JSON, 422 it is not what was
        expected.
    """
    body = read_bytes(content_type, max_bytes=MAX_BODY_BYTES)
    try:
        found = msgspec.json.decode(body, type=kind)
        msgspec.json.encode(found)  # half a character can be read, but never be answered
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        detail = f"the body is no JSON: {_one_line(error)}"
        raise ProblemError(400, "no-json", detail) from None
    return found


def read_bytes(*content_types: str, max_bytes: int) -> bytes:
    """Return the body, if it is of one of the types and not too long.

    Raises
    ------
    ProblemError
        415 or 413.
    """
    if request.mimetype not in content_types:
        found = request.mimetype[:100] or "none"
        detail = f"found content type {found}, expected {' or '.join(content_types)}."
        raise ProblemError(415, "content-type", detail)
    # One more than may be: a body that does not say its length is cut off there without an error.
    request.max_content_length = max_bytes + 1
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise _too_large(max_bytes) from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def _too_large(max_bytes: int) -> ProblemError:
    detail = f"the body has more than {max_bytes:,} bytes; send several smaller ones."
    return ProblemError(413, "too-large", detail)


def invalid(error: msgspec.ValidationError) -> ProblemError:
    """Return what is wrong with which field as a problem."""
    text = _one_line(error)
    found = _PATH.search(text)
    field = found["path"].removeprefix("$").lstrip(".") if found else ""
    detail = _PATH.sub("", text)
    entry: dict[str, Any] = {"field": field, "detail": detail}
    return ProblemError(422, "invalid", f"{field}: {detail}" if field else detail, [entry])


def _one_line(error: Exception) -> str:
    # Without half characters, which an unknown field's name may bring into the message.
    return " ".join(str(error).split())[:300].encode(errors="replace").decode()
