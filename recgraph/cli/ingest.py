"""`recgraph ingest`: the messages of the topic into the event table; what `recgraph run` shares."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import structlog
import typer
from rich.console import RenderableType
from rich.table import Table

from recgraph.cli.base import AsJson, app, err, report
from recgraph.cli.rejected import ensure_rejected_topic
from recgraph.config import Settings, load_settings
from recgraph.errors import StoreError
from recgraph.stages import Stages
from recgraph.status import Command, Reporter

if TYPE_CHECKING:
    from recgraph.ports import Progress
    from recgraph.services.mongo import MongoStore
    from recgraph.spark.events import BatchCounts

log = structlog.get_logger()

_STORE_AGAIN_S = 30.0
"""A store that does not answer is asked again after this."""

OnPoll = Callable[["Progress", Mapping[str, int]], None]


@app.command(rich_help_panel="Events")
def ingest(
    once: Annotated[
        bool, typer.Option("--once", help="Take in what is there now, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take the topic's messages into the event table, each exactly once.

    Messages that are no sale are kept beside it with the reason. Without --once it goes on until
    Ctrl-C. It may be killed at any moment: the next start goes on where it was. `recgraph status`
    shows how far it is; RECGRAPH_METRICS_PORT=9400 lets Prometheus ask.
    """
    from recgraph import jobs

    settings = load_settings()
    stages = Stages(err.print)
    with jobs.open_spark(settings, stages) as spark:
        summary = run_ingest(spark, settings, stages, once=once)
    report(summary, as_json=as_json, render=render_ingest)


def run_ingest(spark: Any, settings: Settings, stages: Stages, *, once: bool) -> dict[str, Any]:
    """Ingest with a line a batch, and what `recgraph ingest --json` says."""
    with (
        stages("ingest", f"taking in {settings.topic}"),
        stop_signal() as stop,
        open_job(settings, "ingest") as job,
    ):
        progress = job.take_in(spark, once=once, stop=stop, on_poll=job.on_poll)
        if once and stop.is_set():
            raise KeyboardInterrupt  # what follows must not take this for all there was
    return intake_summary(job.reporter, progress) | {"seconds": stages.seconds}


def intake_summary(reporter: Reporter, progress: "Progress | None") -> dict[str, Any]:
    """What was taken in, by this process and in all."""
    taken = reporter.status.intake
    return {
        "accepted": taken.accepted,
        "rejected": sum(taken.rejected.values()),
        "reasons": taken.rejected,
        "accepted_in_all": taken.accepted_in_all,
        "rejected_in_all": taken.rejected_in_all,
        "last_occurred_at": progress.last_occurred_at if progress else None,
    }


class IngestJob(NamedTuple):
    """What a process that takes events in keeps up to date while it does so."""

    settings: Settings
    reporter: Reporter
    observe: Callable[[float], None]
    """Given the seconds of a batch, for Prometheus."""
    write: "Callable[[Progress], None]"
    """Given how far ingest has come, for the dashboard."""

    def take_in(
        self, spark: Any, *, once: bool, stop: threading.Event, on_poll: OnPoll
    ) -> "Progress":
        """Run the stream; return how far that has come."""
        from recgraph.jobs import ingesting
        from recgraph.services import kafka
        from recgraph.services.embedded import ensure_kafka

        bootstrap = ensure_kafka(self.settings, err.print)
        extent = kafka.read_extent(bootstrap, self.settings.topic)
        self.reporter.reads(extent.topic_id)
        return ingesting.ingest(
            spark,
            self.settings,
            bootstrap=bootstrap,
            extent=extent,
            rejected_topic=ensure_rejected_topic(self.settings, bootstrap),
            once=once,
            stop=stop,
            on_progress=self.on_batch,
            on_poll=on_poll,
        )

    def on_batch(self, batch: "BatchCounts", progress: "Progress") -> None:
        """Count a batch that is in, and log it."""
        self.reporter.took(batch.accepted, batch.rejected, batch.seconds, progress)
        self.observe(batch.seconds)
        log.info(
            "batch",
            batch_id=batch.batch_id,
            accepted=batch.accepted,
            rejected=batch.rejected,
            seconds=round(batch.seconds, 3),
            accepted_in_all=progress.accepted,
        )

    def on_poll(self, progress: "Progress", next_offsets: Mapping[str, int]) -> None:
        """Pass on the news."""
        self.reporter.holds(progress)
        self.reporter.poll(next_offsets)
        self.write(progress)


@contextmanager
def open_job(settings: Settings, command: Command) -> Iterator[IngestJob]:
    """Give the status file, the metrics and the line to the dashboard; they end with the block."""
    from recgraph.services.metrics import open_metrics

    reporter = Reporter(settings.status_path, command, settings.topic)
    with open_metrics(settings, reporter.status) as observe, progress_writer(settings) as write:
        try:
            yield IngestJob(settings, reporter, observe, write)
        finally:
            reporter.end()


@contextmanager
def progress_writer(settings: Settings) -> "Iterator[Callable[[Progress], None]]":
    """A function that tells the dashboard how far ingest has come.

    Ingest does not need MongoDB: without a server nobody is told, and one that does not answer is
    logged and asked again later.
    """
    with ExitStack() as stack:
        yield _ProgressWriter(settings, stack)


class _ProgressWriter:
    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._store: MongoStore | None = None
        self._written: Progress | None = None
        self._not_before = 0.0

    def __call__(self, progress: "Progress") -> None:
        if progress == self._written or time.monotonic() < self._not_before:
            return
        try:
            self._store = self._store or self._open()
            if self._store is not None:
                self._store.write_progress(progress)
                self._written = progress
                return
        except StoreError as error:
            log.warning("the dashboard is not told of what comes in", cause=str(error))
        self._not_before = time.monotonic() + _STORE_AGAIN_S

    def _open(self) -> "MongoStore | None":
        from recgraph.services.embedded import find_mongo
        from recgraph.services.mongo import open_store

        uri = find_mongo(self._settings)
        if uri is None:
            return None
        return self._stack.enter_context(open_store(uri, self._settings.mongo_database))


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a batch ends before the process does."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def render_ingest(summary: Mapping[str, Any]) -> RenderableType:
    """A table of what was taken in."""
    table = Table("", "accepted", "rejected")
    table.add_row("now", f"{summary['accepted']:,}", f"{summary['rejected']:,}")
    in_all = (summary["accepted_in_all"], summary["rejected_in_all"])
    table.add_row("in all", *("?" if count is None else f"{count:,}" for count in in_all))
    return table
