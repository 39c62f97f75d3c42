"""Security headers of every answer.

Scripts come from this server only; the one inline script that Dash writes is allowed by its hash,
and nothing may be evaluated. Styles are the exception: Mantine, Plotly and AG Grid write style
elements at run time, so ``style-src`` has to allow inline ones.
"""

from collections.abc import Iterable

from flask import Flask, Response, request


def content_security_policy(script_hashes: Iterable[str]) -> str:
    """Return the policy: this server only, no evaluation, no frames around it."""
    directives = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *script_hashes]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def add_headers(server: Flask, script_hashes: Iterable[str]) -> None:
    """Put the headers on every answer of ``server``, errors and redirects included."""
    headers = {
        "Content-Security-Policy": content_security_policy(script_hashes),
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
        response.headers.update(headers)
        if not request.path.startswith(("/_dash-component-suites/", "/assets/")):
            response.headers["Cache-Control"] = "no-store"
        return response

    server.after_request(add)
