"""Spark's classes, read once for all: an archive that a JVM maps into its memory as it starts.

Half of what a command of Spark spends before its first rows goes into reading, checking and linking
20,000 classes from jars. Class data sharing of the JDK keeps them in a file. `CLASSES` says which:
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
import threading
from collections.abc import Sequence
from pathlib import Path

from recgraph import claims
from recgraph.errors import ServiceError
from recgraph.jars import pyspark_jars
from recgraph.machine import locate_java

CLASSES = Path(__file__).with_name("classes.gz")
"""The names of classes, as ``-XX:DumpLoadedClassList`` writes them, by gzip."""

_LEAST_URGENT = 19
_N_KEPT = 3
"""Archives: one for each installation that is in use."""
_SUFFIXES = (".jsa", ".log", ".lock", ".classes", ".unfinished")


def class_path(jars: Sequence[Path]) -> str:
    """The jars of Spark, and those beside it, always in the same order: an archive needs that.

    Spark's own come first, so that what another jar carries along of the same name is not used.
    """
    return os.pathsep.join(map(str, [*sorted(pyspark_jars().glob("*.jar")), *jars]))


def archive_path(cache_dir: Path, jars: Sequence[Path]) -> Path:
    """Where the archive is, for this Java, this Spark and these jars."""
    java = locate_java().resolve()
    made_at = int(java.stat().st_mtime)  # an image keeps no more
    key = f"{java} {made_at} {class_path(jars)}".encode() + CLASSES.read_bytes()
    return cache_dir / "classes" / f"spark-{hashlib.sha256(key).hexdigest()[:12]}.jsa"


def option(cache_dir: Path, jars: Sequence[Path]) -> str:
    """What a JVM is given to use the archive; what it finds wrong with it goes to its errors."""
    path = archive_path(cache_dir, jars)
    if not is_made(path):
        return ""
    return f'"-XX:SharedArchiveFile={path}" -Xlog:all=off:stdout -Xlog:all=warning:stderr'


def is_made(path: Path) -> bool:
    """Whether there is an archive, and not only the mark that none could be made."""
    return path.exists() and path.stat().st_size > 0


def begin_archive(cache_dir: Path, jars: Sequence[Path]) -> None:
    """Let a process of its own make the archive, where it is not there yet, and not wait for it.

    It has the lowest priority, takes a minute or two and 1 GB of memory, and ends by itself, also
    after the process that began it.
    """
    if archive_path(cache_dir, jars).exists() or not _may_write(cache_dir):
        return
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(cache_dir), *map(str, jars)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.setpriority(os.PRIO_PROCESS, process.pid, _LEAST_URGENT)
    threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie


def _may_write(cache_dir: Path) -> bool:
    folder = cache_dir / "classes"
    return os.access(folder if folder.exists() else cache_dir, os.W_OK)


def make_archive(cache_dir: Path, jars: Sequence[Path]) -> Path:
    """Make the archive, 230 MB, where it is not there yet.

    Where Java refuses to, an empty file says not to try again, and the log beside it why.

    Raises
    ------
    ServiceError
        Another process is making it, or it cannot be written.
    """
    path = archive_path(cache_dir, jars)
    if path.exists():
        return path
    taken = "another command is making the archive of Spark's classes. Try again in a minute."
    try:
        with claims.only_one(path.with_suffix(".lock"), taken):
            if not path.exists():
                _make(path, jars)
                _forget_old(path.parent)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}. RECGRAPH_CACHE_DIR names the place."
        raise ServiceError(message) from None
    return path


def _make(path: Path, jars: Sequence[Path]) -> None:
    unfinished, names = path.with_suffix(".unfinished"), path.with_suffix(".classes")
    unfinished.unlink(missing_ok=True)
    names.write_bytes(gzip.decompress(CLASSES.read_bytes()))
    command = [
        *(str(locate_java()), "-Xshare:dump", "-Xmx512m", "-XX:+UseParallelGC"),
        "--add-modules=jdk.incubator.vector",  # as Spark has it; only the same will do
        *(f"-XX:SharedClassListFile={names}", f"-XX:SharedArchiveFile={unfinished}"),
        *("-cp", class_path(jars)),
    ]
    with path.with_suffix(".log").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=log, check=False)
    names.unlink()
    if done.returncode == 0:
        unfinished.rename(path)
    elif done.returncode > 0:  # and not killed: then the next start tries again
        path.touch()


def _forget_old(folder: Path) -> None:
    """Remove the archives that were made longest ago, with what was written beside them."""
    made = sorted(folder.glob("*.jsa"), key=lambda each: each.stat().st_mtime_ns)
    for old in made[:-_N_KEPT]:
        for suffix in _SUFFIXES:
            old.with_suffix(suffix).unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        make_archive(Path(sys.argv[1]), [Path(jar) for jar in sys.argv[2:]])
    except ServiceError as error:
        sys.exit(str(error))
