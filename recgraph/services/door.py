"""Settings -> the `EventSink` of whatever broker they lead to, looked up when events come.

A server that takes events starts no broker and outlives several: the embedded one may come up
after it, or again on another port.
"""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from recgraph.config import Settings
from recgraph.errors import ServiceError, SinkUnavailable
from recgraph.events import Rejection, SaleEvent, rules_from_settings
from recgraph.machine import is_listening
from recgraph.ports import Accepted
from recgraph.services import kafka
from recgraph.services.embedded import find_kafka
from recgraph.services.sink import KafkaEventSink

_FAILURE_COUNTS_S = 5.0
"""Seconds that a failure speaks against a broker that takes connections: it may be frozen."""
_NOWHERE = "127.0.0.1:1"
"""Stands for a broker that does not run: nobody listens there."""


class Door:
    """An `EventSink` over the broker of the settings; threads may share it, processes not.

    Parameters
    ----------
    settings
        They name the broker and the topic, which is made if need be.
    timeout_s
        Longest time that one `send` takes.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = 5.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._bootstrap = ""
        self._failed_at = -_FAILURE_COUNTS_S
        self._sink: KafkaEventSink | None = None

    def send(self, messages: Iterable[bytes | SaleEvent]) -> list[Accepted | Rejection]:
        """Return what happened to each message, in order; see `recgraph.ports.EventSink`."""
        try:
            return self._opened().send(messages)
        except SinkUnavailable:
            self._failed_at = time.monotonic()
            raise

    def problem(self) -> str | None:
        """Return why events cannot be taken now, None when they can."""
        bootstrap = find_kafka(self._settings)
        if bootstrap is None:
            return "the embedded broker does not run; `recgraph up` starts it."
        if not any(map(is_listening, bootstrap.split(","))):
            return f"nobody answers at {bootstrap}; `recgraph services` shows the broker."
        if time.monotonic() - self._failed_at < _FAILURE_COUNTS_S:
            return f"the broker at {bootstrap} has just left events without acknowledgement."
        return None

    def close(self) -> None:
        """Give up the connection; whoever still waits in `send` is told so."""
        with self._lock:
            if self._sink is not None:
                self._sink.close()

    def _opened(self) -> KafkaEventSink:
        bootstrap = find_kafka(self._settings) or _NOWHERE
        with self._lock:
            if self._sink is None or bootstrap != self._bootstrap:
                if self._sink is not None:
                    self._sink.close()
                rules = rules_from_settings(self._settings)
                topic = self._settings.topic
                self._sink = KafkaEventSink(bootstrap, topic, rules, timeout_s=self._timeout_s)
                self._bootstrap = bootstrap
                self._make_topic()
            return self._sink

    def _make_topic(self) -> None:
        if any(map(is_listening, self._bootstrap.split(","))):
            # The sink says of each event what became of it, also without the topic.
            with suppress(ServiceError):
                kafka.ensure_topic(
                    self._bootstrap,
                    self._settings.topic,
                    n_partitions=self._settings.topic_partitions,
                )
