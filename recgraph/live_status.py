"""What each `recgraph live` says of itself -> a small file a process, for `recgraph status`.

The file is news, no source of truth: offsets are kept by Kafka, lists by MongoDB.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from recgraph.status import Process, process_of
from recgraph.whole import write_whole

log = structlog.get_logger()

_WRITE_EVERY_S = 1.0


class LiveStatus(msgspec.Struct):
    """What one process of `live` is doing; the counts are since it started."""

    process: Process
    since: datetime
    updated_at: datetime
    generation: str | None = None
    """Whose lists it makes; None before the first is published."""
    events: int = 0
    rejected: dict[str, int] = {}
    """Reason -> messages that are no sale; ingest keeps them."""
    lists: int = 0
    """Lists made and sent."""
    next_offsets: dict[str, int] = {}
    """Partition -> offset of the first message that is not folded in yet; of its partitions."""
    delay_s: float | None = None
    """Seconds from the time of the last message on the topic to its list in the store."""
    problem: str | None = None
    """Why nothing is folded in at the moment."""
    ended_at: datetime | None = None
    metrics_url: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.ended_at is None and self.process.is_alive


def read_statuses(folder: Path) -> list[LiveStatus]:
    """Return what the processes that run said last, the oldest first."""
    found = [_read(path) for path in folder.glob("*.json")]
    running = [each for each in found if each is not None and each.is_running]
    return sorted(running, key=lambda each: each.since)


def _read(path: Path) -> LiveStatus | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=LiveStatus)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


class LiveReporter:
    """Keeps a `LiveStatus` up to date, in memory at once and in its file soon after."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.status = LiveStatus(process_of(os.getpid()), now, now)
        self._path = folder / f"{os.getpid()}.json"
        self._written_at = 0.0
        _remove_old(folder)

    def follows(self, generation: str) -> None:
        """Say whose lists are made from now on."""
        self.status.generation, self.status.problem = generation, None
        self.status.next_offsets = {}
        self.write()

    def took(
        self, n_events: int, rejected: Iterable[str], n_lists: int, delay_s: float | None
    ) -> None:
        """Count a batch."""
        status = self.status
        status.events += n_events
        status.lists += n_lists
        status.rejected = dict(Counter(status.rejected) + Counter(rejected))
        status.delay_s = status.delay_s if delay_s is None else round(delay_s, 4)

    def reached(self, next_offsets: dict[str, int]) -> None:
        """Say how far the topic is folded in, and write the file if it is old."""
        self.status.next_offsets, self.status.problem = next_offsets, None
        if time.monotonic() - self._written_at > _WRITE_EVERY_S:
            self.write()

    def waits(self, problem: str) -> None:
        """Say why nothing is folded in."""
        if problem != self.status.problem:
            log.warning("nothing is folded in", cause=problem)
        self.status.problem = problem
        self.write()

    def write(self) -> None:
        """Replace the file."""
        self._written_at = time.monotonic()
        self.status.updated_at = datetime.now(UTC)
        try:
            write_whole(self._path, msgspec.json.encode(self.status))
        except OSError as error:  # a full disk is no reason to fold in nothing
            log.warning("the status file cannot be written", cause=str(error))

    def end(self) -> None:
        """Say that the process ends on purpose."""
        self._path.unlink(missing_ok=True)


def _remove_old(folder: Path) -> None:
    """Remove what processes left that were killed."""
    for path in folder.glob("*.json"):
        found = _read(path)
        if found is not None and not found.is_running:
            path.unlink(missing_ok=True)
