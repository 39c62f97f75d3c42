"""What the process that takes events in says of itself -> one small file that all others read.

`recgraph ingest` and `recgraph run` keep a `Status` in memory and replace ``run/status.json`` with
it, as a whole, after each batch and every few seconds. `recgraph status` reads it. The file is
news, no source of truth: events, generations and offsets are kept elsewhere.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import psutil
import structlog

from recgraph.machine import find_process, start_time
from recgraph.ports import Progress

log = structlog.get_logger()

_WRITE_EVERY_S = 5.0
_RATE_WINDOW_S = 60.0

Command = Literal["ingest", "run"]
Step = Literal["train", "publish", "prune"]
Outcome = Literal["running", "published", "rejected", "failed", "stopped"]


class Process(msgspec.Struct, frozen=True):
    """A process, told apart from a later one with the same id."""

    pid: int
    started_at: float
    """Its `recgraph.machine.start_time`, in seconds."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs now."""
        return self.find() is not None

    def find(self) -> psutil.Process | None:
        """Return it while it runs."""
        return find_process(self.pid, self.started_at)


def process_of(pid: int) -> Process:
    """Return the process that has this id now."""
    return Process(pid, start_time(psutil.Process(pid)))


class Training(msgspec.Struct):
    """One round of training, publishing and removing what is old."""

    started_at: datetime
    step: Step = "train"
    outcome: Outcome = "running"
    """``failed``: it is tried again at ``next_try_at``."""
    tries: int = 1
    ended_at: datetime | None = None
    generation: str | None = None
    reason: str | None = None
    """Why the last try failed, or the generation was rejected."""
    next_try_at: datetime | None = None
    process: Process | None = None


class Intake(msgspec.Struct):
    """What was taken in, since the process started and in all."""

    topic: str
    topic_id: str | None = None
    """UUID of the topic; None until the broker was asked."""
    batches: int = 0
    accepted: int = 0
    rejected: dict[str, int] = {}
    """Reason -> messages."""
    events_per_s: float = 0.0
    """Messages a second over the last minute."""
    last_batch_at: datetime | None = None
    last_batch_s: float | None = None
    next_offsets: dict[str, int] = {}
    """Partition -> offset of the first message that is not in yet."""
    accepted_in_all: int | None = None
    rejected_in_all: int | None = None
    problem: str | None = None
    """Why nothing is taken in at the moment."""


class Status(msgspec.Struct):
    """What `ingest` or `run` is doing."""

    command: Command
    process: Process
    since: datetime
    updated_at: datetime
    intake: Intake
    ended_at: datetime | None = None
    metrics_url: str | None = None
    waiting: int | None = None
    """`run` only: events that came in since the last training."""
    training: Training | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.ended_at is None and self.process.is_alive

    @property
    def was_killed(self) -> bool:
        """Whether its process is gone without having said so."""
        return self.ended_at is None and not self.process.is_alive


def read_status(path: Path) -> Status | None:
    """Return what was last said; None when nothing was, or by another version of recgraph."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def lag_by_partition(
    starts: Mapping[str, int], ends: Mapping[str, int], next_offsets: Mapping[str, int]
) -> dict[str, int]:
    """Return partition -> messages on the topic that are not in yet.

    Parameters
    ----------
    starts, ends
        Partition -> its first offset, and the one that its next message will have.
    next_offsets
        Partition -> the first offset that is not in; of a partition that is not named, nothing is.
    """
    return {
        partition: max(0, end - max(next_offsets.get(partition, 0), starts[partition]))
        for partition, end in sorted(ends.items(), key=lambda each: int(each[0]))
    }


class Reporter:
    """Keeps a `Status` up to date, in memory at once and in its file soon after.

    `took` may be called by another thread than `poll`. Values are replaced, never changed in
    place, so that a third thread may read them.
    """

    def __init__(self, path: Path, command: Command, topic: str) -> None:
        now = datetime.now(UTC)
        self._path = path
        self._before = read_status(path)
        self._recent: deque[tuple[float, int]] = deque()
        self._written_at: float | None = None
        self._is_news = True
        self.status = Status(command, process_of(os.getpid()), now, now, Intake(topic))
        if self._before is not None:
            self.status.training = self._before.training

    def reads(self, topic_id: str) -> None:
        """Say which topic is read; how far that had come is taken over from an earlier process."""
        before = self._before and self._before.intake
        self.status.intake.topic_id = topic_id
        if before and before.topic_id == topic_id:
            self.status.intake.next_offsets = before.next_offsets

    def took(
        self, accepted: int, rejected: Mapping[str, int], seconds: float, progress: Progress
    ) -> None:
        """Count a batch."""
        intake = self.status.intake
        intake.batches += 1
        intake.accepted += accepted
        intake.rejected = dict(Counter(intake.rejected) + Counter(rejected))
        intake.last_batch_at = datetime.now(UTC)
        intake.last_batch_s = round(seconds, 3)
        self._recent.append((time.monotonic(), accepted + sum(rejected.values())))
        self.holds(progress)

    def holds(self, progress: Progress) -> None:
        """Say how much the event tables hold."""
        intake, now = self.status.intake, (progress.accepted, progress.rejected)
        self._is_news |= now != (intake.accepted_in_all, intake.rejected_in_all)
        intake.accepted_in_all, intake.rejected_in_all = now

    def trains(self, training: Training | None, n_waiting: int) -> None:
        """Say what the supervisor does."""
        status = self.status
        self._is_news |= (training, n_waiting) != (status.training, status.waiting)
        status.training, status.waiting = training, n_waiting

    def poll(self, next_offsets: Mapping[str, int]) -> None:
        """Say how far the topic is read, and write the file if there is news or it is old."""
        intake, now = self.status.intake, time.monotonic()
        if next_offsets and dict(next_offsets) != intake.next_offsets:
            intake.next_offsets = dict(next_offsets)
            self._is_news = True
        if intake.problem is not None and next_offsets:
            intake.problem = None
        is_old = self._written_at is None or now - self._written_at > _WRITE_EVERY_S
        if self._is_news or is_old:
            self.write()

    def write(self) -> None:
        """Replace the file."""
        self._is_news = False
        self._written_at = time.monotonic()
        self.status.updated_at = datetime.now(UTC)
        self.status.intake.events_per_s = round(self._rate(), 1)
        unfinished = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(msgspec.json.encode(self.status))
            unfinished.replace(self._path)
        except OSError as error:  # a full disk is no reason to take in nothing
            log.warning("the status file cannot be written", cause=str(error))

    def end(self) -> None:
        """Say that the process ends on purpose, unless it never said anything."""
        if self._written_at is not None:
            self.status.ended_at = datetime.now(UTC)
            self.write()

    def _rate(self) -> float:
        now = time.monotonic()
        while self._recent and self._recent[0][0] < now - _RATE_WINDOW_S:
            self._recent.popleft()
        age_s = (datetime.now(UTC) - self.status.since).total_seconds()
        n_messages = sum(n for _, n in list(self._recent))
        return n_messages / max(min(age_s, _RATE_WINDOW_S), 1.0)
