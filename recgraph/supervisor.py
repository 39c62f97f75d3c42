"""When to train, and the training: events waiting, minutes passed -> processes, one at a time.

A round is three commands, each in a process of its own: train, publish, remove what is old. What
happens to such a process happens to nobody else: one that fails, is killed, hangs or runs out of
memory is started again after a while, from the command that failed.

Waits and limits go by a clock that never steps; the system's clock only dates what is written.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import psutil
import structlog

from recgraph import generations
from recgraph.config import Settings
from recgraph.errors import GenerationError
from recgraph.generations import Manifest
from recgraph.machine import end_process
from recgraph.status import Outcome, Step, Training, process_of

log = structlog.get_logger()

PROGRAM = (sys.executable, "-m", "recgraph.cli")
_FIRST_WAIT_S = 5.0
_LONGEST_WAIT_S = 600.0
_STOP_TIMEOUT_S = 5.0
_LOG_BYTES = 5_000_000
"""A log larger than this is set aside when a process is started."""
_LONGEST_REASON = 500
_NEXT: dict[Step, Step] = {"train": "publish", "publish": "prune"}


class Baseline(NamedTuple):
    """The last training: how many rows of the event table it saw, and when it was."""

    n_rows: int
    at_s: float
    """On the supervisor's clock, which never steps."""
    generation: str | None = None


class _Result(msgspec.Struct):
    """What is read of what `recgraph train --json` prints."""

    generation: str


def is_due(n_waiting: int, waited_s: float, settings: Settings) -> bool:
    """Whether it is time to train, by events waiting or by seconds since the last training."""
    if n_waiting >= settings.train_after_events:
        return True
    return n_waiting > 0 and waited_s >= settings.train_after_minutes * 60


def backoff_s(tries: int) -> float:
    """Seconds to wait after so many failures in a row: 5, 10, 20, at most 600."""
    return min(_FIRST_WAIT_S * 2.0 ** min(tries - 1, 20), _LONGEST_WAIT_S)


