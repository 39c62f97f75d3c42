"""Programs that outlive their command: known by id and start time, explained when they fail."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import pytest

from recgraph.errors import ServiceError
from recgraph.machine import is_free_port
from recgraph.services import processes
from recgraph.services.processes import Service

LISTEN = """
import signal, socket, sys
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
while True:
    server.accept()[0].close()
"""


def make_service(folder: Path, program: str = LISTEN, *arguments: str) -> Service:
    return Service(
        name="listener",
        title="listener",
        folder=folder,
        n_ports=1,
        command=lambda ports: [sys.executable, "-c", program, str(ports[0]), *arguments],
        answers=lambda ports: not is_free_port(ports[0]),
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    listener = make_service(tmp_path / "listener")
    yield listener
    processes.stop(listener)


def start(service: Service, timeout_s: float = 20) -> list[str]:
    notices: list[str] = []
    processes.ensure(service, timeout_s, notices.append)
    return notices


def test_ensure_starts_once_and_says_so(service: Service) -> None:
    first = start(service)
    process = processes.running(service)
    assert first == [f"starting the listener on 127.0.0.1:{processes.last_ports(service)[0]}"]
    assert start(service) == []
    assert processes.running(service) == process


def test_two_commands_at_once_start_one_process(service: Service) -> None:
    with ThreadPoolExecutor(4) as pool:
        notices = list(pool.map(lambda _: start(service), range(4)))
    assert sum(map(len, notices)) == 1


def test_service_has_a_session_of_its_own(service: Service) -> None:
    start(service)
    process = processes.running(service)
    assert process is not None
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_service_holds_nothing_of_the_command_that_started_it(
    service: Service, tmp_path: Path
) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        start(service)
    process = processes.running(service)
    assert process is not None
    assert {Path(opened.path) for opened in process.open_files()} == {service.log}


def test_restart_takes_the_same_port_again(service: Service) -> None:
    start(service)
    before = processes.last_ports(service)
    assert processes.stop(service)
    assert processes.running(service) is None
    start(service)
    assert processes.last_ports(service) == before


def test_restart_takes_another_port_when_somebody_has_it(service: Service) -> None:
    start(service)
    before = processes.last_ports(service)
    processes.stop(service)
    with socket.create_server(("127.0.0.1", before[0])):
        notices = start(service)
    assert f"port {before[0]} of the listener is taken by somebody else" in notices[0]
    assert processes.last_ports(service) != before


def test_killed_service_is_started_again(service: Service) -> None:
    start(service)
    process = processes.running(service)
    assert process is not None
    process.kill()
    process.wait()
    assert len(start(service)) == 1
    assert processes.running(service) != process


def test_reused_process_id_is_not_believed_nor_stopped(service: Service) -> None:
    start(service)
    processes.stop(service)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        state = {"pid": other.pid, "started_at": 12345.0, "ports": [20_000]}
        (service.folder / "state.json").write_bytes(msgspec.json.encode(state))
        assert processes.running(service) is None
        assert not processes.stop(service)
        assert psutil.Process(other.pid).is_running()
        other.communicate(b"\n")


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}'])
def test_unreadable_state_file_is_a_service_that_does_not_run(
    service: Service, content: bytes
) -> None:
    service.folder.mkdir()
    (service.folder / "state.json").write_bytes(content)
    assert processes.running(service) is None
    assert len(start(service)) == 1


def test_program_that_ends_is_explained_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    program = "import sys; print('old line\\n' * 20); sys.exit('the disk is on fire')"
    service = make_service(tmp_path / "listener", program)
    with pytest.raises(ServiceError, match=r"(?s)listener ended at once.*the disk is on fire$"):
        start(service)


def test_program_that_never_answers_is_explained_and_ended(tmp_path: Path) -> None:
    program = "import time; print('still thinking', flush=True); time.sleep(600)"
    service = make_service(tmp_path / "listener", program)
    with pytest.raises(ServiceError, match=r"(?s)did not answer within 2 s.*still thinking"):
        start(service, timeout_s=2)
    assert processes.running(service) is None


def test_program_deaf_to_the_first_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_TIMEOUT_S", 0.3)
    service = make_service(tmp_path / "listener", LISTEN, "deaf")
    start(service)
    assert processes.stop(service)
    assert processes.running(service) is None


def test_stop_without_a_service_does_nothing(service: Service) -> None:
    assert not processes.stop(service)


def test_long_log_is_put_aside_at_the_next_start(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LOG_BYTES", 100)
    service.folder.mkdir()
    service.log.write_text("x" * 101)
    start(service)
    assert service.log.read_text() == "listening\n"
    assert service.log.with_suffix(".old").read_text() == "x" * 101
