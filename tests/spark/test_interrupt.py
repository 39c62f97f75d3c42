"""Ctrl-C amid a command of Spark: one line, and nothing is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession

from recgraph.config import Settings, load_settings
from tests.spark.test_training import shoppers, write_events

PATIENCE_S = 300


CONTEXT = "tmp/*/spark/blockmgr*"
"""What there is when Spark has its context, and its session not yet."""


def press_at(line: str, settings: Settings, log: Path, *, made: str, delay_s: float) -> int:
    """Train until it says a line and has made something, then press Ctrl-C until it has ended.

    Returns
    -------
    int
        The exit code.
    """
    small = {
        "DRIVER_MEMORY": "1g",
        "N_FACTORS": "8",
        "N_ITERATIONS": "2",
        "SHUFFLE_PARTITIONS": "2",
    }
    variables = {f"RECGRAPH_{name}": value for name, value in small.items()}
    variables["RECGRAPH_DATA_DIR"] = str(settings.data_dir)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "recgraph.cli", "train"],
            env=os.environ | variables,
            stdout=output,
            stderr=output,
            preexec_fn=_hear_ctrl_c,
        ) as process,
    ):
        deadline = time.monotonic() + PATIENCE_S
        while line not in log.read_text() or not any(settings.data_dir.glob(made)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        time.sleep(delay_s)
        deadline = time.monotonic() + 30
        while process.poll() is None:
            assert time.monotonic() < deadline, log.read_text()
            process.send_signal(signal.SIGINT)
            time.sleep(0.005)
        return process.returncode


def _hear_ctrl_c() -> None:
    """Shells let what they start in the background ignore SIGINT, and all that this starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def processes_of(settings: Settings) -> list[list[str]]:
    """The command lines that name the data folder."""
    found = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    return [command for command in found if str(settings.data_dir) in " ".join(command)]


@pytest.fixture(scope="module")
def table(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds events."""
    folder = tmp_path_factory.mktemp("table")
    write_events(spark, load_settings(data_dir=folder), shoppers())
    return folder


@pytest.mark.parametrize(
    ("line", "made", "delay_s"),
    [
        ("starting Spark", "*", 0.3),
        ("starting Spark", CONTEXT, 1.0),
        ("writing the generation", CONTEXT, 0.3),
    ],
)
def test_ctrl_c_is_one_line_and_leaves_nothing(
    table: Path, settings: Settings, tmp_path: Path, line: str, made: str, delay_s: float
) -> None:
    shutil.copytree(table, settings.data_dir)
    log = tmp_path / "log"
    assert press_at(line, settings, log, made=made, delay_s=delay_s) == 130, log.read_text()
    said = log.read_text().splitlines()
    assert said[-1] == "stopped", said
    assert line in said[-2], said  # and nothing between
    deadline = time.monotonic() + 10
    while processes_of(settings):
        assert time.monotonic() < deadline, processes_of(settings)
        time.sleep(0.1)
    assert list((settings.data_dir / "tmp").iterdir()) == []
    assert not list(settings.generations_dir.glob("*"))
