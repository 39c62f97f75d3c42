"""The Spark session: started once, with the jars, the folders and the limits it needs."""

import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from recgraph import claims
from recgraph.config import Settings
from recgraph.errors import ServiceError
from recgraph.spark import archive
from recgraph.spark.interrupt import (
    interruptible,
    is_jvm_alive,
    keeping_sigint,
    quieten_py4j,
)
from recgraph.spark.scratch import SCRATCH

_LOG_BYTES = 5_000_000
"""A log larger than this is set aside when Spark starts."""
LOG_CONFIG = Path(__file__).with_name("log4j2.properties")
_JVM = "-XX:+UseParallelGC -Xss4m"
"""ALS fills and drops arrays without end: the parallel collector takes a third less of its time
than G1. And the lineage of ten sweeps goes deep: not every compiler's frames fit 1 MB of stack."""


@contextmanager
def open_session(settings: Settings, jars: Sequence[Path]) -> Iterator[SparkSession]:
    """Give a Spark session; stop it, and the JVM below it, when the block ends.

    Ctrl-C ends the JVM before anything else is cleared up. When the first session on a machine has
    ended well, the archive of classes is made that later ones start from: `recgraph.spark.archive`.

    Parameters
    ----------
    settings
        Master, memory, shuffle partitions and the data folder.
    jars
        Jars of Kafka, Delta and GraphFrames, from `recgraph.jars.spark_jars`.

    Raises
    ------
    ServiceError
        The JVM does not start.
    """
    # PySpark gives collected times in the zone of the process, whatever the session's zone is.
    os.environ["TZ"] = "UTC"
    time.tzset()
    # Workers must run the interpreter of the driver, with one BLAS thread a core.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    quieten_py4j()
    claims.remove_abandoned(settings.data_dir / "tmp", "*")
    folder = settings.data_dir / "tmp" / uuid.uuid4().hex
    with interruptible(), claims.claimed(folder) as scratch:
        session = _start(settings, jars, scratch)
        try:
            yield session
        finally:
            _stop(session)
    archive.begin_archive(settings.cache_dir, jars)


def _stop(session: SparkSession) -> None:
    gateway = session.sparkContext._gateway
    if is_jvm_alive(gateway):
        session.stop()
        if gateway is not None:
            gateway.shutdown()


def _start(settings: Settings, jars: Sequence[Path], scratch: Path) -> SparkSession:
    """A session, with the JVM's errors in a log of their own."""
    log = settings.data_dir / "logs" / "spark.log"
    try:
        options = _options(settings, jars, scratch)
        with _stderr_to(log):
            with keeping_sigint():
                SparkContext.getOrCreate(SparkConf().setAll(list(options.items())))
            session = SparkSession.builder.config(map=options).getOrCreate()
    except Exception as error:
        message = (
            f"Spark does not start: {str(error).splitlines()[0]} "
            f"Its log is {log}; `recgraph doctor` says what is missing."
        )
        raise ServiceError(message) from error
    session.sparkContext.setLogLevel("ERROR")
    session.sparkContext.setCheckpointDir(str(scratch / "checkpoints"))
    return session


@contextmanager
def _stderr_to(log: Path) -> Iterator[None]:
    """Let what is started in the block write its errors to a file: the JVM, and its workers."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    sys.stderr.flush()
    ours = os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)


def _jars(settings: Settings, jars: Sequence[Path]) -> dict[str, str]:
    """On the class path, where an archive has them too; executors of their own are sent them."""
    of_driver = {"spark.driver.extraClassPath": archive.class_path(jars)}
    if settings.spark_master == "local" or settings.spark_master.startswith("local["):
        return of_driver
    return of_driver | {"spark.jars": ",".join(map(str, jars))}


def _options(settings: Settings, jars: Sequence[Path], scratch: Path) -> dict[str, Any]:
    return {
        "spark.app.name": "recgraph",
        "spark.master": settings.spark_master,
        SCRATCH: str(scratch / "frames"),
        **_jars(settings, jars),
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": (
            f'"-Dlog4j2.configurationFile={LOG_CONFIG.as_uri()}" "-Dderby.system.home={scratch}" '
            f"{_JVM} {archive.option(settings.cache_dir, jars)}"
        ),
        # What the driver's own environment says to local workers.
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        "spark.executorEnv.TZ": "UTC",
        "spark.executor.extraJavaOptions": _JVM,
        "spark.local.dir": str(scratch / "spark"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.databricks.delta.snapshotPartitions": "2",
        # VACUUM lists with so many tasks, 10,000 by default: a minute for a handful of files.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
        "spark.ui.enabled": "false",
        # Kept for the page that is off; the defaults are 100,000 tasks and 1,000 queries, hundreds
        # of megabytes in a process that ingests for days.
        "spark.ui.retainedTasks": "1000",
        "spark.ui.retainedStages": "50",
        "spark.ui.retainedJobs": "50",
        "spark.sql.ui.retainedExecutions": "20",
        "spark.ui.showConsoleProgress": "false",
        # These pools start a thread a stage and keep it for a minute, up to 1,024 of them: hundreds
        # in a process that runs a batch a second.
        "spark.sql.shuffleExchange.maxThreadThreshold": "32",
        "spark.sql.resultQueryStage.maxThreadThreshold": "32",
    }
