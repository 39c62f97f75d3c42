"""A Flask server with nothing on it yet: its names, its cookies, and the proxy in front of it."""

import hashlib
from urllib.parse import urlsplit

from flask import Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from werkzeug.middleware.proxy_fix import ProxyFix

from recgraph.accounts import SESSION_LIFETIME


class _SecureOverHttps(SecureCookieSessionInterface):
    """Cookies that a browser got over HTTPS are sent over HTTPS only."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of a request; programs send no cookie, and wait for no signature."""
        if self.get_cookie_name(app) not in request.cookies:
            return SecureCookieSession()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Send the cookie; who has none and needs none is not asked about it."""
        if session or session.modified:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether this answer's cookie is marked Secure."""
        return request.is_secure or super().get_cookie_secure(app)


def new_server(secret_key: bytes, hosts: list[str], public_url: str | None) -> Flask:
    """Return a server with the settings that keep sessions safe.

    Parameters
    ----------
    secret_key
        Signs the session cookies.
    hosts
        Names that a request may call this server by: a foreign name that was made to point here
        (DNS rebinding) answers 400.
    public_url
        Where browsers find the proxy in front of the server, None without one. What the proxy says
        of a request (``X-Forwarded-For``, ``-Proto``, ``-Host``) is then believed, so nobody but
        the proxy may reach the server.
    """
    server = Flask(__name__, static_folder=None)
    public = urlsplit(public_url or "")
    server.config.update(
        SECRET_KEY=secret_key,
        # cookies ignore the port: two dashboards on one machine must not sign each other out
        SESSION_COOKIE_NAME="recgraph_" + hashlib.sha256(secret_key).hexdigest()[:12],
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=public.scheme == "https",
        PERMANENT_SESSION_LIFETIME=SESSION_LIFETIME,
        # Else the answer to a request under way would bring back a cookie just given up.
        SESSION_REFRESH_EACH_REQUEST=False,
        TRUSTED_HOSTS=[*hosts, public.hostname] if public.hostname else hosts,
        # Of our forms; what takes longer bodies says so.
        MAX_CONTENT_LENGTH=64 * 1024,
        # A form is good for as long as its session.
        WTF_CSRF_TIME_LIMIT=None,
    )
    server.session_interface = _SecureOverHttps()
    if public_url:
        server.wsgi_app = ProxyFix(server.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    return server
