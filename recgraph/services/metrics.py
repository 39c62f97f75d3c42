"""A process's `Status` and what the services say -> Prometheus metrics on a port of 127.0.0.1.

Counters and gauges are read from the status, and the services asked, when somebody scrapes;
nothing is counted twice, and a process that nobody scrapes asks nobody.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from recgraph.config import PREFIX, Settings
from recgraph.errors import ConfigError
from recgraph.services.surroundings import Surroundings, look_around
from recgraph.status import Status

_HOST = "127.0.0.1"
_BATCH_SECONDS = (0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)

Observe = Callable[[float], None]
"""Called with the seconds that a batch took."""


@contextmanager
def open_metrics(settings: Settings, status: Status) -> Iterator[Observe]:
    """Answer Prometheus while the block runs, and write the address into the status.

    Without ``settings.metrics_port`` nobody is answered.

    Raises
    ------
    ConfigError
        The port is taken.
    """
    registry = CollectorRegistry()
    text = "Seconds from the start of a batch until it is in the event tables."
    seconds = Histogram("recgraph_batch_seconds", text, registry=registry, buckets=_BATCH_SECONDS)
    registry.register(_StatusCollector(settings, status))
    with answering(registry, settings.metrics_port, "METRICS_PORT") as url:
        status.metrics_url = url
        yield seconds.observe


@contextmanager
def answering(registry: CollectorRegistry, port: int | None, setting: str) -> Iterator[str | None]:
    """Answer Prometheus while the block runs, and give the address; without a port nobody is.

    Raises
    ------
    ConfigError
        The port, of this setting, is taken.
    """
    if port is None:
        yield None
        return
    try:
        server, thread = start_http_server(port, _HOST, registry)
    except OSError as error:
        message = f"port {port} cannot be listened on: {error}. Choose another."
        raise ConfigError(PREFIX + setting, message) from None
    try:
        yield f"http://{_HOST}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _StatusCollector(Collector):
    """Everything but the histogram, as it is at the moment of a scrape."""

    def __init__(self, settings: Settings, status: Status) -> None:
        self._settings = settings
        self._status = status

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering is not to ask the services."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        yield from _of_status(self._status)
        yield from _of_surroundings(look_around(self._settings, self._status.intake))


def _of_status(status: Status) -> Iterator[Metric]:
    intake = status.intake
    text = "Messages taken into the event table since the process started."
    yield CounterMetricFamily("recgraph_events_accepted", text, value=intake.accepted)
    text = "Messages turned away since the process started."
    yield counts_by_reason("recgraph_events_rejected", text, intake.rejected)
    if status.waiting is not None:
        text = "Events that came in since the last training."
        name = "recgraph_events_waiting_for_training"
        yield GaugeMetricFamily(name, text, value=status.waiting)


def counts_by_reason(name: str, text: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    """Return a counter with a value a reason."""
    counter = CounterMetricFamily(name, text, labels=["reason"])
    for reason, n_messages in counts.items():
        counter.add_metric([reason], n_messages)
    return counter


def _of_surroundings(found: Surroundings) -> Iterator[Metric]:
    text = "Whether the service answers."
    is_up = GaugeMetricFamily("recgraph_service_up", text, labels=["service"])
    for service in ("kafka", "mongodb"):
        is_up.add_metric([service], float(service not in found.problems))
    yield is_up
    text = "Messages on the topic that are not in the event tables yet."
    lag = GaugeMetricFamily("recgraph_lag_messages", text, labels=["partition"])
    for partition, n_messages in (found.lag or {}).items():
        lag.add_metric([partition], n_messages)
    yield lag
    if found.generation is not None:
        text = "Seconds since the current generation was made."
        name = "recgraph_generation_age_seconds"
        yield GaugeMetricFamily(name, text, value=found.generation.age_s)
