"""Who sent a request to the stream, and whether it may pass: closed but to a good session or key.

The same sessions and keys as the dashboard's: cookies do not tell ports of a host apart, so the
browser brings the dashboard's. Pages of other origins get nothing; the dashboard's own may read.
"""

import asyncio
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from aiohttp import web
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature

from dashboards.server import new_server
from recgraph.accounts import SESSION_LIFETIME, Principal
from recgraph.errors import StoreUnavailable
from recgraph.ports import Accounts

OPEN_ROUTES = frozenset({"/healthz"})
"""The paths that answer to everybody."""
RETRY_AFTER_S = 5
"""Seconds that an answer 503 asks to wait."""


class Refused(Exception):
    """A request that is answered with a problem document."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail


class Guard:
    """Lets in who may read.

    Parameters
    ----------
    accounts
        Sessions and keys.
    secret_key
        Signs the session cookies.
    hosts
        Names that requests may call this server by, as `recgraph serve` has them.
    origins
        Returns the origins whose pages may read; asked at each request.
    """

    def __init__(
        self,
        accounts: Accounts,
        secret_key: bytes,
        hosts: Collection[str],
        origins: Callable[[], Collection[str]],
    ) -> None:
        flask = new_server(secret_key, [], None)
        signer = SecureCookieSessionInterface().get_signing_serializer(flask)
        assert signer is not None  # there is a key
        self._signer = signer
        self._cookie: str = flask.config["SESSION_COOKIE_NAME"]
        self._accounts = accounts
        self._hosts = frozenset(host.strip("[]") for host in hosts)
        self._origins = origins

    async def admit(self, request: web.Request) -> None:
        """Return when the sender may read.

        Raises
        ------
        Refused
            With the status 400, 401, 403 or 503.
        """
        if _hostname(request.host) not in self._hosts:
            raise Refused(400, "unknown-host", "this server does not go by this host name.")
        if "Origin" in request.headers and self.origin_of(request) is None:
            raise Refused(403, "forbidden", "a page of another origin has sent this.")
        if request.path in OPEN_ROUTES:
            return
        try:
            found = await asyncio.to_thread(self._principal, request)
        except StoreUnavailable:
            detail = f"MongoDB does not answer. Try again in {RETRY_AFTER_S} seconds."
            raise Refused(503, "away", detail) from None
        if found is None:
            raise Refused(401, "unknown-sender", "sign in, or send a key that is good.")
        if not found.may("read"):
            raise Refused(403, "forbidden", "this needs the scope read, which you do not have.")

    async def is_still_in(self, request: web.Request) -> bool:
        """Return whether the sender may still read; yes while nobody can tell."""
        try:
            found = await asyncio.to_thread(self._principal, request)
        except StoreUnavailable:
            return True
        return found is not None and found.may("read")

    def origin_of(self, request: web.BaseRequest) -> str | None:
        """Return the origin of the page that sent a request, if it is one of ours."""
        origin = request.headers.get("Origin")
        return origin if origin in self._origins() else None

    def _principal(self, request: web.Request) -> Principal | None:
        """Return who sent a request; when it carries a key, only the key counts."""
        key = _key_of(request)
        if key is not None:
            return self._accounts.keys.principal(key)
        token = self._token(request.cookies.get(self._cookie, ""))
        return None if token is None else self._accounts.sessions.principal(token)

    def _token(self, cookie: str) -> str | None:
        """Return the token of a session, None for a cookie that we have not signed."""
        try:
            session = self._signer.loads(cookie, max_age=int(SESSION_LIFETIME.total_seconds()))
        except BadSignature:
            return None
        token = session.get("_user_id")
        return token if isinstance(token, str) else None


def _key_of(request: web.Request) -> str | None:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return request.headers.get("X-API-Key")


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
