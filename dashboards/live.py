"""What pages need to change by themselves: where purchases go, and where new lists come from.

A page holds a `live_mark` with the name of a user. The browser listens to the stream as long as the
mark stands there, and each new list sets the store of the mark, which a callback of the page has as
its input; so the page is drawn by the same code as ever.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dash import ClientsideFunction, Dash, Input, Output, dcc, html
from flask import Flask, current_app, request

from dashboards.parts import Child
from recgraph.ports import EventSink

STREAM_PATH = "/api/v1/stream"
_EXTENSION = "recgraph_live"


@dataclass(frozen=True)
class LiveParts:
    """The services behind pages that change."""

    sink: EventSink
    stream_url: Callable[[], str | None]
    """Where this machine finds the stream, such as ``http://127.0.0.1:8051``; None without one."""
    live_problem: Callable[[], str | None]
    """Why a purchase would change no list, or None."""
    public_url: str | None = None
    """Where browsers find the proxy, which then leads to the stream as well."""


def register_live(server: Flask, parts: LiveParts | None) -> None:
    """Hand the parts to a server; None leaves pages as they were loaded."""
    server.extensions[_EXTENSION] = parts


def live_parts() -> LiveParts | None:
    """Return what the server at work was handed; None of a page that is laid out without one."""
    found: LiveParts | None = current_app.extensions.get(_EXTENSION) if current_app else None
    return found


def stream_origin() -> str | None:
    """Return where the browser that sent this request finds the stream, None without one."""
    parts = live_parts()
    url = None if parts is None else parts.stream_url()
    if parts is None or url is None:
        return None
    if parts.public_url is not None:
        return parts.public_url
    # By the name that the browser calls us by: it sends its cookie there, whatever the port.
    here = urlsplit(request.host_url)
    return f"{here.scheme}://{_bracketed(here.hostname or '')}:{urlsplit(url).port}"


def live_mark(name: str, user_id: str) -> Child:
    """Return the mark of a part of a page that follows the lists of a user, if any can be followed.

    Parameters
    ----------
    name
        ``<name>-news`` is the id of the store that each new list sets.
    """
    if live_parts() is None:
        return None
    origin = stream_origin()
    if origin is None:
        said: Child = [
            "Not live: ",
            html.Code("recgraph stream"),
            " does not run. Reload to see changes.",
        ]
        return html.P(html.Span(said), className="live-mark", role="status")
    watched = {"url": origin + STREAM_PATH, "user": user_id, "name": name}
    return html.Div(
        [
            dcc.Store(id="live-watched", data=watched),
            dcc.Store(id="live-heard"),
            dcc.Store(id=f"{name}-news"),
            html.Span(className="live-dot"),
            html.Span("Connecting …", id="live-said", role="status"),
        ],
        id="live-mark",
        className="live-mark",
    )


def add_listening(app: Dash) -> None:
    """Let the browser listen whenever a mark appears."""
    # Without an output it would not be called when a mark appears.
    app.clientside_callback(
        ClientsideFunction("live", "watch"),
        Output("live-heard", "data"),
        Input("live-watched", "data"),
    )


def news_of(name: str) -> Any:
    """Return the input that each new list for a mark sets."""
    return Input(f"{name}-news", "data")


def _bracketed(hostname: str) -> str:
    return f"[{hostname}]" if ":" in hostname else hostname
