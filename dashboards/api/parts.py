"""What the API is handed: everything it reads from and writes to."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache
from flask import current_app

from dashboards.api.limiting import RateLimit
from dashboards.api.remembering import LastKnown
from recgraph.ports import EventSink, Feedback, Recommended, Store
from recgraph.serving import Serving

EXTENSION = "recgraph_api"


@dataclass(frozen=True)
class ApiParts:
    """The services of one server process."""

    store: Store
    feedback: Feedback
    sink: EventSink
    activate: Callable[[str], object]
    """Makes a generation that the store holds current; raises `GenerationError` if it cannot."""
    serving: Callable[[], Serving | None]
    """The current generation's model, or None when its folder is not on this machine."""
    broker_problem: Callable[[], str | None]
    """Why events cannot be taken, or None."""
    max_event_bytes: int = 65_536
    """Longest single event."""
    limit: RateLimit = field(default_factory=RateLimit)
    known: LastKnown = field(default_factory=LastKnown)
    popular: LRUCache[Any, list[Recommended]] = field(default_factory=lambda: LRUCache(64))
    """Popular lists by generation: they never change. Used under the lock."""
    lock: threading.Lock = field(default_factory=threading.Lock)


def has_parts() -> bool:
    """Return whether the server at work has an API."""
    return EXTENSION in current_app.extensions


def parts() -> ApiParts:
    """Return what the server at work was handed."""
    found: ApiParts = current_app.extensions[EXTENSION]
    return found
