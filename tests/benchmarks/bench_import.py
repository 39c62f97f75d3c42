"""`recgraph import` of a file and of one ten times as long: rows a second, peak memory.

``python -m tests.benchmarks.bench_import [N_ROWS]`` (100,000 and 1,000,000 rows by default). Each
import is a process of its own on an empty data folder; its memory is that of all its processes
(driver, JVM, workers) together at the worst moment. Flat memory is the aim: the ratio says.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import typer

from recgraph.memory import watch_memory

_CHUNK_ROWS = 500_000


def write_sales(path: Path, n_rows: int) -> None:
    """A CSV of sales: 100,000 users, 20,000 items, a year, some returns and some rubbish."""
    rng = np.random.default_rng(7)
    start = np.datetime64("2020-01-01T00:00:00")
    names = ["user_id", "product_id", "quantity", "occurred_at", "note"]
    schema = pa.schema([(name, pa.string()) for name in names])
    with pa.csv.CSVWriter(path, schema) as writer:
        for first in range(0, n_rows, _CHUNK_ROWS):
            size = min(_CHUNK_ROWS, n_rows - first)
            times = start + rng.integers(0, 31_536_000, size).astype("timedelta64[s]")
            quantities = rng.choice(
                ["1", "2", "6", "-1", "many"], size, p=[0.6, 0.2, 0.1, 0.09, 0.01]
            )
            columns = [
                rng.integers(100_000, size=size).astype(str),
                rng.zipf(1.3, size).clip(max=20_000).astype(str),
                quantities,
                times.astype(str),
                np.full(size, "a column that nobody asks for"),
            ]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


def measure(folder: Path, n_rows: int) -> tuple[float, float]:
    """Rows a second of the import, start of Spark left out, and its peak memory in MB."""
    path = folder / f"{n_rows}.csv"
    write_sales(path, n_rows)
    command = [sys.executable, "-m", "recgraph.cli", "import", str(path), "--json"]
    environment = os.environ | {"RECGRAPH_DATA_DIR": str(folder / f"data-{n_rows}")}
    started = time.perf_counter()
    with watch_memory(list) as peak:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    whole = time.perf_counter() - started
    summary = msgspec.json.decode(done.stdout)
    seconds = sum(spent for stage, spent in summary["seconds"].items() if stage != "spark")
    rate, peak_mb = n_rows / seconds, peak.peak_bytes / 2**20
    kept = f"{summary['accepted']:,} accepted, {summary['rejected']:,} rejected"
    typer.echo(
        f"{n_rows:,} rows ({path.stat().st_size / 1e6:,.0f} MB), {kept}: "
        f"{rate:,.0f} rows/s, {whole:.0f} s with start, {peak_mb:,.0f} MB at most"
    )
    return rate, peak_mb


def main(n_rows: int) -> None:
    """Import both files and print the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        rate, peak_mb = measure(Path(folder), n_rows)
        rate_10, peak_mb_10 = measure(Path(folder), 10 * n_rows)
    typer.echo(f"10x: rows/s {rate_10 / rate:.2f}, peak memory {peak_mb_10 / peak_mb:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
