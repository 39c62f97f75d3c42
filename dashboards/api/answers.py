"""A struct -> an answer: JSON, an ETag, compressed when that pays and is understood."""

import gzip
import hashlib
from typing import Any

import msgspec
from flask import Response, request

MIN_GZIP_BYTES = 1_400
"""What fits into one packet is sent as it is."""
_GZIP_LEVEL = 1  # most of the gain; more levels cost more than they save on one machine

_encoder = msgspec.json.Encoder()


def answer(value: Any, status: int = 200) -> Response:
    """Return the value as JSON; a reader that has it already gets 304 and nothing else."""
    body = _encoder.encode(value)
    response = Response(status=status, mimetype="application/json")
    if status == 200 and request.method in ("GET", "HEAD"):
        response.headers["Cache-Control"] = "private, no-cache"
        # Weak: the same for the compressed bytes.
        response.set_etag(hashlib.blake2b(body, digest_size=12).hexdigest(), weak=True)
        if "If-None-Match" in request.headers:
            response.make_conditional(request)
            if response.status_code == 304:
                return response
    response.headers["Vary"] = "Accept-Encoding, Authorization, Cookie"
    if len(body) >= MIN_GZIP_BYTES and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
    response.set_data(body)
    return response
