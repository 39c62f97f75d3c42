"""Ingest against Kafka's own ConsumerPerformance on the same topic, in one run; prints the ratio.

``python -m tests.benchmarks.bench_ingest [N_EVENTS ...]`` (0.1, 0.5, 1 and 5 million by default).
It starts an embedded broker of its own and fills a topic for each number of events. Each is taken
in: parsing, two Delta tables, the counts after each batch. The largest is read by
ConsumerPerformance, which does nothing with what it reads, before and after.

Beside the rates stands the CPU time of a message, of all cores and without the broker's: on a
machine that others use it says more. The start is reported apart: what ingest takes for a topic of
one message, in a session that has ingested before. ``steady`` is what the stream does from the
end of its first batch to that of its last.
"""

import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import psutil
import typer
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from recgraph import jobs
from recgraph.columns import Columns as C
from recgraph.config import Settings, load_settings
from recgraph.jars import benchmark_jars
from recgraph.jobs import ingesting
from recgraph.machine import find_java
from recgraph.ports import Progress
from recgraph.services import embedded, kafka
from recgraph.spark.events import BatchCounts
from recgraph.stages import Stages

SIZES = (100_000, 500_000, 1_000_000, 5_000_000)
_N_STARTS = 5
"""The middle one of so many is taken: beside 100,000 messages a start weighs as much as they do."""
_N_USERS, _N_ITEMS = 50_000, 90_000
_YEAR_S = 31_000_000


class Run(NamedTuple):
    """One ingest of a whole topic."""

    accepted: int
    seconds: float
    steady: float
    """Events a second between the end of the first batch and that of the last; nan with one."""
    cpu_s: float
    """CPU time of this process, Spark's JVM and its Python workers."""


class Read(NamedTuple):
    """One reading by ConsumerPerformance."""

    rate: float
    """Its ``nMsg.sec``: messages a second, its own start included."""
    cpu_s: float


def sale_events(spark: SparkSession, n_events: int) -> DataFrame:
    """Messages of distinct sales, as long as those of Complete Journey; few users buy most."""
    item = F.floor(_long_tail(1) * _N_ITEMS + 10**6).cast("string")
    time_of = F.timestamp_seconds(F.lit(1_483_228_800) + F.floor(F.rand(2) * _YEAR_S))
    fields = {
        C.EVENT_ID: F.concat_ws("-", F.col("id") + 10**10, item),
        C.USER_ID: F.floor(_long_tail(3) * _N_USERS).cast("string"),
        C.PRODUCT_ID: item,
        C.QUANTITY: 1 + F.floor(F.rand(4) * 4),
        C.OCCURRED_AT: F.date_format(time_of, "yyyy-MM-dd'T'HH:mm:ss'Z'"),
    }
    event = F.struct(*[column.alias(name) for name, column in fields.items()]).alias("event")
    events = spark.range(n_events, numPartitions=2).select(event)
    return events.select(F.col("event.user_id").alias("key"), F.to_json("event").alias("value"))


def _long_tail(seed: int) -> Column:
    return F.pow(F.rand(seed), 3)


def fill_topic(spark: SparkSession, settings: Settings, bootstrap: str, n_events: int) -> None:
    """Make the topic and produce so many events to it; Spark is the fastest producer here."""
    kafka.ensure_topic(bootstrap, settings.topic, n_partitions=2)
    options = {
        "kafka.bootstrap.servers": bootstrap,
        "topic": settings.topic,
        "kafka.linger.ms": "20",
        "kafka.batch.size": str(256 * 1024),
    }
    sale_events(spark, n_events).write.format("kafka").options(**options).save()


