"""The status file: what is written can be read, by whom, and what it says of dead processes."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recgraph.ports import Progress
from recgraph.status import (
    Process,
    Reporter,
    Training,
    lag_by_partition,
    process_of,
    read_status,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "status.json"


def progress(accepted: int, rejected: int) -> Progress:
    return Progress(accepted, rejected, None, datetime.now(UTC))


@pytest.mark.parametrize(
    ("starts", "ends", "next_offsets", "lag"),
    [
        ({"0": 0, "1": 0}, {"0": 5, "1": 7}, {"0": 5, "1": 3}, {"0": 0, "1": 4}),
        ({"0": 0}, {"0": 5}, {}, {"0": 5}),  # nothing of it was read
        ({"0": 100}, {"0": 105}, {}, {"0": 5}),  # what retention removed cannot come any more
        ({"0": 0}, {"0": 5}, {"0": 9}, {"0": 0}),  # read further since the broker was asked
        ({"0": 0}, {"0": 5}, {"0": 5, "1": 5}, {"0": 0}),  # a partition that is gone
        ({}, {}, {"0": 5}, {}),
    ],
)
def test_lag_is_what_is_on_the_topic_and_not_in(
    starts: dict[str, int], ends: dict[str, int], next_offsets: dict[str, int], lag: dict[str, int]
) -> None:
    assert lag_by_partition(starts, ends, next_offsets) == lag


def test_partitions_are_in_order_of_their_number() -> None:
    ends = dict.fromkeys(["10", "9", "0"], 1)
    assert list(lag_by_partition(dict.fromkeys(ends, 0), ends, {})) == ["0", "9", "10"]


def test_what_is_reported_can_be_read(path: Path) -> None:
    reporter = Reporter(path, "run", "sales")
    reporter.reads("topic-1")
    reporter.took(10, {"not_json": 2}, 0.5, progress(10, 2))
    reporter.took(5, {"not_json": 1, "empty": 1}, 0.7, progress(15, 4))
    reporter.trains(Training(datetime.now(UTC), generation="g"), 15)
    reporter.poll({"0": 19})
    found = read_status(path)
    assert found == reporter.status
    assert found is not None
    assert (found.intake.batches, found.intake.accepted) == (2, 15)
    assert found.intake.rejected == {"not_json": 3, "empty": 1}
    assert (found.intake.accepted_in_all, found.intake.rejected_in_all) == (15, 4)
    assert found.intake.events_per_s == 19.0  # 19 messages in the first second
    assert found.is_running
    assert not found.was_killed
    assert not list(path.parent.glob("*.tmp"))


def test_a_later_process_goes_on_from_the_offsets_of_the_same_topic_only(path: Path) -> None:
    first = Reporter(path, "run", "sales")
    first.reads("topic-1")
    first.poll({"0": 19})
    same, anew = Reporter(path, "ingest", "sales"), Reporter(path, "ingest", "sales")
    same.reads("topic-1")
    anew.reads("topic-2")
    assert same.status.intake.next_offsets == {"0": 19}
    assert anew.status.intake.next_offsets == {}


def test_no_news_are_written_only_now_and_then(path: Path) -> None:
    reporter = Reporter(path, "run", "sales")
    reporter.poll({"0": 1})
    path.unlink()
    reporter.poll({"0": 1})
    assert not path.exists()
    reporter.poll({"0": 2})
    assert path.exists()


def test_a_process_that_never_got_to_work_leaves_the_file_of_another_alone(path: Path) -> None:
    Reporter(path, "run", "sales").poll({})
    before = path.read_bytes()
    Reporter(path, "ingest", "sales").end()
    assert path.read_bytes() == before


def test_an_end_on_purpose_is_told_from_a_kill(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = process_of(child.pid)
    assert process.is_alive
    child.kill()
    child.communicate()
    assert not process.is_alive

    reporter = Reporter(path, "run", "sales")
    reporter.status.process = process
    reporter.poll({})
    found = read_status(path)
    assert found is not None
    assert (found.is_running, found.was_killed) == (False, True)
    reporter.end()
    found = read_status(path)
    assert found is not None
    assert (found.is_running, found.was_killed) == (False, False)


def test_an_id_given_to_another_program_since_is_not_the_process() -> None:
    assert not Process(os.getpid(), process_of(os.getpid()).started_at - 3600).is_alive


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"command": "run"}', b"\xff\x00"])
def test_a_file_that_cannot_be_read_says_nothing(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert read_status(path) is None
    Reporter(path, "run", "sales").poll({})
    assert read_status(path) is not None


def test_a_file_that_cannot_be_written_stops_nothing(path: Path) -> None:
    path.with_suffix(".tmp").mkdir(parents=True)  # in the way
    Reporter(path, "run", "sales").poll({"0": 1})
    assert read_status(path) is None
