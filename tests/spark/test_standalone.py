"""A training on a Spark standalone master with one worker gives what a local one gives.

Driver and executors share the data folder here, as they must (docs: the event table, the scratch
frames and the checkpoints lie there); nothing else is shared: the executor is a process of its own,
with its own jars and Python workers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pyspark
import pytest
from pyspark.sql import SparkSession

from recgraph import catalogue, generations
from recgraph.config import Settings
from recgraph.jobs import training
from recgraph.machine import end_process, find_java, is_free_port, is_listening
from recgraph.ports import Product
from recgraph.stages import Stages
from tests.spark.test_training import shoppers, write_events

PORTS = range(30_100, 30_200)
HOST = "127.0.0.1"
PATIENCE_S = 120


@contextmanager
def daemon(role: str, *arguments: str, folder: Path) -> Iterator[Path]:
    """Run a Spark daemon as a child process; give its log."""
    jars = Path(pyspark.__file__).parent / "jars" / "*"
    name = f"org.apache.spark.deploy.{role.lower()}.{role}"
    command = [str(find_java()), "-Xmx512m", "-cp", str(jars), name, "--host", HOST]
    log = folder / f"{role.lower()}.log"
    variables = os.environ | {
        "SPARK_HOME": pyspark.__path__[0],
        "SPARK_LOCAL_DIRS": str(folder),
        "SPARK_SCALA_VERSION": "2.13",  # else a worker looks for a checkout of Spark's source
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--webui-port", "0", *arguments],
            env=variables,
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        yield log
    finally:
        end_process(psutil.Process(process.pid), timeout_s=20)
        process.wait()


def wait_for(condition: str, is_met: object, log: Path) -> None:
    assert callable(is_met)
    until = time.monotonic() + PATIENCE_S
    while not is_met():
        assert time.monotonic() < until, f"no {condition} yet:\n{log.read_text()}"
        time.sleep(0.2)


@pytest.fixture
def master(spark: SparkSession, tmp_path: Path) -> Iterator[str]:
    """URL of a standalone master whose one worker has as many cores as the session's."""
    port = next(port for port in PORTS if is_free_port(port))
    url = f"spark://{HOST}:{port}"
    cores = str(spark.sparkContext.defaultParallelism)
    resources = ("--cores", cores, "--memory", "1500m", "--work-dir", str(tmp_path / "work"))
    with daemon("Master", "--port", str(port), folder=tmp_path) as master_log:
        wait_for("master", lambda: is_listening(f"{HOST}:{port}"), master_log)
        with daemon("Worker", *resources, url, folder=tmp_path) as worker_log:
            registered = "Successfully registered with master"
            wait_for("worker", lambda: registered in worker_log.read_text(), worker_log)
            yield url


def train_on(master: str, settings: Settings) -> generations.Manifest:
    """Train by the program itself, in a process of its own."""
    names = ("data_dir", "n_factors", "n_iterations", "k", "cold_weight")
    variables = {name: str(getattr(settings, name)) for name in names}
    variables |= {"spark_master": master, "shuffle_partitions": "2", "driver_memory": "1g"}
    environment = os.environ | {f"RECGRAPH_{k.upper()}": v for k, v in variables.items()}
    command = [sys.executable, "-m", "recgraph.cli", "train", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return generations.list_generations(settings.generations_dir)[0]


def lists_of(folder: Path) -> tuple[list[tuple[str, str, int, str]], list[float]]:
    """Who is recommended what, in the files' order, and the scores."""
    edges = pq.read_table(folder / generations.EDGES).to_pandas()
    rows = edges[edges["kind"] == "recommended"]
    names = ("src", "dst", "rank", "source")
    return list(zip(*(rows[name] for name in names), strict=True)), rows["score"].tolist()


def test_a_standalone_master_gives_the_same_generation(
    spark: SparkSession, small: Settings, master: str
) -> None:
    write_events(spark, small, shoppers())
    products = [Product(f"item {n:02}", title=f"thing {n % 2}") for n in range(22)]  # two are cold
    catalogue.write_catalogue(small.catalogue_path, products)
    settings = small.model_copy(update={"cold_weight": 1.0})
    here = training.train(spark, settings, Stages())
    there = train_on(master, settings)
    assert there.id != here.id
    assert there.counts == here.counts
    (rows, scores), (theirs, their_scores) = (
        lists_of(settings.generations_dir / each.id) for each in (here, there)
    )
    assert theirs == rows
    assert their_scores == pytest.approx(scores, rel=1e-5, abs=1e-6)
    for ours, same in zip(here.metrics.ranking, there.metrics.ranking, strict=True):
        assert (same.task, same.recommender) == (ours.task, ours.recommender)
        assert same.ndcg == pytest.approx(ours.ndcg, abs=1e-6)
        assert same.coverage == pytest.approx(ours.coverage)
