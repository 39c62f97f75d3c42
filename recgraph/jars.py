"""Maven artifacts: the one place that pins them -> folders of jars, filled once, used offline.

Resolved by the Ivy that PySpark ships, so nothing but Python and Java is needed. It never asks
the network when the folder is there already: a folder's name carries the digest of its pins.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from recgraph import claims
from recgraph.config import Settings
from recgraph.errors import ServiceError
from recgraph.machine import find_java


class Pin(NamedTuple):
    """One artifact."""

    group: str
    artifact: str
    version: str
    why: str
    transitive: bool = False
    """Take its dependencies too; without, PySpark's own folder of jars has them."""


class JarSet(NamedTuple):
    """Artifacts that go onto one classpath together."""

    name: str
    pins: tuple[Pin, ...]
    n_jars: int
    megabytes: int

    @property
    def folder(self) -> str:
        """Name of the folder it is kept in: another pin makes another folder."""
        text = "\n".join(f"{p.group}:{p.artifact}:{p.version}:{p.transitive}" for p in self.pins)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


# 4.0.0: from 4.0.1 on, the token provider is missing from mirrors of the central repository.
SPARK_PINS = (
    Pin("org.apache.spark", "spark-sql-kafka-0-10_2.13", "4.0.0", "Spark reads and writes topics"),
    Pin("org.apache.spark", "spark-token-provider-kafka-0-10_2.13", "4.0.0", "it logs in with it"),
    Pin("org.apache.kafka", "kafka-clients", "3.9.0", "the Kafka client that source was built on"),
    Pin("org.apache.commons", "commons-pool2", "2.12.0", "that source pools its consumers"),
    Pin("io.delta", "delta-spark_2.13", "4.0.0", "tables of events and of rejected messages"),
    Pin("io.delta", "delta-storage", "4.0.0", "how Delta commits to a file system"),
)

GRAPHFRAMES_PINS = {
    "sedona-shaded": Pin(
        "org.apache.sedona",
        "sedona-spark-shaded-4.0_2.13",
        "1.8.0",
        "carries the GraphFrames 0.9.2 classes, not relocated (docs/adr/0001)",
    ),
    "official": Pin(
        "io.graphframes", "graphframes-spark4_2.13", "0.9.2", "GraphFrames as its makers publish it"
    ),
}
_GRAPHFRAMES_MEGABYTES = {"sedona-shaded": 73, "official": 1}

KAFKA_PINS = (
    # 4.4.0 misses kafka-tools-api on mirrors of the central repository.
    Pin("org.apache.kafka", "kafka_2.13", "4.3.1", "the broker, KRaft mode", transitive=True),
    Pin("org.slf4j", "slf4j-simple", "1.7.36", "without it the broker logs nothing"),
)

BENCHMARK_PINS = (
    Pin("org.apache.kafka", "kafka-tools", "4.3.1", "ConsumerPerformance, to measure ingest by"),
)
"""For `tests/benchmarks` only; goes onto the classpath of the broker, which has its needs."""

_OFFLINE_SIGNS = ("UnknownHost", "ConnectException", "Connection refused", "timed out", "Host ")
"""What Ivy's log says when the network, not the artifact, is missing."""


def spark_jars(settings: Settings) -> list[Path]:
    """Return the jars that Spark needs beside its own, downloaded when they are not there yet.

    Raises
    ------
    ServiceError
        No Java, no network, no space.
    """
    return _resolve(spark_set(settings), settings.cache_dir)


def kafka_jars(settings: Settings) -> list[Path]:
    """Return the classpath of the embedded broker, downloaded when it is not there yet.

    Raises
    ------
    ServiceError
        No Java, no network, no space.
    """
    return _resolve(kafka_set(), settings.cache_dir)


def benchmark_jars(settings: Settings) -> list[Path]:
    """Return the classpath of Kafka's own benchmarks, downloaded when it is not there yet.

    Raises
    ------
    ServiceError
        No Java, no network, no space.
    """
    return [*kafka_jars(settings), *_resolve(benchmark_set(), settings.cache_dir)]


def spark_set(settings: Settings) -> JarSet:
    """Return what Spark needs, with the chosen carrier of GraphFrames."""
    source = settings.graphframes_source
    pins = (*SPARK_PINS, GRAPHFRAMES_PINS[source])
    return JarSet("spark", pins, len(pins), 17 + _GRAPHFRAMES_MEGABYTES[source])


def kafka_set() -> JarSet:
    """Return what the embedded broker needs."""
    return JarSet("kafka", KAFKA_PINS, 46, 44)


def benchmark_set() -> JarSet:
    """Return what benchmarks need beside the broker's jars."""
    return JarSet("benchmark", BENCHMARK_PINS, len(BENCHMARK_PINS), 1)


