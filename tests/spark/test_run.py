"""`recgraph run`, the real program: it trains, publishes, tries again, stops."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recgraph.config import Settings
from recgraph.services import kafka
from recgraph.status import Status, read_status
from tests.services.test_status_cli import scrape

pytestmark = pytest.mark.services

N_EVENTS = 400


def message(number: int) -> tuple[None, bytes]:
    event = {
        "event_id": f"e{number}",
        "user_id": f"u{number % 13}",
        "product_id": f"p{number % 17}",
        "quantity": 1,
        "occurred_at": "2020-01-01T00:00:00Z",  # one moment: nothing is held back, nothing measured
    }
    return None, msgspec.json.encode(event)


def environment(settings: Settings) -> dict[str, str]:
    names = ("data_dir", "exports_dir", "kafka_bootstrap", "topic", "mongo_database")
    variables = {name: str(getattr(settings, name)) for name in names}
    assert settings.mongo_uri is not None
    variables |= {
        "mongo_uri": settings.mongo_uri.get_secret_value(),
        "driver_memory": "1g",
        "n_factors": "8",
        "n_iterations": "3",
        "batch_seconds": "1",
        "train_after_events": str(N_EVENTS),
        "metrics_port": "0",
    }
    return os.environ | {f"RECGRAPH_{name.upper()}": value for name, value in variables.items()}


@contextmanager
def running(settings: Settings, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "recgraph.cli", "run"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment(settings), stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(
    settings: Settings, is_reached: Callable[[Status], object], log: Path, seconds: float = 600
) -> Status:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = read_status(settings.status_path)
        if status is not None and is_reached(status):
            return status
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-3000:])


def trains(status: Status) -> bool:
    training = status.training
    return training is not None and training.process is not None and training.process.is_alive


def is_published(status: Status) -> bool:
    return status.training is not None and status.training.outcome == "published"


def test_it_trains_publishes_tries_again_and_stops(
    service_settings: Settings, tmp_path: Path
) -> None:
    settings, log = service_settings, tmp_path / "run.log"
    bootstrap = str(settings.kafka_bootstrap)
    kafka.ensure_topic(bootstrap, settings.topic, n_partitions=2)
    kafka.produce(bootstrap, settings.topic, map(message, range(N_EVENTS)))
    kafka.produce(bootstrap, settings.topic, [(None, b"rubbish"), (None, b"[]")])
    with running(settings, log) as process:
        killed = wait_for(settings, trains, log).training
        assert killed is not None
        assert killed.process is not None
        os.kill(killed.process.pid, signal.SIGKILL)

        training = wait_for(settings, is_published, log).training
        assert training is not None
        assert training.tries == 2
        said = status(settings)
        assert said["generation"]["id"] == training.generation
        assert said["running"] == "run"
        assert said["lag_in_all"] == 0
        assert (said["last"]["intake"]["accepted"], said["last"]["waiting"]) == (N_EVENTS, 0)

        samples = scrape(said["last"]["metrics_url"])
        assert samples["recgraph_events_accepted_total"] == {(): N_EVENTS}
        assert samples["recgraph_events_rejected_total"] == {
            ("not_json",): 1,
            ("not_an_object",): 1,
        }
        assert samples["recgraph_lag_messages"] == {("0",): 0, ("1",): 0}
        assert samples["recgraph_generation_age_seconds"][()] > 0

        # While it trains again: both must end.
        kafka.produce(bootstrap, settings.topic, map(message, range(N_EVENTS, 2 * N_EVENTS)))
        child = wait_for(settings, lambda each: trains(each) and not is_published(each), log)
        asked_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, log.read_text()[-3000:]
        assert time.monotonic() - asked_at < 15
    assert child.training is not None
    assert child.training.process is not None
    assert not child.training.process.is_alive
    said = status(settings)
    assert said["running"] is None
    assert said["last"]["training"]["outcome"] == "stopped"
    assert said["generation"]["id"] == training.generation
    events = [json.loads(line) for line in log.read_text().splitlines() if line[:1] == "{"]
    assert {each["event"] for each in events} >= {"batch", "training begins", "training failed"}


def status(settings: Settings) -> dict[str, Any]:
    """What `recgraph status --json` says; everything answers."""
    done = subprocess.run(
        [sys.executable, "-m", "recgraph.cli", "status", "--json"],
        env=environment(settings),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
