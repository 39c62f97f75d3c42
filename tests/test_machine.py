"""Java, the MongoDB server, a browser: found, or an error that says what mends it."""

import os
import re
import socket
import time
from pathlib import Path

import psutil
import pytest

from recgraph import machine
from recgraph.errors import ServiceError


def write_java(home: Path, says: str) -> Path:
    """Write a program that answers as some Java would."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    return java


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('Picked up JAVA_TOOL_OPTIONS: -Da=b\njava version "21" 2023-09-19 LTS', 21),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "24-ea"', 24),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
        ("", None),
    ],
)
def test_version_is_read_from_what_java_prints(text: str, expected: int | None) -> None:
    assert machine.parse_java_version(text) == expected


@pytest.mark.parametrize("version", ["17.0.15", "21.0.1"])
def test_java_home_is_respected(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = write_java(tmp_path, f'openjdk version "{version}"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert machine.find_java() == java


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2", "25"])
def test_wrong_java_says_what_is_there_and_what_is_needed(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_java(tmp_path, f'openjdk version "{version}"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match=r"^Java \d+ found at .* needs Java 17 or 21"):
        machine.find_java()


def test_java_that_does_not_say_its_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_java(tmp_path, "No Java runtime present, requesting install.")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match="No Java runtime present"):
        machine.find_java()


def test_java_home_without_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match=r"no bin/java in it. Correct it or unset it"):
        machine.find_java()


def test_no_java_at_all_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match=r"no Java found.*apt-get install openjdk-17"):
        machine.find_java()


def test_no_browser_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.find_browser() is None


def test_listening_server_takes_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert machine.is_listening(f"127.0.0.1:{port}")
        assert not machine.is_free_port(port)
    assert not machine.is_listening(f"127.0.0.1:{port}")
    assert machine.is_free_port(port)


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:x", "127.0.0.1:99999", "[::1]:1"])
def test_nobody_listens_at_what_is_no_address(address: str) -> None:
    assert not machine.is_listening(address)


def test_a_process_is_found_after_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not psutil.LINUX:
        pytest.skip("only Linux dates processes by the clock of now")
    started_at = machine.start_time(psutil.Process())
    # What Linux says of the moment it came up moves with the clock: here, an hour back.
    text = Path("/proc/stat").read_text()
    up_at = int(re.search(r"btime (\d+)", text)[1])  # type: ignore[index]
    (tmp_path / "stat").write_text(text.replace(f"btime {up_at}", f"btime {up_at - 3600}"))
    (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert abs(psutil.Process().create_time() - time.time()) > 3000
    assert machine.find_process(os.getpid(), started_at) is not None
    assert machine.find_process(os.getpid(), started_at - 1) is None
