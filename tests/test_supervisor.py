"""When a training starts, and what becomes of one that fails; real processes, no Spark."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recgraph import generations
from recgraph.config import Settings
from recgraph.generations import Manifest
from recgraph.status import Training, process_of
from recgraph.supervisor import Supervisor, backoff_s, is_due
from tests.sample import write_sample_generation

FIRST, SECOND = "20260101-120000-5a3e", "20260102-120000-5a3e"

# Stands in for the command line: does what the next line of its plan says, and keeps a diary.
PROGRAM = """\
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "diary").open("a").write(" ".join(sys.argv[2:]) + chr(10))
first, _, rest = (folder / "plan").read_text().partition(chr(10))
(folder / "plan").write_text(rest)
if first == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if first == "hang":
    time.sleep(600)
if first.startswith("error"):
    sys.exit(first.replace("\\\\n", "\\n").replace("\\\\t", "\\t"))
if first.startswith("make"):
    generation = first.split()[1]
    (folder / generation).rename(folder / "data" / "generations" / generation)
    print('{"generation": "%s", "users": 3}' % generation)
"""


Plan = Callable[..., list[str]]


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def thresholds(settings: Settings) -> Settings:
    return settings.model_copy(update={"train_after_events": 100, "train_after_minutes": 10.0})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A function that plans what the commands do, and gives the program."""

    def write(*lines: str) -> list[str]:
        (tmp_path / "plan").write_text("".join(f"{line}\n" for line in lines))
        (tmp_path / "program.py").write_text(PROGRAM)
        return [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]

    return write


def diary(tmp_path: Path) -> list[str]:
    path = tmp_path / "diary"
    return path.read_text().splitlines() if path.exists() else []


def poll_until(
    supervisor: Supervisor, is_reached: Callable[[Training], bool], n_rows: int = 100
) -> Training:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        supervisor.poll(n_rows)
        if supervisor.training is not None and is_reached(supervisor.training):
            return supervisor.training
        time.sleep(0.01)
    raise AssertionError(supervisor.training)


@pytest.fixture
def made(thresholds: Settings, tmp_path: Path) -> Manifest:
    """A generation that the program makes when its plan says so."""
    thresholds.generations_dir.mkdir(parents=True)
    folder = write_sample_generation(
        tmp_path, generation_id=FIRST, created_at=datetime.now(UTC) + timedelta(minutes=1)
    )
    return generations.read_manifest(folder)


@pytest.mark.parametrize(
    ("n_waiting", "waited_s", "due"),
    [
        (0, 0, False),
        (0, 1e9, False),  # nothing new: the same events give the same recommendations
        (1, 599, False),
        (1, 600, True),
        (99, 0, False),
        (100, 0, True),
    ],
)
def test_due_by_events_or_by_minutes(
    thresholds: Settings, n_waiting: int, waited_s: float, *, due: bool
) -> None:
    assert is_due(n_waiting, waited_s, thresholds) is due


