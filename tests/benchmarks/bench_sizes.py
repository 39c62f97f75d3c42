"""Training on reviews, and what comes before it, at several sizes: seconds and memory.

``python -m tests.benchmarks.bench_sizes [N_ROWS ...] [--steps STEPS] [--folder DIR]``, 1,000,000
rows and all steps by default. Spark makes the table of reviews, from the distributions of
`tests.benchmarks.reviews_data` and without files: what loading takes, `bench_reviews` measures.
Each step is a process of its own, the command where there is one; its memory and its CPU time are
those of all its processes together. Settings come from the environment, such as
``RECGRAPH_N_FACTORS=16``.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import pyarrow as pa
import typer
from pyspark.sql.pandas.types import to_arrow_schema

from recgraph import jobs
from recgraph.columns import Columns as C
from recgraph.config import load_settings
from recgraph.exports import write_export
from recgraph.jobs.source import read_source
from recgraph.jobs.training import train
from recgraph.memory import watch_memory
from recgraph.spark import blend
from recgraph.spark import reviews as spark_reviews
from recgraph.spark.interactions import training_interactions
from recgraph.spark.model import fit_als, index_interactions
from recgraph.spark.recommend import recommend_top_k
from recgraph.spark.text import cleaned
from recgraph.stages import Stages
from tests.benchmarks import reviews_data

_BATCH = 20_000
_EVERY_S = 0.5
_ARROW_LINES = to_arrow_schema(spark_reviews.LINE_SCHEMA)
_CLI = ("-m", "recgraph.cli")
_SELF = ("-m", "tests.benchmarks.bench_sizes")
STEPS = {
    "table": (*_SELF, "--only", "table"),
    "copies": (*_SELF, "--only", "copies"),
    "clean": (*_SELF, "--only", "clean"),
    "sample": (*_CLI, "reviews", "sample", "--fraction", "0.01", "--output", "sample.parquet"),
    "features": (*_CLI, "reviews", "features"),
    "fit": (*_SELF, "--only", "fit"),
    "train": (*_SELF, "--only", "train"),
}
"""Step -> what Python is given."""


def rows_of(
    batches: Iterable[pa.RecordBatch], *, n_rows: int, with_texts: bool
) -> Iterator[pa.RecordBatch]:
    """The lines of the batches whose numbers come in, as `recgraph.spark.reviews.LINE_SCHEMA`."""
    words = reviews_data.vocabulary(np.random.default_rng(1))
    for number in (number for batch in batches for number in batch.column(0).to_pylist()):
        first = number * _BATCH
        rng = np.random.default_rng([1, number])
        n = min(_BATCH, n_rows - first)
        users, items = reviews_data.users_and_items(rng, n, n_rows)
        lines = np.arange(first, first + n)
        columns = {
            C.LINE: lines + 1,
            C.REVIEW_ID: [f"{line * 0x9E3779B97F4A7C15 % 2**64:032x}" for line in lines.tolist()],
            C.USER_ID: [f"A{user:012X}" for user in users.tolist()],
            C.ITEM_ID: [f"B{item:09X}" for item in items.tolist()],
            C.RATING: reviews_data.ratings_of(rng, users, items),
            C.REVIEWED_AT: reviews_data.seconds_of(rng, n) * 1_000_000,
            C.HELPFUL_VOTES: np.zeros(n, np.int64),
            C.VERIFIED: np.ones(n, bool),
            C.TEXT: reviews_data.texts_of(rng, words, n) if with_texts else [""] * n,
        }
        same = {C.FILE_ID: "generated", C.FILE: "generated", C.SOURCE_FORMAT: "2018", C.TITLE: ""}
        same[C.LOADED_AT] = datetime(2026, 1, 1, tzinfo=UTC)
        arrays = [
            pa.array(columns[field.name]).cast(field.type)
            if field.name in columns
            else pa.repeat(pa.scalar(same.get(field.name), field.type), n)
            for field in _ARROW_LINES
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW_LINES)


def make_table(n_rows: int, *, with_texts: bool) -> None:
    """Make the table of reviews in the data folder."""
    settings, stages = load_settings(), Stages(typer.echo)
    with jobs.open_spark(settings, stages) as spark, stages("table", "making the table"):
        where = spark_reviews.tables_in(settings.reviews_dir)
        spark_reviews.create_table(spark, where)
        n_batches = -(-n_rows // _BATCH)
        make = partial(rows_of, n_rows=n_rows, with_texts=with_texts)
        numbers = spark.range(0, n_batches, 1, -(-n_batches // 50))
        lines = numbers.mapInArrow(make, spark_reviews.LINE_SCHEMA)
        lines.write.format("delta").mode("append").save(str(where.lines))


def find_copies() -> None:
    """Look for copies, as the end of a load does."""
    settings, stages = load_settings(), Stages(typer.echo)
    with jobs.open_spark(settings, stages) as spark, stages("copies", "looking for copies"):
        spark_reviews.write_copies(spark, spark_reviews.tables_in(settings.reviews_dir))


def clean() -> None:
    """Clean all texts, and keep nothing."""
    settings, stages = load_settings(), Stages(typer.echo)
    with jobs.open_spark(settings, stages) as spark, stages("clean", "cleaning"):
        reviews = spark_reviews.read_reviews(spark, spark_reviews.tables_in(settings.reviews_dir))
        cleaned(reviews).write.format("noop").mode("overwrite").save()


def fit() -> None:
    """Fit ALS to all reviews and make the lists: a training without evaluation and graph."""
    settings, stages = load_settings(train_on="reviews"), Stages(typer.echo)
    with jobs.open_spark(settings, stages) as spark:
        with timed("read"):
            events = read_source(spark, settings).events
        with timed("interactions"):
            indexed = index_interactions(training_interactions(events, settings))
        sizes = f"{indexed.n_interactions:,} ratings, {indexed.n_users:,} users"
        typer.echo(f"{sizes}, {indexed.n_items:,} items")
        with timed("fit"):
            factors = fit_als(indexed, settings)
        with timed("top-N"):
            model = blend.blended(indexed, factors, settings)
            recommend_top_k(model, settings)


def train_whole() -> None:
    """Train as `recgraph train --on reviews` does, export, and say what each stage took."""
    settings, stages = load_settings(train_on="reviews"), Measured(typer.echo)
    with jobs.open_spark(settings, stages) as spark:
        made = train(spark, settings, stages)
    with stages("export", "exporting"):
        write_export(settings.generations_dir / made.id, settings.exports_dir)
    counts = made.counts
    typer.echo(f"{counts.interactions:,} ratings, {counts.users:,} users, {counts.items:,} items")
    typer.echo(
        f"{counts.vertices:,} vertices, {counts.edges:,} edges; {made.status}, {made.reason}"
    )
    for each in made.metrics.errors:
        typer.echo(f"  {each.predictor}: RMSE {each.rmse:.4f}, MAE {each.mae:.4f}")


class Measured(Stages):
    """Stages that say what each of them took: time, CPU time and memory of all processes."""

    @contextmanager
    def __call__(self, name: str, description: str) -> Iterator[None]:
        """Measure the block as stage ``name``."""
        with super().__call__(name, description), watch_memory(list) as peak, timed(name):
            yield
        typer.echo(f"  {name}: {peak.peak_bytes / 2**30:.2f} GiB at most")


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Say how long the block took, and how much CPU time."""
    started = time.monotonic()
    with watch_cpu(psutil.Process()) as spent:
        yield
    said = f"{time.monotonic() - started:,.0f} s, {sum(spent.values()):,.0f} s of CPU"
    typer.echo(f"  {stage}: {said}")


