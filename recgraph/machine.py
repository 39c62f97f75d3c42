"""What this machine has: Java, the embedded MongoDB server, a browser, free ports.

A name or a port -> a path or a yes; for what recgraph cannot do without, an error that mends it.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from recgraph.errors import ServiceError

JAVA_VERSIONS = (17, 21)
"""Major versions that Spark 4.0 is built for."""

INSTALL_JAVA = "apt-get install openjdk-17-jre-headless"
"""What mends a missing Java on Debian; other systems have a package of a similar name."""

_SAME_START_S = 0.5
"""Start times are told apart by more than this, in seconds."""


def find_java() -> Path:
    """Return the path of the ``java`` program: that of ``JAVA_HOME`` when set, else the PATH's.

    Raises
    ------
    ServiceError
        There is none, or it is not of a supported version.
    """
    java = locate_java()
    version = java_version(java)
    if version not in JAVA_VERSIONS:
        message = (
            f"Java {version} found at {java}; Spark 4.0 needs Java 17 or 21. "
            f"Install one (`{INSTALL_JAVA}`) and let JAVA_HOME point to it."
        )
        raise ServiceError(message)
    return java


def locate_java() -> Path:
    """Return the path of the ``java`` program, whatever its version.

    Raises
    ------
    ServiceError
        There is none.
    """
    home = os.environ.get("JAVA_HOME")
    if home and not (Path(home) / "bin" / "java").is_file():
        message = f"JAVA_HOME is {home}, but there is no bin/java in it. Correct it or unset it."
        raise ServiceError(message)
    found = Path(home) / "bin" / "java" if home else shutil.which("java")
    if found is None:
        message = f"no Java found; Spark and the Kafka broker need Java 17 or 21: `{INSTALL_JAVA}`."
        raise ServiceError(message)
    return Path(found)


def java_version(java: Path) -> int:
    """Return the major version of a ``java`` program, such as 17.

    Raises
    ------
    ServiceError
        The program does not say.
    """
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{java} cannot be run: {error}. Install Java 17 or 21: `{INSTALL_JAVA}`."
        raise ServiceError(message) from None
    version = parse_java_version(done.stderr)
    if version is None:
        said = done.stderr.strip().splitlines()[:1]
        message = f"{java} -version said {said}, not its version. Install Java: `{INSTALL_JAVA}`."
        raise ServiceError(message)
    return version


def parse_java_version(text: str) -> int | None:
    """Return the major version in what ``java -version`` prints; 8 for the old style ``1.8.0``."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


def find_mongo_server() -> Path | None:
    """Return the program of the embedded MongoDB-wire server, None when it is not installed."""
    program = Path(sys.executable).with_name("secantusd-py")
    return program if program.is_file() else None


def find_browser() -> Path | None:
    """Return a Chromium that the browser tests can drive, None when there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    return Path(found) if found else None


def find_process(pid: int, started_at: float) -> psutil.Process | None:
    """Return the process with this id and `start_time` while it runs.

    The id alone may have been given to another program since.
    """
    try:
        process = psutil.Process(pid)
        is_it = abs(start_time(process) - started_at) < _SAME_START_S
        is_alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if is_it and is_alive else None


def start_time(process: psutil.Process) -> float:
    """Return when a process was started, in seconds; the same however the clock is set later.

    Linux counts from when the machine came up, and adds that moment by the clock of now; other
    systems keep the moment itself, in seconds since 1970.
    """
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0.0)


def is_free_port(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server may listen on this port."""
    with socket.socket() as probe:
        # As servers do: a port is free although closed connections to it linger.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def is_listening(address: str) -> bool:
    """Whether a server takes connections at ``host:port``."""
    host, _, port = address.strip().rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except (OSError, ValueError):  # nobody there, or no such address
        return False


def end_process(process: psutil.Process, timeout_s: float) -> None:
    """Ask a process to end and wait for it; one that takes longer is killed."""
    try:
        process.terminate()
        process.wait(timeout_s)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    except psutil.NoSuchProcess:
        return
