"""Servers that are away for a while: what runs meanwhile waits, and goes on with nothing lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import psutil
import pytest

from recgraph.config import Settings, load_settings
from recgraph.errors import StoreUnavailable
from recgraph.generations import read_manifest
from recgraph.machine import find_mongo_server
from recgraph.services import embedded, kafka, processes
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import publish, verify
from recgraph.status import read_status
from tests.conftest import java_problem, requires
from tests.sample import write_sample_generation

pytestmark = [pytest.mark.services, pytest.mark.spark]

AWAY_S = float(os.environ.get("AWAY_S", "15"))
"""How long a server is away, in seconds; `AWAY_S=60 make test ARGS=tests/e2e` is the long form."""
_PATIENCE_S = 300.0


@pytest.fixture
def own(settings: Settings) -> Iterator[Settings]:
    """Settings of services that this test alone freezes and kills."""
    requires(java_problem() is None, java_problem() or "")
    requires(find_mongo_server(), "the embedded MongoDB server is not installed")
    yield settings
    embedded.stop_all(settings)


@contextmanager
def running(settings: Settings, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Give a command that runs; its output goes to ``output`` in the data folder."""
    variables = {
        "RECGRAPH_DATA_DIR": str(settings.data_dir),
        "RECGRAPH_DRIVER_MEMORY": "1g",
        "RECGRAPH_BATCH_SECONDS": "1",
        "RECGRAPH_TRAIN_AFTER_EVENTS": "1000000",
    }
    # Servers of one's own, as far as the command knows: it must not start what is away.
    if settings.mongo_uri is not None:
        variables["RECGRAPH_MONGO_URI"] = settings.mongo_uri.get_secret_value()
    if settings.kafka_bootstrap is not None:
        variables["RECGRAPH_KAFKA_BOOTSTRAP"] = settings.kafka_bootstrap
    command = [sys.executable, "-m", "recgraph.cli", *arguments]
    with (settings.data_dir / "output").open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | variables, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(is_reached: Callable[[], object], settings: Settings) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_reached():
        assert time.monotonic() < deadline, (settings.data_dir / "output").read_text()[-3000:]
        time.sleep(0.2)


def broker_of(settings: Settings) -> psutil.Process:
    process = processes.running(embedded.kafka_service(settings))
    assert process is not None
    return process


def send(bootstrap: str, start: int, stop: int) -> None:
    event = {"user_id": "u", "product_id": "p", "quantity": 1}
    event["occurred_at"] = "2020-01-01T00:00:00Z"
    sent = [(None, msgspec.json.encode(event | {"event_id": f"e{n}"})) for n in range(start, stop)]
    assert kafka.produce(bootstrap, "sales", sent).failed == 0


def is_in(settings: Settings, n_events: int) -> bool:
    status = read_status(settings.status_path)
    return status is not None and status.intake.accepted_in_all == n_events


def test_a_broker_that_is_away_is_waited_for_and_nothing_is_lost(own: Settings) -> None:
    bootstrap = embedded.ensure_kafka(own)
    kafka.ensure_topic(bootstrap, "sales", n_partitions=2)
    send(bootstrap, 0, 100)
    used = load_settings(data_dir=own.data_dir, kafka_bootstrap=bootstrap)
    with running(used, "run") as process:
        wait_for(lambda: is_in(own, 100), used)

        broker_of(own).send_signal(signal.SIGSTOP)
        time.sleep(AWAY_S)
        broker_of(own).send_signal(signal.SIGCONT)
        send(bootstrap, 100, 200)
        wait_for(lambda: is_in(own, 200), used)

        broker_of(own).kill()
        time.sleep(AWAY_S)
        assert embedded.ensure_kafka(own) == bootstrap
        send(bootstrap, 200, 300)
        wait_for(lambda: is_in(own, 300), used)

        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def n_users(store: MongoStore, generation: str) -> int:
    return store.collection("users", generation).estimated_document_count()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_store_that_goes_away_during_publish_is_waited_for(own: Settings, how: str) -> None:
    folder = write_sample_generation(own.generations_dir, n_users=20_000, n_items=2_000)
    manifest = read_manifest(folder)
    uri = embedded.ensure_mongo(own)
    used = load_settings(data_dir=own.data_dir, mongo_uri=uri)
    server = processes.running(embedded.mongo_service(own))
    assert server is not None
    with open_store(uri, "recgraph") as store:
        with running(used, "publish", "--json") as process:
            wait_for(lambda: n_users(store, manifest.id), used)
            server.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            time.sleep(AWAY_S)
            assert process.poll() is None
            if how == "killed":
                assert embedded.ensure_mongo(own) == uri
            else:
                server.send_signal(signal.SIGCONT)
            assert process.wait(_PATIENCE_S) == 0, (own.data_dir / "output").read_text()
        assert verify(store, manifest) == {}
        assert store.current().manifest == manifest
    *said, last = (own.data_dir / "output").read_text().splitlines()
    assert json.loads(last)["generation"] == manifest.id
    assert how == "frozen" or any("went away" in line for line in said)


def test_a_store_that_stays_away_is_one_line_and_publishing_can_be_repeated(own: Settings) -> None:
    folder = write_sample_generation(own.generations_dir, n_users=500)
    with open_store(embedded.ensure_mongo(own), "recgraph") as store:
        embedded.stop_all(own)
        with pytest.raises(StoreUnavailable, match="does not answer") as raised:
            publish(store, folder, keep=3, patience_s=1)
        assert "\n" not in str(raised.value)
        # As `recgraph publish` does with a server of its own: it is started again.
        done = publish(store, folder, keep=3, revive=lambda: embedded.ensure_mongo(own))
        assert done.has_moved
        assert verify(store, read_manifest(folder)) == {}


def test_a_demo_in_the_background_ends_its_services_at_sigterm(own: Settings) -> None:
    own.data_dir.mkdir()
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what ends with "&"
    with running(own, "demo") as process:
        signal.signal(signal.SIGINT, heard)
        wait_for(lambda: "loading the catalogue" in (own.data_dir / "output").read_text(), own)
        assert {state.state for state in embedded.service_states(own)} == {"running"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE_S) == 130
    assert {state.state for state in embedded.service_states(own)} == {"stopped"}
