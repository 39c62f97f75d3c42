"""Who sent this request, and whether it may pass: one guard before every route, closed by default.

A request has a `Principal` by its session cookie, or by ``Authorization: Bearer KEY`` or
``X-API-Key: KEY``; when it carries a key, only the key counts. A route says what it needs::

    @blueprint.get("/api/v1/users/<user_id>/recommendations")
    @needs("read")
    def recommendations(user_id: str) -> Response:
        asked_by = principal()      # .name, .id, .role, .scopes, .may("operate")

A route that says nothing answers 403 to everybody; so a forgotten decorator shows at the first
try. ``needs(..., people_only=True)`` is for what is part of the pages: no key opens it. Within a
view or a callback, ``require("write")`` asks for more. What is open to all stands in `OPEN_ROUTES`,
and nowhere else. Refusals are problem documents of status 400, 401, 403 or 503; a browser that
navigates gets the sign-in page instead.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import flask_login
from flask import Flask, Request, Response, current_app, g, redirect, render_template, request
from flask_login import LoginManager, UserMixin
from flask_wtf.csrf import generate_csrf
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.wrappers import Response as BaseResponse

from dashboards.problems import problem
from recgraph.accounts import Principal, Scope
from recgraph.errors import StoreUnavailable
from recgraph.ports import Accounts, Keys

OPEN_ROUTES = frozenset(
    {"/sign-in", "/assets/sign-in.css", "/assets/favicon.svg", "/healthz"}
    | {"/api/v1/health", "/api/v1/ready"}
)
"""The paths that answer to everybody; every other one, known or not, asks who is there."""
RETRY_AFTER_S = 5
"""Seconds that an answer 503 asks to wait for MongoDB."""

_DASH_ROUTES = (
    *("/", "/<path:path>", "/assets/<path:filename>", "/_favicon.ico", "/_reload-hash"),
    *("/_dash-layout", "/_dash-dependencies", "/_dash-update-component"),
    "/_dash-component-suites/<string:package_name>/<path:fingerprinted_path>",
)
"""Rules that Dash adds, which need `read`."""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_PAGES, _KEYS = "recgraph.pages", "recgraph.keys"
_KINDS = {400: "unknown-host", 401: "unknown-sender", 403: "forbidden", 503: "away"}

View = TypeVar("View", bound=Callable[..., Any])


class Need(NamedTuple):
    """What a route asks of whoever calls it."""

    scope: Scope
    people_only: bool


class SignedIn(UserMixin):  # type: ignore[misc]
    """A person as Flask-Login keeps it; its id is the session's token."""

    def __init__(self, principal: Principal, token: str) -> None:
        self.principal = principal
        self.id = token


def needs(scope: Scope, *, people_only: bool = False) -> Callable[[View], View]:
    """Return a decorator that says which scope a view needs.

    Parameters
    ----------
    people_only
        No API key opens it, whatever its scopes.
    """

    def mark(view: View) -> View:
        view.need = Need(scope, people_only)  # type: ignore[attr-defined]
        return view

    return mark


def principal() -> Principal:
    """Return who sent this request; not for routes that are open to all."""
    found = admitted()
    assert found is not None  # the guard has answered 401
    return found


def admitted() -> Principal | None:
    """Return whom the guard has let in, None on a route that is open to all."""
    found: Principal | None = g.get("admitted")
    return found


def require(scope: Scope) -> None:
    """Return when the sender of this request holds a scope.

    Raises
    ------
    Forbidden
        They do not: the request answers 403.
    """
    if not principal().may(scope):
        raise Forbidden(_missing(scope))


def is_signed_in() -> bool:
    """Return whether a session or a key came with this request."""
    return _principal_or_none() is not None


def protect(server: Flask, accounts: Accounts) -> None:
    """Close every route of ``server`` but `OPEN_ROUTES`; routes added later are closed too."""
    manager = LoginManager()
    # A laptop that changes its network stays signed in; the session's end is the server's matter.
    manager.session_protection = None
    manager.init_app(server, add_context_processor=False)

    @manager.user_loader  # type: ignore[untyped-decorator]
    def signed_in(token: str) -> SignedIn | None:
        found = accounts.sessions.principal(token)
        return None if found is None else SignedIn(found, token)

    server.extensions[_KEYS] = accounts.keys
    server.before_request(_guard)


