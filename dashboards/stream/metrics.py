"""A stream -> what Prometheus is told of it, as it is at the moment of a scrape."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dashboards.stream.app import Stream


class StreamCollector(Collector):
    """The counts of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        hub = self._stream.hub
        text = "Streams that are open."
        yield GaugeMetricFamily("recgraph_stream_clients", text, value=hub.n_clients)
        text = "Lists that came since the process started."
        yield CounterMetricFamily("recgraph_stream_lists", text, value=self._stream.n_lists)
        text = "Streams that were ended because they did not read."
        yield CounterMetricFamily("recgraph_stream_dropped", text, value=hub.n_slow)
        text = "Whether new lists come: the broker answers."
        yield GaugeMetricFamily("recgraph_stream_up", text, value=float(not self._stream.problem))
