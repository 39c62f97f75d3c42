"""The memory of a job is that of all its processes, and of no process twice."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from recgraph.memory import Peak

BALLAST = 200_000_000
HOLD = f"import os; x = b'1' * {BALLAST};"
WAIT = "os.write(1, b'.'); os.read(0, 1)"


@contextmanager
def running(code: str) -> Iterator[psutil.Process]:
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        yield psutil.Process(process.pid)
        process.communicate(b"..")


def peak_of(process: psutil.Process) -> int:
    peak = Peak()
    peak.look([process])
    return peak.peak_bytes


def test_the_memory_of_children_counts() -> None:
    child = f"{HOLD} {WAIT}"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with running(start) as process:
        assert BALLAST < peak_of(process) < 2 * BALLAST


def test_a_fork_that_has_only_its_parents_memory_does_not_count() -> None:
    with running(
        f"{HOLD} child = os.fork(); child and os.write(1, b'.'); os.read(0, 1)"
    ) as process:
        assert len(process.children()) == 1
        assert BALLAST < peak_of(process) < 2 * BALLAST


def test_the_largest_memory_stays() -> None:
    peak = Peak()
    with running(f"{HOLD} {WAIT}") as process:
        peak.look([process])
    peak.look([psutil.Process()])
    assert peak.peak_bytes > BALLAST
