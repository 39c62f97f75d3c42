"""Security headers of every answer.

Scripts come from this server only; the one inline script that Dash writes is allowed by its hash,
and nothing may be evaluated. Styles are the exception: Mantine, Plotly, AG Grid and Swagger UI
write style elements at run time, so the two documents that load them, and no other answer, allow
inline ones: that of Dash, and the page to try the API.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from flask import Flask, Response, request

_DASH_DOCUMENTS = {"/", "/<path:path>"}
"""The rules of Dash's one document."""
_POLICY, _CACHING = "Content-Security-Policy", "Cache-Control"
_ALWAYS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # The one-time token stands in a URL: no other site shall read it. Not "no-referrer", with
    # which browsers post our own forms as from the origin "null".
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
]
_OVER_HTTPS = ("Strict-Transport-Security", "max-age=31536000")
_CACHED = ("/_dash-component-suites/", "/assets/")
"""Paths below which each file says for how long it may be kept."""


def content_security_policy(
    script_hashes: Iterable[str] = (),
    *,
    allows_inline_styles: bool = False,
    stream: str = "",
    image_hosts: Iterable[str] = (),
) -> str:
    """Return the policy: this server only, no evaluation, no frames around it."""
    directives = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'" if allows_inline_styles else "'self'",
        "img-src": " ".join(["'self' data:", *(f"https://{host}" for host in image_hosts)]),
        "font-src": "'self' data:",
        "connect-src": f"'self' {stream}".rstrip(),
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def add_headers(
    server: Flask,
    script_hashes: Iterable[str],
    stream_origin: Callable[[], str | None],
    image_hosts: Collection[str] = (),
) -> None:
    """Put the headers on every answer of ``server``, errors and redirects included.

    A view that sets its own policy keeps it.

    Parameters
    ----------
    stream_origin
        Returns where pages may listen for new lists, beside this server; asked at each document.
    image_hosts
        Where pages may load pictures from, beside this server.
    """
    hashes = list(script_hashes)

    def allow_styles(response: Response) -> Response:
        rule = request.url_rule
        if rule is not None and rule.rule in _DASH_DOCUMENTS and response.status_code == 200:
            stream = stream_origin() or ""
            policy = content_security_policy(
                hashes, allows_inline_styles=True, stream=stream, image_hosts=image_hosts
            )
            response.headers.setdefault(_POLICY, policy)
        return response

    server.after_request(allow_styles)
    server.wsgi_app = _with_headers(server.wsgi_app)  # type: ignore[method-assign]


def _with_headers(app: Callable[..., Any]) -> Callable[..., Any]:
    """Return the application with the headers that each answer has, below what Flask does.

    There they cost 2 us of CPU a request; each header that Flask sets, it compares with all others.
    """
    strict = (_POLICY, content_security_policy())

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            named = {name.lower() for name, _ in headers}
            more = _ALWAYS if _POLICY.lower() in named else [strict, *_ALWAYS]
            if environ["wsgi.url_scheme"] == "https":
                more = [*more, _OVER_HTTPS]
            if _CACHING.lower() not in named and not environ["PATH_INFO"].startswith(_CACHED):
                more = [*more, (_CACHING, "no-store")]
            return start_response(status, headers + more, *error)

        return app(environ, start)

    return answer
