"""Programs that outlive the command that started them: started once, recognised, stopped.

A service's folder holds its data, its log and ``state.json``, which says which process it is. A
process is only believed to be ours when its id and its start time both match, so that a stale
file, or an id that the system gave to another program since, is harmless.
"""

import fcntl
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from recgraph.errors import ServiceError
from recgraph.machine import end_process, find_process, is_free_port, start_time
from recgraph.whole import write_whole

Notify = Callable[[str], None]
"""Called with a line that tells a person what is being started."""

PORTS = range(20_000, 30_000)
"""Ports are taken from here: below those that systems give to outgoing connections, which could
otherwise sit on a stopped service's port, or connect to themselves."""

_LOG_BYTES = 10_000_000
"""A log that is longer when its service starts is put aside as ``.old``, replacing the last one."""
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Service:
    """How to start one program, and how to ask it whether it is there."""

    name: str
    title: str
    folder: Path
    n_ports: int
    command: Callable[[Sequence[int]], list[str]]
    """Ports -> the command line; may write configuration files first."""
    answers: Callable[[Sequence[int]], bool]
    """Whether it answers a real request, within a second or two."""

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / f"{self.name}.log"

    @property
    def data(self) -> Path:
        """What it keeps."""
        return self.folder / "data"


class _State(msgspec.Struct, frozen=True):
    pid: int
    started_at: float
    ports: list[int]


def ensure(service: Service, timeout_s: float, notify: Notify) -> Sequence[int]:
    """Return the ports of a service that answers, started when it is not up.

    Raises
    ------
    ServiceError
        It ended, or did not answer in time; the message ends with its log's last lines.
    """
    service.folder.mkdir(parents=True, exist_ok=True)
    with _only_one(service):
        process = running(service)
        if process is None:
            process = _start(service, notify)
        ports = last_ports(service)
        _wait_until_it_answers(service, process, ports, timeout_s)
        return ports


def running(service: Service) -> psutil.Process | None:
    """Return the service's process while it runs, None otherwise."""
    state = _read_state(service)
    return None if state is None else find_process(state.pid, state.started_at)


def last_ports(service: Service) -> list[int]:
    """Return the ports it listens on, or listened on before it was stopped."""
    state = _read_state(service)
    return state.ports if state else []


def stop(service: Service) -> bool:
    """Stop a service: asked first, forced after a while. Return whether there was one."""
    if not service.folder.is_dir():
        return False
    with _only_one(service):
        process = running(service)
        if process is None:
            return False
        end_process(process, _STOP_TIMEOUT_S)
        return True


def last_lines(log: Path, n: int = 15) -> str:
    """Return the end of a log, for an error message."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8_192))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-n:])


def _start(service: Service, notify: Notify) -> psutil.Process:
    ports = _choose_ports(service, notify)
    command = service.command(ports)
    notify(f"starting the {service.title} on 127.0.0.1:{ports[0]}")
    pid = _spawn(command, service.log)
    process = psutil.Process(pid)
    state = _State(pid, start_time(process), ports)
    _write_state(service, state)
    return process


def _choose_ports(service: Service, notify: Notify) -> list[int]:
    """Return the ports it had before, or others when somebody has taken one."""
    before = last_ports(service)
    taken = [port for port in before if not is_free_port(port)]
    if taken:
        notify(f"port {taken[0]} of the {service.title} is taken by somebody else; taking another")
    if before and not taken:
        return before
    candidates = random.sample(PORTS, len(PORTS))
    free = (port for port in candidates if is_free_port(port))
    return [next(free) for _ in range(service.n_ports)]


def _spawn(command: list[str], log: Path) -> int:
    """Start a program in a session of its own, so that closing the terminal does not end it."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".old"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process.returncode = 0  # it outlives this command: Popen is not to warn that nobody waited
    return process.pid


def _wait_until_it_answers(
    service: Service, process: psutil.Process, ports: Sequence[int], timeout_s: float
) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        if running(service) is None:
            raise ServiceError(_explain(service, "ended at once"))
        if service.answers(ports):
            return
        if time.monotonic() > deadline:
            end_process(process, _STOP_TIMEOUT_S)
            what = f"did not answer within {timeout_s:g} s (RECGRAPH_SERVICE_TIMEOUT_S)"
            raise ServiceError(_explain(service, what))
        time.sleep(0.1)


def _explain(service: Service, what: str) -> str:
    return (
        f"the {service.title} {what}. Its log, {service.log}, ends with:\n{last_lines(service.log)}"
    )


@contextmanager
def _only_one(service: Service) -> Iterator[None]:
    """Wait until no other command starts or stops the same service."""
    with (service.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _state_path(service: Service) -> Path:
    return service.folder / "state.json"


def _read_state(service: Service) -> _State | None:
    """Return what is known of the last start; a file that cannot be read knows nothing."""
    try:
        return msgspec.json.decode(_state_path(service).read_bytes(), type=_State)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _write_state(service: Service, state: _State) -> None:
    write_whole(_state_path(service), msgspec.json.encode(state))
