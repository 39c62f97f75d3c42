"""A struct -> an answer: JSON, an ETag, compressed when that pays and is understood."""

import gzip
import hashlib
from typing import Any

import msgspec
from flask import Response, request
from werkzeug.http import is_resource_modified

MIN_GZIP_BYTES = 1_400
"""What fits into one packet is sent as it is."""
_GZIP_LEVEL = 1  # most of the gain; more levels cost more than they save on one machine

_VARY = [("Vary", "Accept-Encoding, Authorization, Cookie")]
_CACHING = ("Cache-Control", "private, no-cache")
_SAFE_METHODS = ("GET", "HEAD")

_encoder = msgspec.json.Encoder()


def answer(value: Any, status: int = 200) -> Response:
    """Return the value as JSON; a reader that has it already gets 304 and nothing else."""
    body = _encoder.encode(value)
    headers = _VARY
    if status == 200 and request.method in _SAFE_METHODS:
        # Weak: the same for the compressed bytes.
        tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers = [*_VARY, _CACHING, ("ETag", tag)]
        if "If-None-Match" in request.headers and _is_known(tag):
            return Response(status=304, headers=headers)
    if len(body) >= MIN_GZIP_BYTES and _takes_gzip(request.headers.get("Accept-Encoding", "")):
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        headers = [*headers, ("Content-Encoding", "gzip")]
    return Response(body, status, headers, mimetype="application/json")


def _takes_gzip(accepted: str) -> bool:
    """Return whether the reader unpacks; parsing weights takes longer, and few send any."""
    if ";" in accepted:
        return request.accept_encodings["gzip"] > 0
    return "gzip" in accepted


def _is_known(tag: str) -> bool:
    """Return whether the reader has this answer already."""
    return not is_resource_modified(request.environ, etag=tag)
