"""`recgraph reviews load` of a file and of one ten times as long, beside what reads it otherwise.

``python -m tests.benchmarks.bench_reviews [N_ROWS] [--only-load]`` (200,000 and 2,000,000 lines by
default, of `tests.benchmarks.reviews_data`, gzip). Each load is a process of its own on an empty
data folder; its memory is that of all its processes at the worst moment, and should not grow with
the file. The smaller file is also counted by plain Spark (``spark.read.json`` with a schema) and
written to MongoDB by pymongo's ``insert_many`` alone, line by line as it stands. Starts are left
out.
"""

import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from pymongo import MongoClient

from recgraph.config import load_settings
from recgraph.jars import spark_jars
from recgraph.memory import watch_memory
from recgraph.services.embedded import ensure_mongo, stop_all
from recgraph.spark.session import open_session
from tests.benchmarks.reviews_data import write_reviews

_DOCUMENTS_A_WRITE = 5_000
_PLAIN_SCHEMA = (
    "overall double, verified boolean, reviewerID string, asin string, reviewText string, "
    "summary string, unixReviewTime long, vote string, style map<string, string>"
)


class Loaded(NamedTuple):
    """What a load took."""

    seconds: float
    peak_mb: float


def text_bytes(path: Path) -> int:
    """How long the text of a gzip file is."""
    size = 0
    with gzip.open(path) as file:
        while part := file.read1(1 << 20):
            size += len(part)
    return size


def load(folder: Path, path: Path, n_rows: int) -> Loaded:
    """Load a file by the command, and say how it went."""
    command = [sys.executable, "-m", "recgraph.cli", "reviews", "load", str(path), "--json"]
    environment = os.environ | {"RECGRAPH_DATA_DIR": str(folder / f"data-{n_rows}")}
    with watch_memory(list) as peak:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    summary = msgspec.json.decode(done.stdout)
    assert summary["lines"] == n_rows
    parts = ", ".join(f"{summary[name]:,} {name}" for name in ("loaded", "rejected", "duplicates"))
    spent = ", ".join(f"{stage} {seconds} s" for stage, seconds in summary["seconds"].items())
    typer.echo(f"{n_rows:,} lines: {parts}; {spent}; {peak.peak_bytes / 2**20:,.0f} MB at most")
    seconds = summary["seconds"]
    return Loaded(seconds["load"] + seconds["duplicates"], peak.peak_bytes / 2**20)


def count_by_spark(folder: Path, path: Path) -> float:
    """Seconds of plain Spark to read and count the lines; it keeps nothing."""
    settings = load_settings(data_dir=folder / "spark")
    with open_session(settings, spark_jars(settings)) as spark:
        spark.range(1).count()
        started = time.perf_counter()
        # Bare, a count would not look at a single field.
        lines = spark.read.schema(_PLAIN_SCHEMA).json(str(path))
        lines.selectExpr(*(f"max({name}) as {name}" for name in lines.columns[:-1])).collect()
        return time.perf_counter() - started


def write_to_mongo(folder: Path, path: Path) -> float:
    """Seconds of pymongo alone: decode each line, and insert it."""
    settings = load_settings(data_dir=folder / "mongo")
    uri = ensure_mongo(settings)
    try:
        with MongoClient(uri) as client, gzip.open(path) as file:
            collection = client["bench"]["reviews"]
            started = time.perf_counter()
            batch = []
            for line in file:
                try:
                    batch.append(msgspec.json.decode(line))
                except msgspec.DecodeError:
                    continue
                if len(batch) == _DOCUMENTS_A_WRITE:
                    collection.insert_many(batch, ordered=False)
                    batch = []
            if batch:
                collection.insert_many(batch, ordered=False)
            return time.perf_counter() - started
    finally:
        stop_all(settings)


def publish(folder: Path, n_rows: int) -> float:
    """Seconds of `recgraph reviews publish`, with its start and the index."""
    settings = load_settings(data_dir=folder / f"data-{n_rows}")
    uri = ensure_mongo(settings)
    command = [sys.executable, "-m", "recgraph.cli", "reviews", "publish", "--json"]
    environment = os.environ | {
        "RECGRAPH_DATA_DIR": str(settings.data_dir),
        "RECGRAPH_MONGO_URI": uri,
    }
    try:
        started = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        return time.perf_counter() - started
    finally:
        stop_all(settings)


def main(n_rows: Annotated[int, typer.Argument()] = 200_000, only_load: bool = False) -> None:
    """Load both files, read the smaller one otherwise, and print the ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, path_10 = folder / "reviews.json.gz", folder / "reviews_10.json.gz"
        write_reviews(path, n_rows)
        write_reviews(path_10, 10 * n_rows)
        size = text_bytes(path) / 1e6
        one, ten = load(folder, path, n_rows), load(folder, path_10, 10 * n_rows)
        rates = {
            "recgraph reviews load": n_rows / one.seconds,
            "recgraph reviews load, 10x": 10 * n_rows / ten.seconds,
        }
        if not only_load:
            rates |= {
                "plain Spark JSON, counted": n_rows / count_by_spark(folder, path),
                "pymongo insert_many": n_rows / write_to_mongo(folder, path),
                "recgraph reviews publish": n_rows / publish(folder, n_rows),
            }
    for what, rate in rates.items():
        typer.echo(f"{what}: {rate:,.0f} reviews/s, {rate * size / n_rows:,.1f} MB/s of text")
    typer.echo(
        f"10x: reviews/s {one.seconds * 10 / ten.seconds:.2f}, "
        f"peak memory {ten.peak_mb / one.peak_mb:.2f}"
    )


if __name__ == "__main__":
    typer.run(main)
