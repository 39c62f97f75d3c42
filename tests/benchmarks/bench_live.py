"""From a sale that the broker has acknowledged to the list that the store answers with.

Run it with ``python -m tests.benchmarks.bench_live``; it prints one JSON object. It makes what
`recgraph demo` makes in a temporary folder, starts `recgraph live`, and sends the sales that come
next in the data at a steady rate. ``--data-dir`` keeps the folder, to be used again. ``--made-up``
spares the training: the generation is made up, of the same size, and so are the sales.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from kafka import KafkaProducer

from recgraph import generations, sources
from recgraph.cli import demo
from recgraph.cli.base import err
from recgraph.config import Settings, load_settings
from recgraph.live_status import read_statuses
from recgraph.services import kafka
from recgraph.services.embedded import ensure_kafka, ensure_mongo
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import publish
from tests.sample import write_sample_generation

PATIENCE_S = 120.0
MADE_UP: dict[str, Any] = {"n_users": 2_500, "n_items": 68_000, "mean_bought": 350.0}
"""As large as all of Complete Journey."""


class Pending:
    """Sales that are acknowledged and in no list yet; filled by one thread, emptied by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[int, int, float]]] = {}
        self.latencies: list[float] = []

    def acknowledged(self, user_id: str, sent: Any) -> None:
        """Wait from now on for the list of a user to include what was sent."""
        with self._lock:
            place = sent.partition, sent.offset, time.monotonic()
            self._waiting.setdefault(user_id, []).append(place)

    def users(self) -> list[str]:
        with self._lock:
            return list(self._waiting)

    def has_list(self, user_id: str, offsets: dict[str, int]) -> None:
        """Settle the sales that a user's list includes."""
        now = time.monotonic()
        with self._lock:
            waiting = self._waiting.pop(user_id)
            left = [each for each in waiting if offsets.get(str(each[0]), 0) <= each[1]]
            self.latencies += [now - each[2] for each in waiting if each not in left]
            if left:
                self._waiting[user_id] = left


def watch(store: MongoStore, pending: Pending, stop: threading.Event) -> None:
    """Ask the store for the lists of whoever waits, a hundred times a second."""
    while not stop.is_set():
        for user_id in pending.users():
            found = store.recommendations(user_id)
            pending.has_list(user_id, {} if found is None else found.freshness.offsets)
        time.sleep(0.01)


def send(settings: Settings, messages: Iterator[sources.Message], rate: float) -> Pending:
    """Send the messages at a rate, and wait until every one is in a list."""
    pending, stop = Pending(), threading.Event()
    uri = ensure_mongo(settings, err.print)
    with open_store(uri, settings.mongo_database) as store:
        watcher = threading.Thread(target=watch, args=(store, pending, stop))
        watcher.start()
        n_sent = _send_all(settings, messages, rate, pending)
        deadline = time.monotonic() + PATIENCE_S
        while len(pending.latencies) < n_sent and time.monotonic() < deadline:
            time.sleep(0.1)
        stop.set()
        watcher.join()
    assert len(pending.latencies) == n_sent, f"{n_sent - len(pending.latencies)} lists are missing"
    return pending


def _send_all(
    settings: Settings, messages: Iterator[sources.Message], rate: float, pending: Pending
) -> int:
    producer = KafkaProducer(bootstrap_servers=ensure_kafka(settings, err.print), acks="all")
    started, n_sent = time.monotonic(), 0
    for message in messages:
        time.sleep(max(0.0, started + n_sent / rate - time.monotonic()))
        key, value = sources.encode(message)
        future = producer.send(settings.topic, key=key, value=value)
        future.add_callback(pending.acknowledged, key.decode())
        n_sent += 1
    producer.flush()
    producer.close()
    return n_sent


@contextmanager
def live_process(settings: Settings) -> Iterator[None]:
    """Run `recgraph live` on the data folder."""
    command = [sys.executable, "-m", "recgraph.cli", "live"]
    variables = {"RECGRAPH_DATA_DIR": str(settings.data_dir)}
    with (settings.data_dir / "live.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
        try:
            while not any(each.next_offsets for each in read_statuses(settings.live_status_dir)):
                assert process.poll() is None, (settings.data_dir / "live.log").read_text()
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait()


def make_up(settings: Settings) -> None:
    """Publish a generation that nobody trained, and make the topic."""
    folder = write_sample_generation(settings.generations_dir, **MADE_UP, n_factors=64, k=10)
    uri = ensure_mongo(settings, err.print)
    with open_store(uri, settings.mongo_database) as store:
        publish(store, folder, keep=3)
    bootstrap = ensure_kafka(settings, err.print)
    kafka.ensure_topic(bootstrap, settings.topic, n_partitions=settings.topic_partitions)


def made_up_sales() -> Iterator[sources.Message]:
    """Sales to the users of the made-up generation, the first items more often."""
    rng = np.random.default_rng(5)
    for number in count():
        yield {
            "event_id": f"made-up-{number}",
            "user_id": f"u{rng.integers(8, MADE_UP['n_users'])}",
            "product_id": str(1000 + int(rng.random() ** 3 * (MADE_UP["n_items"] - 8)) + 8),
            "quantity": 1,
            "occurred_at": datetime.now(UTC).isoformat(),
        }


def next_sales(n_events: int) -> Iterator[sources.Message]:
    """The sales that come after those that the generation has seen."""
    messages = sources.read_messages(sources.COMPLETE_JOURNEY, sources.ColumnNames())
    return islice(messages, n_events, None)


def measure(
    settings: Settings, later: Iterator[sources.Message], n: int, rate: float
) -> dict[str, Any]:
    with live_process(settings):
        send(settings, islice(later, int(rate)), rate)  # the first lists find cold caches
        load = os.getloadavg()[0]
        pending = send(settings, islice(later, n), rate)
        (status,) = read_statuses(settings.live_status_dir)
    at = [50, 95, 99, 100]
    p50, p95, p99, worst = (np.percentile(pending.latencies, at) * 1000).tolist()
    return {
        "events": n,
        "rate": rate,
        "p50_ms": round(p50, 1),
        "p95_ms": round(p95, 1),
        "p99_ms": round(p99, 1),
        "worst_ms": round(worst, 1),
        "lists": status.lists,
        "load_average": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def main(
    n_events: Annotated[int, typer.Option(help="Sales that the generation has seen.")] = 200_000,
    n: Annotated[int, typer.Option(help="Sales that are measured.")] = 2_000,
    rate: Annotated[float, typer.Option(help="Sales a second.")] = 50.0,
    data_dir: Annotated[Path | None, typer.Option(help="Kept, and used again.")] = None,
    made_up: Annotated[bool, typer.Option("--made-up", help="Train nothing.")] = False,
) -> None:
    """Print the percentiles of the time from acknowledgement to a readable list."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=data_dir or folder, exports_dir=Path(folder) / "exports")
        with demo._services(settings) as stages:
            if made_up:
                make_up(settings)
            elif not generations.list_generations(settings.generations_dir):
                demo.make(settings, stages, n_events=n_events)
            later = made_up_sales() if made_up else next_sales(n_events)
            typer.echo(msgspec.json.encode(measure(settings, later, n, rate)))


if __name__ == "__main__":
    typer.run(main)
