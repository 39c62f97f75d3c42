"""`recgraph run`: ingest without a break, and a training each time enough has come in."""

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog

from recgraph.cli.base import AsJson, app, err, report
from recgraph.cli.ingest import IngestJob, intake_summary, open_job, render_ingest, stop_signal
from recgraph.config import Settings, load_settings
from recgraph.errors import ServiceError
from recgraph.stages import Stages
from recgraph.supervisor import Supervisor, backoff_s

if TYPE_CHECKING:
    from recgraph.ports import Progress

log = structlog.get_logger()

_POLL_S = 0.5
_COUNT_EVERY_S = 60.0
"""The event table is counted this often beside the batches: `recgraph import` fills it, too."""


@app.command(rich_help_panel="Events")
def run(as_json: AsJson = False) -> None:
    """Ingest for days, train each time enough has come in, and publish what is good.

    A training starts in a process of its own when RECGRAPH_TRAIN_AFTER_EVENTS new events are in,
    or after RECGRAPH_TRAIN_AFTER_MINUTES when there is any; one at a time. One that fails or is
    killed leaves ingest and the current generation as they are and is tried again later. Ctrl-C
    or SIGTERM ends it within seconds; the next start goes on where it was.

      RECGRAPH_TRAIN_AFTER_EVENTS=10000 RECGRAPH_METRICS_PORT=9400 recgraph run
    """
    from recgraph import jobs

    settings = load_settings()
    stages = Stages(err.print)
    with stop_signal() as stop, open_job(settings, "run") as job:
        with jobs.open_spark(settings, stages) as spark:
            runner = _Runner(spark, settings, job, stop)
            with stages("run", f"taking in {settings.topic}"):
                runner.run()
        summary = intake_summary(job.reporter, runner.progress)
        training = job.reporter.status.training
    summary |= {"training": training, "seconds": stages.seconds}
    report(summary, as_json=as_json, render=render_ingest)


class _Runner:
    """The stream and the supervisor, which is polled on the thread that waits for the stream."""

    def __init__(
        self, spark: Any, settings: Settings, job: IngestJob, stop: threading.Event
    ) -> None:
        self._spark = spark
        self._settings = settings
        self._job = job
        self._stop = stop
        self._supervisor: Supervisor | None = None
        self._n_rows = 0
        self._count_at_s = 0.0
        self.progress: Progress | None = None

    def run(self) -> None:
        """Ingest until it is to stop; a stream that breaks is started again after a while.

        Raises
        ------
        ServiceError
            It could not be started at all.
        """
        tries = 0
        try:
            while not self._stop.is_set():
                tries = self._take_in(tries)
        finally:
            if self._supervisor is not None:
                self._supervisor.stop()
                self._report(self._supervisor)

    def _take_in(self, tries: int) -> int:
        """Run the stream; when it breaks, wait. Return how often it broke without a batch."""
        intake = self._job.reporter.status.intake
        n_batches = intake.batches
        try:
            self._job.take_in(self._spark, once=False, stop=self._stop, on_poll=self._on_poll)
        except ServiceError as error:
            if self._supervisor is None:
                raise
            tries = 1 if intake.batches > n_batches else tries + 1
            self._wait(backoff_s(tries), str(error))
        return tries

    def _on_poll(self, progress: "Progress", next_offsets: Mapping[str, int]) -> None:
        self.progress = progress
        # Not before the stream runs: only then is it sure that no other process does the same.
        if self._supervisor is None:
            before = self._job.reporter.status.training
            self._supervisor = Supervisor(self._settings, before)
        if self._stop.is_set():
            self._supervisor.stop()
        else:
            self._supervisor.poll(max(progress.accepted, self._count()))
        self._report(self._supervisor)
        self._job.on_poll(progress, next_offsets)

    def _count(self) -> int:
        """Rows of the event table, counted now and then."""
        from recgraph import tables

        if time.monotonic() >= self._count_at_s:
            self._count_at_s = time.monotonic() + _COUNT_EVERY_S
            self._n_rows = tables.count_rows(self._settings.events_dir)
        return self._n_rows

    def _report(self, supervisor: Supervisor) -> None:
        self._job.reporter.trains(supervisor.training, supervisor.n_waiting)

    def _wait(self, wait_s: float, problem: str) -> None:
        """Wait before the next try; what trains goes on."""
        log.error("nothing is taken in", cause=problem, retry_in_s=wait_s)
        self._job.reporter.status.intake.problem = problem
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and not self._stop.wait(_POLL_S):
            assert self.progress is not None  # the stream ran before it broke
            self._on_poll(self.progress, {})
