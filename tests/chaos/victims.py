"""The processes that are killed with -9, and started again as a person or a system would."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import psutil

from recgraph.config import Settings
from recgraph.machine import end_process, is_free_port
from recgraph.services import embedded, processes
from recgraph.status import Status, read_status

_COME_UP_S = 300.0
_STOP_S = 60.0


def wait_until(is_reached: Callable[[], object], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_reached():
            return True
        time.sleep(0.2)
    return False


def clean_up_when_ended() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that what it started ends with it."""

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)


class Victims:
    """A whole recgraph: broker, MongoDB server, `recgraph run` with its trainings, dashboard."""

    names = ("ingest", "training", "broker", "mongodb", "dashboard")

    def __init__(self, settings: Settings, *, train_after_events: int) -> None:
        self._settings = settings
        self.port = next(port for port in processes.PORTS if is_free_port(port))
        self._variables = {
            "DATA_DIR": str(settings.data_dir),
            "DRIVER_MEMORY": "1g",
            "BATCH_SECONDS": "1",
            "TRAIN_AFTER_EVENTS": str(train_after_events),
            "N_FACTORS": "8",
            "N_ITERATIONS": "3",
            "PORT": str(self.port),
        }
        self.bootstrap = embedded.ensure_kafka(settings)
        embedded.ensure_mongo(settings)
        self._ours: dict[str, subprocess.Popen[bytes]] = {}
        self.gave_up: list[str] = []
        """Those that ended by themselves, when something that they need was killed."""

    def strike(self, name: str) -> bool:
        """Kill one; False when there was none to kill for minutes."""
        if not wait_until(lambda: self._find(name), _COME_UP_S):
            return False
        if name == "dashboard" and not wait_until(self.dashboard_answers, _COME_UP_S):
            return False
        process = self._find(name)
        if process is not None:
            process.kill()
            process.wait(30)
        return True

    def restart(self) -> None:
        """Start whatever does not run; the training is the business of `recgraph run`."""
        embedded.ensure_mongo(self._settings)
        if embedded.ensure_kafka(self._settings) != self.bootstrap:
            message = f"the broker was at {self.bootstrap} and came back elsewhere"
            raise AssertionError(message)
        for name, command in (("ingest", "run"), ("dashboard", "serve")):
            before = self._ours.get(name)
            if before is not None and before.poll() is not None and before.returncode > 0:
                self.gave_up.append(name)
            if before is None or before.poll() is not None:
                self._ours[name] = self._start(command)

    def stop(self) -> None:
        """End all of it."""
        for process in self._ours.values():
            if process.poll() is None:
                end_process(psutil.Process(process.pid), _STOP_S)
            process.wait()
        embedded.stop_all(self._settings)

    def status(self) -> Status | None:
        """What `recgraph run` says of itself."""
        return read_status(self._settings.status_path)

    def dashboard_answers(self) -> bool:
        """Whether it says that it is well."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as page:
                return bool(page.status < 300)
        except OSError:
            return False

    def _find(self, name: str) -> psutil.Process | None:
        """The process, while it runs."""
        if name == "broker":
            return processes.running(embedded.kafka_service(self._settings))
        if name == "mongodb":
            return processes.running(embedded.mongo_service(self._settings))
        if name == "training":
            status = self.status()
            left = status.training.process if status and status.training else None
            return left.find() if left else None
        ours = self._ours[name]
        return psutil.Process(ours.pid) if ours.poll() is None else None

    def _start(self, command: str) -> "subprocess.Popen[bytes]":
        environment = os.environ | {f"RECGRAPH_{k}": v for k, v in self._variables.items()}
        with (self._settings.data_dir / f"{command}.log").open("ab") as log:
            arguments = [sys.executable, "-m", "recgraph.cli", command]
            return subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