def mark_pages(server: Flask) -> None:
    """Say of the routes that Dash has added to ``server`` that they need `read`, of people."""
    # Kept beside the views: those of Dash are methods, which cannot be marked.
    server.extensions[_PAGES] = {
        rule.endpoint for rule in server.url_map.iter_rules() if rule.rule in _DASH_ROUTES
    }


def need_of(server: Flask, endpoint: str) -> Need | None:
    """Return what a route needs; None for one that says nothing, which nobody may use."""
    if endpoint in server.extensions.get(_PAGES, ()):
        return Need("read", people_only=True)
    need: Need | None = getattr(server.view_functions[endpoint], "need", None)
    return need


def refusal(status: int, detail: str, *, retry_after_s: float | None = None) -> BaseResponse:
    """Return the sign-in page for somebody who navigates, else a problem document."""
    if _is_navigation() and status in (401, 503):
        answer = sign_in_page(status, None if status == 401 else detail)
    else:
        headers = {"WWW-Authenticate": 'Bearer realm="recgraph"'} if status == 401 else {}
        answer = problem(status, _KINDS[status], detail, headers=headers)
    if retry_after_s is not None:
        answer.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return answer


def sign_in_page(status: int, problem: str | None = None, *, email: str = "") -> BaseResponse:
    """Return the page with which people sign in, and what went wrong before with which address."""
    wanted = request.full_path.rstrip("?") if request.path not in OPEN_ROUTES else next_page()
    text = render_template(
        "sign_in.html",
        problem=problem,
        email=email,
        next=quote(wanted, safe=""),
        csrf_token=generate_csrf(),
    )
    return Response(text, status, mimetype="text/html")


def next_page() -> str:
    """Return the page that was asked for before signing in: a path here, never another site."""
    wanted = request.args.get("next", "/")
    parts = urlsplit(wanted)
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_local and not parts.scheme and not parts.netloc else "/"


def to_next_page() -> BaseResponse:
    """Return the redirect to the page that was asked for before signing in."""
    return redirect(next_page())


def _guard() -> BaseResponse | None:
    error = request.routing_exception
    if isinstance(error, HTTPException) and error.code == 400:
        return refusal(400, "this server does not go by this host name.")
    if request.method not in _SAFE_METHODS and not _is_same_origin():
        return refusal(403, "a page of another origin has sent this.")
    if request.path in OPEN_ROUTES:
        return None
    try:
        found = _principal_or_none()
    except StoreUnavailable:
        detail = f"MongoDB does not answer. Try again in {RETRY_AFTER_S} seconds."
        return refusal(503, detail, retry_after_s=RETRY_AFTER_S)
    if found is None:
        return refusal(401, "sign in, or send a key that is good.")
    g.admitted = found
    return None if error is not None else _refuse_unless_allowed(found)


def _refuse_unless_allowed(found: Principal) -> BaseResponse | None:
    need = need_of(current_app, request.endpoint or "")
    if need is None:
        return refusal(403, "no scope opens this route.")
    if need.people_only and found.kind == "key":
        return refusal(403, "this is a page: sign in. A key opens the API only.")
    return None if found.may(need.scope) else refusal(403, _missing(need.scope))


def _missing(scope: Scope) -> str:
    return f"this needs the scope {scope}, which you do not have. Ask whoever runs recgraph."


def _principal_or_none() -> Principal | None:
    key = _key_of(request)
    if key is not None:  # and only that: whoever is signed in beside it does not count
        keys: Keys = current_app.extensions[_KEYS]
        return keys.principal(key)
    user = flask_login.current_user
    return user.principal if user.is_authenticated else None


def _key_of(this: Request) -> str | None:
    """Return the API key that a request carries, None when it carries none."""
    scheme, _, credentials = this.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return this.headers.get("X-API-Key")


def _is_same_origin() -> bool:
    # another port of this machine is the same *site*: SameSite cookies alone would let it post
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _is_navigation() -> bool:
    wants_html = request.accept_mimetypes.quality("text/html") == 1
    return request.method == "GET" and wants_html and not request.path.startswith("/api/")
