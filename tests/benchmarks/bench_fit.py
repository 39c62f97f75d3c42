"""Our ALS fit against MLlib's, each in a process and a Spark session of its own; prints ratios.

``python -m tests.benchmarks.bench_fit [N_EVENTS]`` (all of Complete Journey by default). The
contenders run in turn, ``N_ROUNDS`` times, so that a machine that slows down slows all:

``ours``      `fit_als` in the session of `recgraph train`
``defaults``  MLlib as its documentation shows it, with its 10 sweeps, in the session a user gets by
              default; only the heap is as large as ours, for 1 GB would not be a fair fight
``same``      the same with as many sweeps as ours: what the sweeps are worth, and what the rest
``tuned``     our model by hand: our sweeps, a block a core, cached input, our collector

Each fits twice: the first fit of a fresh process is what `recgraph train` waits for (``cold``), the
second shows the fit alone (``warm``).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import typer
from pyspark.sql import DataFrame, SparkSession
from pyspark.storagelevel import StorageLevel

from recgraph import jobs
from recgraph.config import Settings, load_settings
from recgraph.spark.model import fit_als, index_interactions
from recgraph.stages import Stages
from tests.benchmarks.bench_spark import mllib, pairs_of, seconds

N_ROUNDS = 3
HEAP = "4g"
CONTENDERS = ("ours", "defaults", "same", "tuned")
MLLIB_SWEEPS = 10
"""The default of its ``maxIter``."""


def settings_for(folder: Path) -> Settings:
    """The settings of all three."""
    return load_settings(data_dir=folder, driver_memory=HEAP, n_factors=32)


def fit_mllib(pairs: DataFrame, settings: Settings, **blocks: int) -> None:
    """MLlib's fit of our model, both sides computed."""
    mllib(pairs, settings, **blocks).itemFactors.count()


def measure(contender: str, folder: Path) -> None:
    """Print the seconds of two fits in this process, as JSON."""
    settings = settings_for(folder)
    if contender == "ours":
        with jobs.open_spark(settings, Stages()) as spark:
            indexed = index_interactions(spark.read.parquet(str(folder / "pairs")))
            report(lambda: fit_als(indexed, settings))
        return
    builder = SparkSession.builder.config("spark.driver.memory", HEAP)
    if contender == "tuned":
        builder = builder.config("spark.driver.extraJavaOptions", "-XX:+UseParallelGC")
    spark = builder.getOrCreate()
    pairs = spark.read.parquet(str(folder / "indexed"))
    n_blocks = spark.sparkContext.defaultParallelism
    blocks = {"numUserBlocks": n_blocks, "numItemBlocks": n_blocks}
    if contender == "tuned":
        pairs = pairs.repartition(n_blocks).persist(StorageLevel.MEMORY_ONLY)
        pairs.count()
    if contender == "defaults":
        settings = settings.model_copy(update={"n_iterations": MLLIB_SWEEPS})
    report(lambda: fit_mllib(pairs, settings, **(blocks if contender == "tuned" else {})))
    spark.stop()


def report(fit: Callable[[], object]) -> None:
    """Run it twice, print how long it took."""
    typer.echo(json.dumps({"cold": seconds(fit), "warm": seconds(fit)}))


def prepare(folder: Path, n_events: int | None) -> None:
    """Write the interactions once, for all."""
    with jobs.open_spark(settings_for(folder), Stages()) as spark:
        pairs_of(spark, n_events).write.parquet(str(folder / "pairs"))
        indexed = index_interactions(spark.read.parquet(str(folder / "pairs")))
        indexed.interactions.write.parquet(str(folder / "indexed"))
        sizes = (indexed.n_users, indexed.n_items, indexed.n_interactions)
        typer.echo("{:,} users, {:,} items, {:,} interactions".format(*sizes))


def run(contender: str, folder: Path) -> dict[str, float]:
    """Measure one contender in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_fit", contender, str(folder)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def main(n_events: int | None) -> None:
    """Run the contenders in turn and print their ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, n_events)
        rounds = []
        for number in range(N_ROUNDS):
            order = CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]
            rounds.append({each: run(each, folder) for each in order})
            time.sleep(1)
    for kind in ("cold", "warm"):
        for each in CONTENDERS:
            taken = statistics.median(found[each][kind] for found in rounds)
            ratio = statistics.median(found[each][kind] / found["ours"][kind] for found in rounds)
            typer.echo(f"{kind} fit, {each}: {taken:.2f} s, {ratio:.2f} x ours")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
