"""What a process of `live` says of itself -> Prometheus metrics on a port of 127.0.0.1."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from recgraph.config import Settings
from recgraph.live_status import LiveStatus
from recgraph.services.metrics import Observe, answering, counts_by_reason

_DELAY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)


@contextmanager
def open_live_metrics(settings: Settings, status: LiveStatus) -> Iterator[Observe]:
    """Answer Prometheus while the block runs, and write the address into the status.

    Without ``settings.live_metrics_port`` nobody is answered.

    Raises
    ------
    ConfigError
        The port is taken.
    """
    registry = CollectorRegistry()
    text = "Seconds from a message's time on the topic to its list in the store."
    delay = Histogram(
        "recgraph_live_delay_seconds", text, registry=registry, buckets=_DELAY_SECONDS
    )
    registry.register(_StatusCollector(status))
    with answering(registry, settings.live_metrics_port, "LIVE_METRICS_PORT") as url:
        status.metrics_url = url
        yield delay.observe


class _StatusCollector(Collector):
    """The counts as they are at the moment of a scrape."""

    def __init__(self, status: LiveStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        status = self._status
        text = "Sales folded in since the process started."
        yield CounterMetricFamily("recgraph_live_events", text, value=status.events)
        text = "Lists written and sent since the process started."
        yield CounterMetricFamily("recgraph_live_lists", text, value=status.lists)
        text = "Messages that are no sale, since the process started."
        yield counts_by_reason("recgraph_live_rejected", text, status.rejected)
        text = "Whether sales are folded in: the broker, the store and the generation are there."
        yield GaugeMetricFamily("recgraph_live_up", text, value=float(status.problem is None))
