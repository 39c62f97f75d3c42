"""What a browser sends to the callbacks of Dash -> the same, or 400.

Dash takes whatever comes for a call that its own scripts have made, and answers 500 to the rest.
"""

from typing import Any

import msgspec
from dash import Dash
from flask import abort, request

_ROUTE = "/_dash-update-component"
_TEXTS = {"pathname", "search", "value"}
"""Properties that are typed by people or stand in an address, and are text in every callback."""
_MAX_BYTES = 16 * 1024 * 1024
"""Longest call; a network of some hundred vertices comes with what is drawn of each."""
_NO_CALL = "this is no call of a callback of this page; reload it."


class _Value(msgspec.Struct):
    """The value of a property of a component; it has none before it is drawn."""

    id: str | dict[str, Any]
    property: str
    value: Any = None


class _Call(msgspec.Struct, rename="camel"):
    """What Dash's own scripts send."""

    output: str
    inputs: list[_Value | list[_Value]]
    outputs: list[Any] | dict[str, Any] | None = None
    state: list[_Value | list[_Value]] = []
    changed_prop_ids: list[str] = []


def check_calls(app: Dash) -> None:
    """Answer 400 to what is no call of a callback of ``app``."""

    def check() -> None:
        if request.path != _ROUTE or request.method != "POST":
            return
        request.max_content_length = _MAX_BYTES
        try:
            call = msgspec.convert(request.get_json(), _Call)
        except (msgspec.ValidationError, RecursionError):
            abort(400, _NO_CALL)
        known = app.callback_map.get(call.output)
        if known is None or not _fits(call, known):
            abort(400, _NO_CALL)

    app.server.before_request(check)


def _fits(call: _Call, known: dict[str, Any]) -> bool:
    """Return whether the call brings what the callback takes."""
    counts = (len(known["inputs"]), len(known["state"]))
    return counts == (len(call.inputs), len(call.state)) and all(
        each.property not in _TEXTS or isinstance(each.value, str | None)
        for each in [*call.inputs, *call.state]
        if isinstance(each, _Value)
    )
