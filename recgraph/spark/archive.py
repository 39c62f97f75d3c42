"""Spark's classes, read once for all: an archive that a JVM maps into its memory as it starts.

Half of what a command of Spark spends before its first rows goes into reading, checking and linking
17,000 classes from jars. Class data sharing of the JDK keeps them in a file. `CLASSES` says which:
those that commands of recgraph loaded (`tests.benchmarks.spark_classes` writes it anew). A JVM
looks whether an archive is of its Java and its jars, and reads the jars where it is not.

References
----------
JEP 310, Application class-data sharing.
"""

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyspark

from recgraph import claims
from recgraph.machine import locate_java

CLASSES = Path(__file__).with_name("classes.gz")
"""The names of classes, as ``-XX:DumpLoadedClassList`` writes them, by gzip."""

_JARS = Path(pyspark.__file__).parent / "jars"
_SCALA = "2.13"
_LEAST_URGENT = 19
_N_KEPT = 3
"""Archives: one for each installation that is in use."""


def archive_path(cache_dir: Path, jars: Sequence[Path]) -> Path:
    """Where the archive is, for this Java, this Spark and these jars."""
    java = locate_java().resolve()
    parts = [str(java), str(java.stat().st_mtime_ns), str(_JARS), str(_JARS.stat().st_mtime_ns)]
    found = "\n".join([*parts, *map(str, jars)]).encode() + CLASSES.read_bytes()
    return cache_dir / "classes" / f"spark-{hashlib.sha256(found).hexdigest()[:12]}.jsa"


def option(cache_dir: Path, jars: Sequence[Path]) -> str:
    """What a JVM is given to use the archive; what it finds wrong with it goes to its errors."""
    path = archive_path(cache_dir, jars)
    is_made = path.exists() and path.stat().st_size > 0
    return f"-XX:SharedArchiveFile={path} -Xlog:all=warning:stderr" if is_made else ""


def begin_archive(cache_dir: Path, jars: Sequence[Path]) -> None:
    """Let a process of its own make the archive, where it is not there yet, and not wait for it.

    It has the lowest priority, takes a minute or half of one and 1 GB of memory, and ends by
    itself, also after the process that began it.
    """
    if archive_path(cache_dir, jars).exists():
        return
    subprocess.Popen(
        [sys.executable, "-m", __name__, str(cache_dir), *map(str, jars)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_give_way,
    )


def _give_way() -> None:
    os.nice(_LEAST_URGENT)


def make_archive(cache_dir: Path, jars: Sequence[Path]) -> Path:
    """Make the archive, 190 MB, where it is not there yet.

    One that cannot be made is an empty file, and not tried again and again. The log beside it says
    why.
    """
    path = archive_path(cache_dir, jars)
    path.parent.mkdir(parents=True, exist_ok=True)
    with claims.in_turn(path.with_suffix(".lock")):
        if not path.exists():
            _make(path, jars)
            made = sorted(path.parent.glob("*.jsa"), key=lambda each: each.stat().st_mtime_ns)
            for old in made[:-_N_KEPT]:
                old.unlink()
    return path


def _make(path: Path, jars: Sequence[Path]) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    names = path.with_suffix(".classes")
    names.write_bytes(gzip.decompress(CLASSES.read_bytes()))
    command = [
        *(str(locate_java()), "-Xshare:dump", "-Xmx512m", "-XX:+UseParallelGC"),
        "--add-modules=jdk.incubator.vector",  # as Spark has it; only the same will do
        *(f"-XX:SharedClassListFile={names}", f"-XX:SharedArchiveFile={unfinished}"),
        *("-cp", _class_path(jars)),
    ]
    with path.with_suffix(".log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=log, check=False)
    names.unlink()
    unfinished.touch()
    unfinished.rename(path)


def _class_path(jars: Sequence[Path]) -> str:
    """The class path that Spark gives its JVM, as its launcher says it."""
    command = [
        *(str(locate_java()), "-cp", f"{_JARS}/*", "org.apache.spark.launcher.Main"),
        *("org.apache.spark.deploy.SparkSubmit", "--driver-class-path"),
        *(os.pathsep.join(map(str, jars)), "pyspark-shell"),
    ]
    environment = os.environ | {"SPARK_HOME": str(_JARS.parent), "SPARK_SCALA_VERSION": _SCALA}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    words = said.stdout.split("\0")
    return words[words.index("-cp") + 1]


if __name__ == "__main__":
    make_archive(Path(sys.argv[1]), [Path(jar) for jar in sys.argv[2:]])