class Supervisor:
    """Starts a training when it is due, and sees it through.

    Parameters
    ----------
    settings
        Thresholds and folders; the processes read the same settings again.
    before
        The last training that an earlier process told of. What still runs of it is ended; a
        generation that it completed and did not publish is published.
    program
        The command line that `train --json` and the others are appended to.
    clock
        Seconds, never going backwards.
    """

    def __init__(
        self,
        settings: Settings,
        before: Training | None = None,
        *,
        program: Sequence[str] = PROGRAM,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._program = program
        self._clock = clock
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at_s = clock()
        self._retry_at_s: float | None = None
        self._output = settings.status_path.with_name("training.json")
        self._log = settings.data_dir / "logs" / "training.log"
        self._baseline = self._read_baseline() or Baseline(0, clock())
        self.training = before
        self.n_waiting = 0
        if before is not None and before.outcome not in {"published", "rejected"}:
            self._take_over(before)

    def poll(self, n_rows: int) -> None:
        """Look at what runs and start what is due; returns at once, and says what is wrong.

        Parameters
        ----------
        n_rows
            Rows of the event table.
        """
        self.n_waiting = max(0, n_rows - self._baseline.n_rows)
        try:
            self._advance(n_rows)
        except (GenerationError, msgspec.DecodeError, OSError) as error:
            self._fail(str(error))

    def stop(self) -> None:
        """End what runs; a later process goes on where that is possible."""
        self._end_child()
        if self._round_is_open:
            self._retry_at_s = None
            self._finish("stopped", "recgraph run was stopped")

    def _advance(self, n_rows: int) -> None:
        if self._child is not None:
            code = self._child.poll()
            if code is not None:
                self._child = None
                self._go_on(code)
            elif self._clock() - self._started_at_s >= self._settings.train_timeout_minutes * 60:
                self._end_child()
                self._fail(self._too_long())
        elif self._retry_at_s is not None:
            if self._clock() >= self._retry_at_s:
                self._try_again()
        elif self._is_due():
            self._notice_trainings_by_hand(n_rows)
            if self._is_due():
                self._begin()

    # --- a round ----------------------------------------------------------------------------------

    @property
    def _round_is_open(self) -> bool:
        return self.training is not None and self.training.outcome in {"running", "failed"}

    @property
    def _round(self) -> Training:
        assert self.training is not None  # only asked for once one has begun
        return self.training

    def _is_due(self) -> bool:
        return is_due(self.n_waiting, self._clock() - self._baseline.at_s, self._settings)

    def _begin(self) -> None:
        self.training = Training(datetime.now(UTC))
        self._baseline = self._baseline._replace(at_s=self._clock())
        log.info("training begins", waiting=self.n_waiting)
        self._start("train")

    def _start(self, step: Step) -> None:
        self._retry_at_s = None
        self._change(step=step, outcome="running", next_try_at=None)
        arguments = {
            "train": ["train"],
            "publish": ["publish", str(self._round.generation)],
            "prune": ["generations", "prune"],
        }[step]
        self._child = self._spawn([*self._program, *arguments, "--json"])
        self._started_at_s = self._clock()
        self._change(process=process_of(self._child.pid))

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        """Start a process in a session of its own: Ctrl-C is for the one that supervises it."""
        for path in (self._log, self._output):
            path.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as stderr, self._output.open("wb") as stdout:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def _end_child(self) -> None:
        if self._child is not None:
            end_process(psutil.Process(self._child.pid), _STOP_TIMEOUT_S)
            self._child.wait()
            self._child = None

    def _too_long(self) -> str:
        minutes = self._settings.train_timeout_minutes
        return (
            f"{self._round.step} was ended after {minutes:g} minutes. If it does not hang but is "
            "large, raise RECGRAPH_TRAIN_TIMEOUT_MINUTES."
        )

    def _go_on(self, code: int) -> None:
        """Start what comes after a process that has ended."""
        step = self._round.step
        if code != 0:
            self._fail(self._explain(code))
        elif step == "train":
            printed = msgspec.json.decode(self._output.read_bytes(), type=_Result)
            self._take_up(printed.generation)
        elif step in _NEXT:
            self._start(_NEXT[step])
        else:
            manifest = self._manifest(str(self._round.generation))
            is_rejected = manifest.status == "rejected"
            self._finish("rejected" if is_rejected else "published", manifest.reason)

    def _take_up(self, generation_id: str) -> None:
        """Publish a generation that is good; of one that was rejected only older ones go."""
        manifest = self._manifest(generation_id)
        self._baseline = self._baseline._replace(
            n_rows=_rows_seen(manifest), generation=generation_id
        )
        self._change(generation=generation_id)
        self._start("prune" if manifest.status == "rejected" else "publish")

    def _manifest(self, generation_id: str) -> Manifest:
        return generations.read_manifest(self._settings.generations_dir / generation_id)

    def _fail(self, reason: str) -> None:
        """Plan another try."""
        self.training = self.training or Training(datetime.now(UTC))
        step, tries = self._round.step, self._round.tries
        wait_s = backoff_s(tries)
        self._retry_at_s = self._clock() + wait_s
        next_try_at = datetime.now(UTC) + timedelta(seconds=wait_s)
        self._change(outcome="failed", reason=reason, next_try_at=next_try_at, process=None)
        log.warning("training failed", step=step, tries=tries, reason=reason, retry_in_s=wait_s)

    def _try_again(self) -> None:
        """Start the step that failed again, or a whole new round when that is due by now."""
        if self._round.step != "train" and self._is_due():
            self._begin()
        else:
            self._change(tries=self._round.tries + 1)
            self._start(self._round.step)

    def _finish(self, outcome: Outcome, reason: str | None) -> None:
        ended_at = datetime.now(UTC)
        self._change(outcome=outcome, reason=reason, ended_at=ended_at, process=None)
        seconds = round((ended_at - self._round.started_at).total_seconds(), 1)
        generation = self._round.generation
        log.info("training ended", generation=generation, outcome=outcome, seconds=seconds)

    def _change(self, **changes: object) -> None:
        self.training = msgspec.structs.replace(self._round, **changes)

    def _explain(self, code: int) -> str:
        """Say why a process failed: the signal that killed it, or the last line of its log."""
        if code < 0:
            return f"{self._round.step} was killed by {signal.Signals(-code).name}"
        with self._log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 8_192))
            lines = file.read().decode(errors="replace").splitlines()
        # What is indented is a trace: where it happened, not what.
        telling = [line for line in lines if line.strip() and not line[0].isspace()]
        return telling[-1][:_LONGEST_REASON] if telling else f"exit code {code}"

    # --- what was before --------------------------------------------------------------------------

    def _take_over(self, before: Training) -> None:
        """Go on with the round of a process that was stopped or killed."""
        left = before.process.find() if before.process else None
        if left is not None:
            log.warning("ending a training that an earlier run has left", pid=left.pid)
            end_process(left, _STOP_TIMEOUT_S)
        generation = before.generation
        if generation is None and before.outcome == "running":
            generation = self._completed_since(before.started_at)
        if generation is None:
            self._change(outcome="stopped", process=None, next_try_at=None)
        else:
            step: Step = "publish" if before.step == "train" else before.step
            self._change(generation=generation, step=step, outcome="failed", process=None)
            self._retry_at_s = self._clock()

    def _completed_since(self, moment: datetime) -> str | None:
        newest = self._newest()
        if newest is None or newest.status == "rejected" or newest.created_at < moment:
            return None
        return newest.id

    def _notice_trainings_by_hand(self, n_rows: int) -> None:
        newest = self._read_baseline()
        if newest is not None and newest.generation != self._baseline.generation:
            self._baseline = newest
            self.n_waiting = max(0, n_rows - newest.n_rows)

    def _read_baseline(self) -> Baseline | None:
        """Return what the newest generation on disk, complete or rejected, has seen."""
        newest = self._newest()
        if newest is None:
            return None
        age_s = max(0.0, (datetime.now(UTC) - newest.created_at).total_seconds())
        return Baseline(_rows_seen(newest), self._clock() - age_s, newest.id)

    def _newest(self) -> Manifest | None:
        return next(iter(generations.list_generations(self._settings.generations_dir)), None)


def _rows_seen(manifest: Manifest) -> int:
    return manifest.counts.events + manifest.counts.duplicates