@contextmanager
def watch_cpu(root: psutil.Process) -> Iterator[dict[psutil.Process, float]]:
    """CPU seconds of a process and of all below it while the block runs.

    Whoever ends is not forgotten: nobody waits for the Python workers of Spark, so that no parent
    knows what they used.
    """
    spent: dict[psutil.Process, float] = {}
    before: dict[psutil.Process, float] = {}
    done = threading.Event()

    def look() -> None:
        with suppress(psutil.NoSuchProcess):
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    spent[process] = times.user + times.system - before.get(process, 0.0)

    def watch() -> None:
        while not done.wait(_EVERY_S):
            look()

    look()
    before |= spent
    spent.clear()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield spent
    finally:
        done.set()
        watcher.join()
        look()


def run(step: str, n_rows: int, folder: Path, *, with_texts: bool) -> None:
    """Run a step as a process of its own, and say what it took."""
    environment = os.environ | {
        "RECGRAPH_DATA_DIR": str(folder / "data"),
        "PYTHONPATH": str(Path.cwd()),
    }
    command = [sys.executable, *STEPS[step]]
    if step == "table":
        command += [str(n_rows), *(["--texts"] if with_texts else [])]
    started = time.monotonic()
    with watch_memory(list) as peak, watch_cpu(psutil.Process()) as cpu:
        done = subprocess.run(command, env=environment, cwd=folder, check=False)
    spent = f"{time.monotonic() - started:,.0f} s, {sum(cpu.values()):,.0f} s of CPU"
    said = f"{n_rows:,} rows, {step}: {spent}, {peak.peak_bytes / 2**30:.2f} GiB at most"
    typer.echo(said + ("" if done.returncode == 0 else f", ended with {done.returncode}"))


def main(
    n_rows: Annotated[list[int] | None, typer.Argument()] = None,
    steps: str = ",".join(STEPS),
    folder: Path | None = None,
    texts: bool = False,
    only: str | None = None,
) -> None:
    """Run the steps at each size."""
    if only:
        within = {"copies": find_copies, "clean": clean, "fit": fit, "train": train_whole}
        if only == "table":
            assert n_rows is not None
            make_table(n_rows[0], with_texts=texts)
        else:
            within[only]()
        return
    for n in n_rows or [1_000_000]:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            for step in steps.split(","):
                run(step, n, Path(name), with_texts=texts)


if __name__ == "__main__":
    typer.run(main)
