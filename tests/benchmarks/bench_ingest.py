"""Ingest against the bare reading of the same topic by the same Spark, in one run; prints a ratio.

``python -m tests.benchmarks.bench_ingest [N_EVENTS]`` (500,000 by default). It starts an embedded
broker of its own, fills a topic, reads it to nowhere, and takes it in: parsing, two Delta tables,
the counts after each batch.
"""

import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

import typer
from pyspark.sql import SparkSession

from recgraph import jobs, sources
from recgraph.config import Settings, load_settings
from recgraph.jobs import ingesting
from recgraph.services import embedded, kafka
from recgraph.stages import Stages


def read_to_nowhere(spark: SparkSession, bootstrap: str, topic: str) -> float:
    """Seconds that Spark's Kafka source takes for the whole topic."""
    options = {"kafka.bootstrap.servers": bootstrap, "subscribe": topic}
    started = time.perf_counter()
    frame = spark.read.format("kafka").options(**options).load()
    frame.select("value").write.format("noop").mode("overwrite").save()
    return time.perf_counter() - started


def take_in(spark: SparkSession, settings: Settings, bootstrap: str, topic_id: str) -> float:
    """Seconds that ingest takes for the whole topic."""
    started = time.perf_counter()
    ingesting.ingest(
        spark,
        settings,
        bootstrap=bootstrap,
        topic_id=topic_id,
        partitions=kafka.read_extent(bootstrap, settings.topic).ends,
        once=True,
        stop=threading.Event(),
    )
    return time.perf_counter() - started


def main(n_events: int) -> None:
    """Run both."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), driver_memory="4g")
        bootstrap = embedded.ensure_kafka(settings)
        try:
            topic = kafka.ensure_topic(bootstrap, settings.topic, n_partitions=2)
            messages = sources.read_messages(sources.COMPLETE_JOURNEY, sources.ColumnNames())
            encoded = map(sources.encode, islice(messages, n_events))
            delivery = kafka.produce(bootstrap, settings.topic, encoded)
            typer.echo(f"produce: {delivery.rate:,.0f} messages/s")
            with jobs.open_spark(settings, Stages()) as spark:
                read_to_nowhere(spark, bootstrap, settings.topic)  # the first read warms up
                bare = read_to_nowhere(spark, bootstrap, settings.topic)
                taken = take_in(spark, settings, bootstrap, topic.id)
        finally:
            embedded.stop_all(settings)
    rates = (f"{n_events / each:,.0f} messages/s" for each in (taken, bare))
    typer.echo("ingest {}, bare read {}, ratio {:.2f}".format(*rates, bare / taken))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