def test_waits_grow_up_to_ten_minutes() -> None:
    assert [backoff_s(tries) for tries in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert backoff_s(10) == backoff_s(100_000) == 600


def test_a_round_trains_publishes_and_prunes(
    thresholds: Settings, clock: Clock, plan: Plan, made: Manifest, tmp_path: Path
) -> None:
    n_seen = made.counts.events + made.counts.duplicates
    supervisor = Supervisor(thresholds, program=plan(f"make {FIRST}"), clock=clock)
    supervisor.poll(99)
    assert (supervisor.training, supervisor.n_waiting) == (None, 99)
    training = poll_until(supervisor, lambda each: each.outcome != "running", n_seen + 5)
    assert (training.outcome, training.generation, training.tries) == ("published", FIRST, 1)
    assert training.reason is None
    assert diary(tmp_path) == [
        "train --json",
        f"publish {FIRST} --json",
        "generations prune --json",
    ]
    supervisor.poll(n_seen + 5)
    assert supervisor.n_waiting == 5
    assert len(diary(tmp_path)) == 3  # five are not enough, and no time has passed


def test_only_one_training_at_a_time(
    thresholds: Settings, clock: Clock, plan: Plan, tmp_path: Path
) -> None:
    supervisor = Supervisor(thresholds, program=plan("hang"), clock=clock)
    poll_until(supervisor, lambda each: bool(diary(tmp_path)))
    clock.now += 1e6
    for _ in range(10):
        supervisor.poll(1_000_000)
    assert diary(tmp_path) == ["train --json"]
    supervisor.stop()


def test_what_was_killed_or_failed_is_tried_again_from_there(
    thresholds: Settings, clock: Clock, plan: Plan, made: Manifest, tmp_path: Path
) -> None:
    program = plan("kill", f"make {FIRST}", "error: MongoDB does not answer")
    supervisor = Supervisor(thresholds, program=program, clock=clock)
    training = poll_until(supervisor, lambda each: each.outcome == "failed")
    assert training.reason == "train was killed by SIGKILL"
    for _ in range(5):
        supervisor.poll(100)
    assert len(diary(tmp_path)) == 1  # not before its time
    clock.now += backoff_s(1)
    training = poll_until(supervisor, lambda each: each.outcome == "failed" and each.tries == 2)
    assert (training.step, training.reason) == ("publish", "error: MongoDB does not answer")
    clock.now += backoff_s(2)
    training = poll_until(supervisor, lambda each: each.outcome == "published")
    assert training.tries == 3
    assert [line.split()[0] for line in diary(tmp_path)] == [
        *("train", "train", "publish", "publish", "generations"),
    ]


def test_what_hangs_is_ended_in_time_and_tried_again(
    thresholds: Settings, clock: Clock, plan: Plan, made: Manifest, tmp_path: Path
) -> None:
    limited = thresholds.model_copy(update={"train_timeout_minutes": 20.0})
    program = plan("hang", f"make {FIRST}")
    supervisor = Supervisor(limited, program=program, clock=clock)
    hanging = poll_until(supervisor, lambda each: bool(diary(tmp_path))).process
    assert hanging is not None
    clock.now += 20 * 60 - 1
    supervisor.poll(100)
    assert hanging.is_alive  # slow is not stuck
    clock.now += 1
    training = poll_until(supervisor, lambda each: each.outcome == "failed")
    assert not hanging.is_alive
    assert "RECGRAPH_TRAIN_TIMEOUT_MINUTES" in (training.reason or "")
    supervisor.poll(100)
    assert len(diary(tmp_path)) == 1  # not before its time
    clock.now += backoff_s(1)
    training = poll_until(supervisor, lambda each: each.outcome == "published")
    assert (training.tries, training.generation) == (2, FIRST)


@pytest.mark.parametrize("step", [timedelta(days=-3), timedelta(days=3)])
def test_a_step_of_the_clock_costs_no_training_and_makes_no_endless_ones(
    thresholds: Settings, clock: Clock, plan: Plan, made: Manifest, tmp_path: Path, step: timedelta
) -> None:
    # The generation before was dated by a clock that was then set back, or forward.
    before = datetime.now(UTC) - step
    write_sample_generation(
        thresholds.generations_dir,
        generation_id=before.strftime("%Y%m%d-%H%M%S-ffff"),
        created_at=before,
    )
    n_rows = made.counts.events + made.counts.duplicates + 100
    supervisor = Supervisor(thresholds, program=plan(f"make {FIRST}"), clock=clock)
    training = poll_until(supervisor, lambda each: each.outcome == "published", n_rows)
    assert training.generation == FIRST
    for _ in range(5):
        clock.now += 60
        supervisor.poll(n_rows - 100)
    assert diary(tmp_path)[0] == "train --json"
    assert len(diary(tmp_path)) == 3


def test_a_publish_that_goes_on_failing_gives_way_to_a_new_training(
    thresholds: Settings, clock: Clock, plan: Plan, made: Manifest, tmp_path: Path
) -> None:
    program = plan(f"make {FIRST}", "error: it is gone", "hang")
    supervisor = Supervisor(thresholds, program=program, clock=clock)
    poll_until(supervisor, lambda each: each.outcome == "failed")
    clock.now += backoff_s(1)
    n_rows = made.counts.events + made.counts.duplicates + 100
    training = poll_until(supervisor, lambda each: each.outcome == "running", n_rows)
    assert (training.step, training.tries, training.generation) == ("train", 1, None)
    supervisor.stop()


def test_a_rejected_generation_is_kept_and_not_published(
    thresholds: Settings, clock: Clock, plan: Plan, tmp_path: Path
) -> None:
    thresholds.generations_dir.mkdir(parents=True)
    folder = write_sample_generation(tmp_path, generation_id=FIRST, status="rejected")
    supervisor = Supervisor(thresholds, program=plan(f"make {FIRST}"), clock=clock)
    training = poll_until(supervisor, lambda each: each.outcome != "running")
    assert (training.outcome, training.generation) == ("rejected", FIRST)
    assert training.reason == "nDCG fell below the popularity baseline"
    # A row of them must not fill the disk: older ones go, although nothing is published.
    assert diary(tmp_path) == ["train --json", "generations prune --json"]
    assert not folder.exists()  # it is among the generations
    supervisor.poll(100)
    assert supervisor.n_waiting < 100


@pytest.mark.parametrize("line", ["no JSON at all", f"make {SECOND}", "make ../.."])
def test_a_training_that_says_nonsense_has_failed(
    thresholds: Settings, clock: Clock, plan: Plan, line: str
) -> None:
    supervisor = Supervisor(thresholds, program=plan(line), clock=clock)
    training = poll_until(supervisor, lambda each: each.outcome != "running")
    assert training.outcome == "failed"
    assert training.reason


def test_the_reason_of_a_crash_is_what_happened_not_where(
    thresholds: Settings, clock: Clock, plan: Plan
) -> None:
    program = plan("error: out of memory\\n\\tat somewhere\\n\\t... 1 more")
    supervisor = Supervisor(thresholds, program=program, clock=clock)
    training = poll_until(supervisor, lambda each: each.outcome != "running")
    assert training.reason == "error: out of memory"


def test_a_program_that_cannot_be_started_has_failed(thresholds: Settings, clock: Clock) -> None:
    supervisor = Supervisor(thresholds, program=["/nowhere/at/all"], clock=clock)
    supervisor.poll(100)
    assert supervisor.training is not None
    assert supervisor.training.outcome == "failed"
    assert "/nowhere/at/all" in (supervisor.training.reason or "")


def test_minutes_count_from_the_last_generation_whatever_process_made_it(
    thresholds: Settings, clock: Clock, plan: Plan
) -> None:
    made_at = datetime.now(UTC) - timedelta(minutes=9)
    root = thresholds.generations_dir
    manifest = generations.read_manifest(write_sample_generation(root, created_at=made_at))
    supervisor = Supervisor(thresholds, program=plan("hang"), clock=clock)
    n_rows = manifest.counts.events + manifest.counts.duplicates + 1
    supervisor.poll(n_rows)
    assert (supervisor.training, supervisor.n_waiting) == (None, 1)
    clock.now += 61
    supervisor.poll(n_rows)
    assert supervisor.training is not None
    supervisor.stop()


def test_a_training_by_hand_counts(
    thresholds: Settings, clock: Clock, plan: Plan, made: Manifest, tmp_path: Path
) -> None:
    supervisor = Supervisor(thresholds, program=plan("hang"), clock=clock)
    (tmp_path / FIRST).rename(thresholds.generations_dir / FIRST)
    supervisor.poll(made.counts.events + made.counts.duplicates)
    assert (supervisor.training, supervisor.n_waiting) == (None, 0)


def test_stopping_ends_the_training(
    thresholds: Settings, clock: Clock, plan: Plan, tmp_path: Path
) -> None:
    supervisor = Supervisor(thresholds, program=plan("hang"), clock=clock)
    training = poll_until(supervisor, lambda each: bool(diary(tmp_path)))
    assert training.process is not None
    supervisor.stop()
    assert not training.process.is_alive
    assert supervisor.training is not None
    assert supervisor.training.outcome == "stopped"
    supervisor.stop()  # again changes nothing


def test_what_a_killed_run_has_left_is_ended(
    thresholds: Settings, clock: Clock, plan: Plan, tmp_path: Path
) -> None:
    left = subprocess.Popen([*plan("hang"), "train"])
    process = process_of(left.pid)
    before = Training(datetime.now(UTC), process=process)
    supervisor = Supervisor(thresholds, before, program=plan(), clock=clock)
    assert not process.is_alive
    left.wait()
    assert supervisor.training is not None
    assert supervisor.training.outcome == "stopped"
    supervisor.poll(99)
    assert supervisor.training.outcome == "stopped"


def test_what_a_killed_run_had_trained_is_published(
    thresholds: Settings, clock: Clock, plan: Plan, made: Manifest, tmp_path: Path
) -> None:
    (tmp_path / FIRST).rename(thresholds.generations_dir / FIRST)
    before = Training(datetime.now(UTC))
    supervisor = Supervisor(thresholds, before, program=plan(), clock=clock)
    training = poll_until(supervisor, lambda each: each.outcome == "published", 0)
    assert training.generation == FIRST
    assert diary(tmp_path) == [f"publish {FIRST} --json", "generations prune --json"]
