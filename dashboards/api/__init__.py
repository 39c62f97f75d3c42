"""The REST API under ``/api/v1``: other programs in, the same store, the same sink.

`register_api` puts it on a server. A route is thin: it reads the request, asks what was handed in,
and answers a struct of `dashboards.api.answered`; whatever goes wrong is a problem document.
"""

from dashboards.api.parts import ApiParts
from dashboards.api.register import register_api

__all__ = ["ApiParts", "register_api"]
