"""Spark starts from an archive of its classes, and without one that is no good."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recgraph.config import Settings
from recgraph.jars import spark_jars
from recgraph.spark import archive
from tests.conftest import java_problem, requires

NAMES = ["org/apache/spark/SparkContext", "io/delta/sql/DeltaSparkSessionExtension"]
START = """
import sys
from pathlib import Path
from recgraph.config import load_settings
from recgraph.jars import spark_jars
from recgraph.spark import archive, session

archive.CLASSES = Path(sys.argv[1])
settings = load_settings(driver_memory="1g")
with session.open_session(settings, spark_jars(settings)) as spark:
    print(spark.range(3).count())
"""


@pytest.fixture
def cache(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the jars, without an archive, and a list of two classes; a blank in its path."""
    problem = java_problem()
    requires(problem is None, problem or "")
    spark_jars(settings)
    monkeypatch.setattr(archive, "CLASSES", tmp_path / "classes.gz")
    archive.CLASSES.write_bytes(gzip.compress("\n".join(["java/lang/Object", *NAMES]).encode()))
    cache = tmp_path / "my cache"
    cache.mkdir()
    (cache / "jars").symlink_to(settings.cache_dir / "jars")
    return cache


def start(cache: Path) -> str:
    """Start Spark; what its JVM says of the classes it loads."""
    log = cache.parent / "loaded"  # no blank in it: the variable below is parted at them
    done = subprocess.run(
        [sys.executable, "-c", START, str(archive.CLASSES)],
        env=os.environ
        | {
            "RECGRAPH_CACHE_DIR": str(cache),
            "RECGRAPH_DATA_DIR": str(cache / "data"),
            "JDK_JAVA_OPTIONS": f"{os.environ['JDK_JAVA_OPTIONS']} -Xlog:class+load:file={log}",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "3\n"
    return log.read_text()


def test_classes_come_from_the_archive(cache: Path, settings: Settings) -> None:
    jars = spark_jars(settings.model_copy(update={"cache_dir": cache}))
    path = archive.make_archive(cache, jars)
    made_at = path.stat().st_mtime_ns
    assert archive.make_archive(cache, jars).stat().st_mtime_ns == made_at
    assert not archive.archive_path(cache, jars[:-1]).exists()
    loaded = start(cache)
    for name in NAMES:
        assert f"{name.replace('/', '.')} source: shared objects file" in loaded


def test_spark_starts_without_an_archive_that_is_no_good(cache: Path, settings: Settings) -> None:
    jars = spark_jars(settings.model_copy(update={"cache_dir": cache}))
    path = archive.archive_path(cache, jars)
    path.parent.mkdir()
    path.write_bytes(b"rubbish")
    assert f"{NAMES[0].replace('/', '.')} source: file:" in start(cache)
    path.write_bytes(b"")
    assert archive.option(cache, jars) == ""