def is_downloaded(jar_set: JarSet, cache_dir: Path) -> bool:
    """Whether a set's folder is there, so that no network is needed."""
    return (cache_dir / "jars" / jar_set.folder).is_dir()


def _resolve(jar_set: JarSet, cache_dir: Path) -> list[Path]:
    folder = cache_dir / "jars" / jar_set.folder
    if not folder.is_dir():
        _download(jar_set, folder)
    return sorted(folder.glob("*.jar"))


def _download(jar_set: JarSet, folder: Path) -> None:
    """Fill a folder with the jars of a set; an unfinished download is taken up again."""
    unfinished = folder.with_name(f".{folder.name}")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        with claims.in_turn(unfinished.with_suffix(".lock")):
            if folder.is_dir():  # another command has just finished it
                return
            _refuse_full_disk(jar_set, unfinished)
            (unfinished / "ivy.xml").write_text(_ivy_xml(jar_set))
            _run_ivy(jar_set, unfinished)
            (unfinished / "jars").rename(folder)
            shutil.rmtree(unfinished)
    except OSError as error:
        message = (
            f"the jars for {jar_set.name} cannot be written to {folder.parent}: {error.strerror}. "
            "RECGRAPH_CACHE_DIR names another place."
        )
        raise ServiceError(message) from None


def _refuse_full_disk(jar_set: JarSet, folder: Path) -> None:
    free = shutil.disk_usage(folder).free // 1_000_000
    needed = 2 * jar_set.megabytes + 20  # Ivy keeps a copy until it is done
    if free < needed:
        message = (
            f"{free} MB are free on the disk of {folder.parent}; downloading the jars for "
            f"{jar_set.name} takes {needed} MB. Make room, or set RECGRAPH_CACHE_DIR."
        )
        raise ServiceError(message)


def _ivy_xml(jar_set: JarSet) -> str:
    dependencies = "\n".join(
        f"<dependency org={quoteattr(pin.group)} name={quoteattr(pin.artifact)} "
        f'rev={quoteattr(pin.version)} conf="default->default" '
        f'transitive="{str(pin.transitive).lower()}"/>'
        for pin in jar_set.pins
    )
    return (
        '<ivy-module version="2.0"><info organisation="recgraph" '
        f'module="{jar_set.name}"/><configurations><conf name="default"/></configurations>'
        f"<dependencies>{dependencies}</dependencies></ivy-module>"
    )


def _run_ivy(jar_set: JarSet, unfinished: Path) -> None:
    log = unfinished / "ivy.log"
    command = [
        str(find_java()),
        *("-jar", str(next(pyspark_jars().glob("ivy-*.jar")))),
        *("-ivy", str(unfinished / "ivy.xml")),
        *("-cache", str(unfinished / "ivy")),
        *("-retrieve", f"{unfinished}/jars/[artifact]-[revision](-[classifier]).[ext]"),
        *("-types", "jar", "bundle"),
        "-m2compatible",
    ]
    with log.open("w") as output, _progress(jar_set) as (progress, task):
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                sizes = [path.stat().st_size for path in (unfinished / "ivy").rglob("*.jar")]
                n_found = log.read_text(errors="replace").count("\tfound ")
                progress.update(
                    task, completed=n_found + len(sizes), megabytes=sum(sizes) // 1_000_000
                )
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise ServiceError(explain_failure(jar_set, log.read_text(errors="replace"), log))


@contextmanager
def _progress(jar_set: JarSet) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("jars for {task.description}"),
        BarColumn(),
        TextColumn(
            "{task.completed} of {task.total}, {task.fields[megabytes]} MB of ~{task.fields[size]}"
        ),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(
            f"{jar_set.name} ({jar_set.n_jars})",
            total=2 * jar_set.n_jars,  # each is looked up, then fetched
            megabytes=0,
            size=jar_set.megabytes,
        )
        yield progress, task


def pyspark_jars() -> Path:
    """Return the folder of the jars that PySpark ships.

    Raises
    ------
    ServiceError
        PySpark is not installed.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        message = (
            "PySpark is not installed. Install recgraph with its dependencies: `make install`."
        )
        raise ServiceError(message)
    return Path(spec.origin).parent / "jars"


def explain_failure(jar_set: JarSet, log: str, path: Path) -> str:
    """Return one line for what Ivy's log says in hundreds of lines."""
    if any(sign in log for sign in _OFFLINE_SIGNS):
        return (
            f"no network: the jars for {jar_set.name} ({jar_set.megabytes} MB) could not be "
            f"downloaded. They are needed once; try again when online. Details: {path}"
        )
    said = [line.strip(": \t") for line in log.splitlines() if "not found" in line][-1:]
    return (
        f"the jars for {jar_set.name} could not be downloaded: {' '.join(said) or 'Ivy failed'}. "
        f"Try again; details: {path}"
    )