def consumer_performance(settings: Settings, bootstrap: str, n_events: int) -> Read:
    """What Kafka's own benchmark of reading says of the topic."""
    folders = {str(path.parent / "*") for path in benchmark_jars(settings)}
    command = [
        *(str(find_java()), "-Xmx512m", "-cp", ":".join(folders)),
        "org.apache.kafka.tools.ConsumerPerformance",
        *("--bootstrap-server", bootstrap, "--topic", settings.topic),
        *("--num-records", str(n_events)),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    header, values = (line.split(",") for line in done.stdout.strip().splitlines()[-2:])
    row = {name.strip(): value.strip() for name, value in zip(header, values, strict=True)}
    if int(row["data.consumed.in.nMsg"]) < n_events:
        typer.echo(done.stdout, err=True)
        raise typer.Exit(1)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Read(float(row["nMsg.sec"]), cpu_s)


def spark_cpu_s(settings: Settings) -> float:
    """CPU time so far of this process and all below it but the broker."""
    brokers = {state.pid for state in embedded.service_states(settings)}
    total = 0.0
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            if process.pid not in brokers:
                times = process.cpu_times()
                total += times.user + times.system
    return total


def take_in(spark: SparkSession, settings: Settings, bootstrap: str) -> Run:
    """Ingest the whole topic into tables of its own."""
    ends: list[float] = []
    taken: list[int] = []

    def on_progress(batch: BatchCounts, progress: Progress) -> None:
        ends.append(time.perf_counter())
        taken.append(batch.accepted)

    extent = kafka.read_extent(bootstrap, settings.topic)
    started, cpu_s = time.perf_counter(), spark_cpu_s(settings)
    progress = ingesting.ingest(
        spark,
        settings.model_copy(update={"data_dir": settings.data_dir / settings.topic}),
        bootstrap=bootstrap,
        extent=extent,
        once=True,
        stop=threading.Event(),
        on_progress=on_progress,
    )
    seconds = time.perf_counter() - started
    steady = sum(taken[1:]) / (ends[-1] - ends[0]) if len(ends) > 1 else float("nan")
    return Run(progress.accepted, seconds, steady, spark_cpu_s(settings) - cpu_s)


def main(sizes: tuple[int, ...]) -> None:
    """Fill the topics, read and ingest them, print the rates."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), driver_memory="4g")
        bootstrap = embedded.ensure_kafka(settings)
        try:
            with jobs.open_spark(settings, Stages()) as spark:
                measure(spark, settings, bootstrap, sizes)
        finally:
            embedded.stop_all(settings)


def measure(
    spark: SparkSession, settings: Settings, bootstrap: str, sizes: tuple[int, ...]
) -> None:
    """Print a line for each size, then the ratio at the largest."""

    def topic(name: str, n_events: int) -> Settings:
        named = settings.model_copy(update={"topic": name})
        fill_topic(spark, named, bootstrap, n_events)
        return named

    take_in(spark, topic("warm", min(sizes)), bootstrap)
    starts = [take_in(spark, topic(f"one-{number}", 1), bootstrap) for number in range(_N_STARTS)]
    start = sorted(starts, key=attrgetter("cpu_s"))[_N_STARTS // 2]
    typer.echo(f"start: {start.seconds:.1f} s ({start.cpu_s:.1f} s of CPU) for one message")
    for n_events in sorted(sizes):
        named = topic(f"of-{n_events}", n_events)
        before = consumer_performance(named, bootstrap, n_events)
        run = take_in(spark, named, bootstrap)
        after = consumer_performance(named, bootstrap, n_events)
        assert run.accepted == n_events, f"{run.accepted} of {n_events} events came in"
        for line in describe(n_events, run, start, [before, after]):
            typer.echo(line)


def describe(n_events: int, run: Run, start: Run, reads: list[Read]) -> Iterator[str]:
    """Lines with the rates and the ratios of one size."""
    rate = n_events / (run.seconds - start.seconds)
    ours_us = 1e6 * (run.cpu_s - start.cpu_s) / n_events
    read_us = 1e6 * mean(read.cpu_s for read in reads) / n_events
    read_rate = mean(read.rate for read in reads)
    yield (
        f"{n_events:,} events: {run.seconds:.1f} s; without the start {1e6 / rate:.1f} us each, "
        f"{rate:,.0f}/s, {ours_us:.1f} us of CPU; steady {run.steady:,.0f}/s"
    )
    yield (
        f"  ConsumerPerformance {' and '.join(f'{read.rate:,.0f}/s' for read in reads)}, "
        f"{read_us:.1f} us of CPU; ratio {rate / read_rate:.2f}, with the start "
        f"{n_events / run.seconds / read_rate:.2f}, steady {run.steady / read_rate:.2f}"
    )


if __name__ == "__main__":
    main(tuple(int(text) for text in sys.argv[1:]) or SIZES)
