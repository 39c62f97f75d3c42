"""Security headers of every answer.

Scripts come from this server only; the one inline script that Dash writes is allowed by its hash,
and nothing may be evaluated. Styles are the exception: Mantine, Plotly and AG Grid write style
elements at run time, so the document that loads them, and no other answer, allows inline ones.
"""

from collections.abc import Callable, Iterable

from flask import Flask, Response, request

_DASH_DOCUMENTS = {"/", "/<path:path>"}
"""The rules of Dash's one document."""


def content_security_policy(
    script_hashes: Iterable[str] = (), *, allows_inline_styles: bool = False, stream: str = ""
) -> str:
    """Return the policy: this server only, no evaluation, no frames around it."""
    directives = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'" if allows_inline_styles else "'self'",
        "img-src": "'self' data:",
        "font-src": "'self' data:",
        "connect-src": f"'self' {stream}".rstrip(),
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def add_headers(
    server: Flask, script_hashes: Iterable[str], stream_origin: Callable[[], str | None]
) -> None:
    """Put the headers on every answer of ``server``, errors and redirects included.

    A view that sets its own policy keeps it.

    Parameters
    ----------
    stream_origin
        Returns where pages may listen for new lists, beside this server; asked at each document.
    """
    hashes = list(script_hashes)
    strict = content_security_policy()
    headers = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # The one-time token stands in a URL: no other site shall read it. Not "no-referrer", with
        # which browsers post our own forms as from the origin "null".
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }

    def add(response: Response) -> Response:
        is_dash = response.status_code == 200 and str(request.url_rule) in _DASH_DOCUMENTS
        policy = strict
        if is_dash:
            stream = stream_origin() or ""
            policy = content_security_policy(hashes, allows_inline_styles=True, stream=stream)
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.update(headers)
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        if not request.path.startswith(("/_dash-component-suites/", "/assets/")):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    server.after_request(add)
