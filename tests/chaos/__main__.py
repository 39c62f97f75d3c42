"""Kill everything at random while sales arrive, and count: ``python -m tests.chaos --help``.

A producer sends events with 1 % duplicates and 1 % rubbish to an embedded broker while the ingest
driver, the broker and the MongoDB server are killed with -9 again and again, each restarted at
once. At the end: produced = accepted (distinct) + rejected (distinct), to the event; else exit 1.
"""

import itertools
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
import typer
from kafka import KafkaProducer

from recgraph.config import Settings, load_settings
from recgraph.errors import ServiceError
from recgraph.jars import spark_jars
from recgraph.services import embedded, kafka, processes
from recgraph.spark import events as spark_events
from recgraph.spark.events import Tables
from recgraph.spark.session import open_session

Message = tuple[bytes, bytes]


def messages(n_events: int, seed: int) -> Iterator[Message]:
    """Each event once, with 1 % sent again and as many that are rubbish in between."""
    rng = random.Random(seed)
    for number in range(n_events):
        event = {
            "event_id": f"e{number}",
            "user_id": f"u{rng.randrange(500)}",
            "product_id": f"p{rng.randrange(2000)}",
            "quantity": 1,
            "occurred_at": "2020-01-01T00:00:00Z",
        }
        message = (event["user_id"].encode(), msgspec.json.encode(event))  # type: ignore[union-attr]
        yield message
        if number % 100 == 50:
            yield message
        if number % 100 == 99:
            yield (b"rubbish", f"rubbish {number}".encode())


def produce(settings: Settings, bootstrap: str, n_events: int, rate: float, seed: int) -> None:
    """Send all messages, waiting out a broker that is down; each is acknowledged in the end."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, delivery_timeout_ms=600_000, max_block_ms=600_000
    )
    started, futures = time.monotonic(), []
    for number, (key, value) in enumerate(messages(n_events, seed)):
        while number / rate > time.monotonic() - started:
            time.sleep(0.01)
        futures.append(producer.send(settings.topic, key=key, value=value))
    for future in futures:
        future.get(timeout=600)
    producer.close()


def start_ingest(settings: Settings, bootstrap: str) -> subprocess.Popen[bytes]:
    """`recgraph ingest` in a process of its own."""
    variables = {
        "RECGRAPH_DATA_DIR": str(settings.data_dir),
        "RECGRAPH_KAFKA_BOOTSTRAP": bootstrap,
        "RECGRAPH_DRIVER_MEMORY": "1g",
        "RECGRAPH_BATCH_SECONDS": "1",
    }
    log = (settings.data_dir / "ingest.log").open("ab")
    command = [sys.executable, "-m", "recgraph.cli", "ingest"]
    return subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)


def kill(process: psutil.Process | None) -> None:
    """Kill with -9; what is dead already stays dead."""
    if process is not None and process.is_running():
        process.kill()
        process.wait(30)


class Chaos:
    """The processes under fire; every kill is followed by a restart."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bootstrap = embedded.ensure_kafka(settings)
        embedded.ensure_mongo(settings)
        self.ingest = start_ingest(settings, self.bootstrap)
        self.kills = {"ingest": 0, "broker": 0, "mongodb": 0}

    def strike(self, victim: str) -> None:
        """Kill one of them and start it again."""
        self.kills[victim] += 1
        typer.echo(f"{time.strftime('%X')} kill -9 {victim}", err=True)
        if victim == "ingest":
            kill(psutil.Process(self.ingest.pid))
            self.ingest.wait()
        elif victim == "broker":
            kill(processes.running(embedded.kafka_service(self.settings)))
        else:
            kill(processes.running(embedded.mongo_service(self.settings)))
        self.restart()

    def restart(self) -> None:
        """Start whatever is down, an ingest that gave up on a dead broker included."""
        embedded.ensure_mongo(self.settings)
        if embedded.ensure_kafka(self.settings) != self.bootstrap:
            message = "the broker came back on another port"
            raise ServiceError(message)
        if self.ingest.poll() is not None:
            self.ingest = start_ingest(self.settings, self.bootstrap)

    def stop(self) -> None:
        """End the ingest; the services go with the folder."""
        self.ingest.terminate()
        self.ingest.wait(120)


def count(settings: Settings) -> tuple[int, int, int]:
    """Rows of the event table, distinct events, distinct rejected messages."""
    tables = Tables(settings.events_dir, settings.rejected_dir)
    with open_session(settings, spark_jars(settings)) as spark:
        events = spark_events.read_events(spark, tables)
        distinct = events.select("event_id").distinct().count()
        return events.count(), distinct, spark_events.read_rejected(spark, tables).count()


def wait_until_all_is_in(chaos: Chaos, topic_id: str, timeout_s: float) -> None:
    """Wait until the tables have grown no more for a while."""
    deadline, last, quiet = time.monotonic() + timeout_s, -1, 0
    while quiet < 15 and time.monotonic() < deadline:
        chaos.restart()
        now = len(list(chaos.settings.events_dir.glob("_delta_log/*.json")))
        quiet, last = (quiet + 1, last) if now == last else (0, now)
        time.sleep(2)


def main(
    n_events: Annotated[int, typer.Option("--events", help="Events to send.")] = 200_000,
    rate: Annotated[float, typer.Option(help="Messages a second.")] = 1000.0,
    n_kills: Annotated[int, typer.Option("--kills", help="Kills of each process.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 1,
) -> None:
    """Run it, and say whether every event is there exactly once."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), driver_memory="1g")
        bootstrap = embedded.ensure_kafka(settings)
        topic = kafka.ensure_topic(bootstrap, settings.topic, n_partitions=2)
        chaos = Chaos(settings)
        sender = threading.Thread(
            target=produce, args=(settings, bootstrap, n_events, rate, seed), daemon=True
        )
        try:
            sender.start()
            victims = list(itertools.chain.from_iterable([name] * n_kills for name in chaos.kills))
            rng.shuffle(victims)
            seconds = n_events / rate / len(victims)
            for victim in victims:
                time.sleep(rng.uniform(0.5, 1.5) * seconds)
                chaos.strike(victim)
            sender.join()
            wait_until_all_is_in(chaos, topic.id, timeout_s=600)
            chaos.stop()
            rows, accepted, rejected = count(settings)
        finally:
            kill(psutil.Process(chaos.ingest.pid) if chaos.ingest.poll() is None else None)
            embedded.stop_all(settings)
    n_rubbish = n_events // 100
    summary = {
        "kills": chaos.kills,
        "produced": {"events": n_events, "again": n_rubbish, "rubbish": n_rubbish},
        "rows": rows,
        "accepted": accepted,
        "rejected": rejected,
    }
    typer.echo(msgspec.json.encode(summary).decode())
    if (accepted, rejected, rows) != (n_events, n_rubbish, n_events + n_rubbish):
        typer.echo("FAILED: something is lost, or there twice", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
