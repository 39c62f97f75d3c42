"""Who may read the dashboard: one-time links in, signed session cookies out, everything else 401.

A link carries a token of 192 random bits. On disk lies only its SHA-256, as the name of an empty
file: removing that file is how the link is used, so of two readers with one link exactly one gets
in, in whichever process they arrive. docs/adr/0006-token.md has the reasons.
"""

import hashlib
import os
import secrets
import threading
import time
from collections import defaultdict, deque
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

from flask import Flask, Response, redirect, render_template, request, session
from werkzeug.wrappers import Response as BaseResponse

OPEN_ROUTES = frozenset({"/sign-in", "/assets/sign-in.css", "/assets/favicon.svg", "/healthz"})
"""The paths that answer without a session; every other one, known or not, answers 401."""
LINK_LIFETIME_S = 24 * 3600
"""Seconds that an unused link stays good."""
SESSION_LIFETIME = timedelta(days=14)
"""How long a browser stays signed in."""
MAX_WRONG_TOKENS = 10
"""Wrong tokens that one address may send within `THROTTLE_S`."""
THROTTLE_S = 60.0
"""Seconds that a wrong token counts against the address that sent it."""


class Links:
    """The unused one-time links of one data folder, shared by all processes that open it.

    Parameters
    ----------
    folder
        Made with access for its owner only; holds one empty file an unused link.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def new_token(self) -> str:
        """Return a token that `use` accepts once, within a day."""
        self._remove_expired()
        token = secrets.token_urlsafe(24)
        os.close(os.open(self._path(token), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return token

    def use(self, token: str) -> bool:
        """Return whether the token was good; from now on it is not.

        Looking the digest up as a file name leaks no timing that helps: whoever does not know the
        token cannot choose its digest.
        """
        path = self._path(token)
        try:
            is_fresh = path.stat().st_mtime > time.time() - LINK_LIFETIME_S
            path.unlink()
        except FileNotFoundError:
            return False
        return is_fresh

    def _path(self, token: str) -> Path:
        # surrogates can arrive in a form field; they must be wrong, not an error
        digest = hashlib.sha256(token.encode(errors="surrogatepass"))
        return self._folder / digest.hexdigest()

    def _remove_expired(self) -> None:
        oldest = time.time() - LINK_LIFETIME_S
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # used in this very moment
                if path.stat().st_mtime <= oldest:
                    path.unlink()


class Throttle:
    """Counts the wrong tokens of each address within the last `THROTTLE_S` seconds."""

    def __init__(self) -> None:
        self._wrong: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=MAX_WRONG_TOKENS)
        )
        self._lock = threading.Lock()

    def is_closed(self, address: str) -> bool:
        """Return whether this address has to wait."""
        wrong = self._wrong.get(address)
        if wrong is None or len(wrong) < MAX_WRONG_TOKENS:
            return False
        return time.monotonic() - wrong[0] < THROTTLE_S

    def count(self, address: str) -> None:
        """Remember one wrong token; addresses that have been quiet are forgotten."""
        now = time.monotonic()
        with self._lock:
            self._wrong[address].append(now)
            for other, wrong in list(self._wrong.items()):
                if now - wrong[-1] > THROTTLE_S:
                    del self._wrong[other]


def read_secret_key(path: Path) -> bytes:
    """Return the key that signs the sessions, made at the first call; only its owner can read it.

    Whoever removes the file signs everybody out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    try:
        os.link(unfinished, path)  # two processes that start at once agree on the first one's key
    except FileExistsError:
        path.chmod(0o600)
    finally:
        unfinished.unlink()
    return path.read_bytes()


def protect(server: Flask, *, secret_key: bytes, links: Links, hosts: list[str]) -> None:
    """Close every route of ``server`` but `OPEN_ROUTES`, and add signing in and out.

    Parameters
    ----------
    server
        The application; routes added later are closed too.
    secret_key
        Signs the session cookies.
    links
        Where one-time tokens are redeemed.
    hosts
        Names that a request may call this server by: a foreign name that was made to point here
        (DNS rebinding) answers 400.
    """
    server.config.update(
        SECRET_KEY=secret_key,
        # cookies ignore the port: two dashboards on one machine must not sign each other out
        SESSION_COOKIE_NAME="recgraph_" + hashlib.sha256(secret_key).hexdigest()[:12],
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=SESSION_LIFETIME,
        # Else the answer to a request under way would bring back a cookie just given up.
        SESSION_REFRESH_EACH_REQUEST=False,
        TRUSTED_HOSTS=hosts,
        MAX_FORM_MEMORY_SIZE=64 * 1024,
    )
    server.before_request(_refuse_strangers)
    throttle = Throttle()

    def sign_in() -> BaseResponse | tuple[str, int]:
        return _sign_in(links, throttle)

    server.add_url_rule("/sign-in", view_func=sign_in, methods=["GET", "POST"])
    server.add_url_rule("/sign-out", view_func=_sign_out, methods=["POST"])
    server.add_url_rule("/healthz", view_func=_healthz)


def _refuse_strangers() -> BaseResponse | tuple[str, int] | None:
    if (
        request.routing_exception is not None
        and getattr(request.routing_exception, "code", 0) == 400
    ):
        return Response("unknown host name\n", 400, mimetype="text/plain")
    if request.method not in ("GET", "HEAD") and not _is_same_origin():
        return Response("cross-origin request refused\n", 403, mimetype="text/plain")
    if request.path in OPEN_ROUTES or session.get("signed_in"):
        return None
    if request.method == "GET" and request.accept_mimetypes.quality("text/html") == 1:
        return _sign_in_page(401)
    return Response('{"error": "sign in first"}\n', 401, mimetype="application/json")


def _is_same_origin() -> bool:
    # another port of this machine is the same *site*: SameSite cookies alone would let it post
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _sign_in(links: Links, throttle: Throttle) -> BaseResponse | tuple[str, int]:
    token = request.values.get("token", "").strip()
    if session.get("signed_in"):  # a reload, or a prefetch before it: the link was ours already
        return redirect(_next_page())
    if request.method == "HEAD" or not token:
        return _sign_in_page(200)
    address = request.remote_addr or ""
    if throttle.is_closed(address):
        return _sign_in_page(429, "Too many wrong tokens. Wait a minute, then try again.")
    if not links.use(token):
        throttle.count(address)
        return _sign_in_page(401, "This link was used already, is older than a day, or is wrong.")
    session["signed_in"] = True
    session.permanent = True
    return redirect(_next_page())


def _sign_in_page(status: int, problem: str | None = None) -> tuple[str, int]:
    wanted = request.full_path.rstrip("?") if request.path not in OPEN_ROUTES else _next_page()
    return render_template("sign_in.html", problem=problem, next=quote(wanted, safe="")), status


def _next_page() -> str:
    """Return the page that was asked for before signing in: a path here, never another site."""
    wanted = request.args.get("next", "/")
    parts = urlsplit(wanted)
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_local and not parts.scheme and not parts.netloc else "/"


def _sign_out() -> BaseResponse:
    session.clear()
    return redirect("/sign-in")


def _healthz() -> Response:
    return Response(status=204)
