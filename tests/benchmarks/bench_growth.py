"""How fit, top-N and memory grow with 1x, 3x and 10x the sales; prints a table with exponents.

``python -m tests.benchmarks.bench_growth [N_PURCHASES]`` (100,000 at 1x by default). Users grow as
the sales do, items as their root. Each size runs in a fresh process and a Spark session of its own;
memory is the peak of all its processes together. An exponent of 1 means: ten times the sales take
ten times as long.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import typer
from pyspark.sql import functions as F

from recgraph import jobs
from recgraph.config import load_settings
from recgraph.memory import watch_memory
from recgraph.spark import blend
from recgraph.spark.model import fit_als, index_interactions
from recgraph.spark.recommend import recommend_top_k
from recgraph.stages import Stages
from tests.benchmarks.bench_spark import seconds
from tests.benchmarks.sales import make_sales, table_of

SCALES = (1, 3, 10)
USERS_A_PURCHASE, ITEMS_AT_1X = 0.01, 5_000
MEASURED = {
    "fit_s": "ALS fit, s",
    "walk_s": "walk and blend, s",
    "top_n_s": "top 10, s",
    "peak_gib": "peak memory, GiB",
}


def measure(n_purchases: int, scale: int) -> None:
    """Print the sizes and figures of one size, as JSON."""
    n_users = int(USERS_A_PURCHASE * n_purchases * scale)
    n_items = int(ITEMS_AT_1X * scale**0.5)
    with tempfile.TemporaryDirectory() as name, watch_memory(list) as peak:
        folder = Path(name)
        sales = make_sales(n_users, n_items, n_purchases * scale)
        pq.write_table(table_of(sales), folder / "sales.parquet")
        settings = load_settings(data_dir=folder, driver_memory="4g")
        with jobs.open_spark(settings, Stages()) as spark:
            pairs = (
                spark.read.parquet(str(folder / "sales.parquet"))
                .groupBy("user_id", "item_id")
                .agg(
                    F.count("*").cast("float").alias("rating"),
                    F.count("*").cast("int").alias("n_events"),
                    F.max("occurred_at").alias("last_at"),
                )
                .selectExpr(
                    "*",
                    "rating as recent_rating",
                    "rating as repeat_rating",
                    "rating as early_rating",
                    "true as is_bought",
                )
            )
            indexed = index_interactions(pairs)
            found: dict[str, object] = {}
            took = {
                "fit_s": seconds(lambda: found.update(als=fit_als(indexed, settings))),
                "walk_s": seconds(
                    lambda: found.update(model=blend.blended(indexed, found["als"], settings))
                ),
                "top_n_s": seconds(lambda: recommend_top_k(found["model"], settings)),
            }
            sizes = {
                name: getattr(indexed, name) for name in ("n_users", "n_items", "n_interactions")
            }
    typer.echo(json.dumps(sizes | took | {"peak_gib": peak.peak_bytes / 2**30}))


def exponent(rows: list[dict[str, float]], name: str) -> float:
    """The slope of a figure over the interactions, both as logarithms."""
    interactions = np.log([row["n_interactions"] for row in rows])
    return float(np.polyfit(interactions, np.log([row[name] for row in rows]), 1)[0])


def main(n_purchases: int) -> None:
    """Measure every size and print the table."""
    rows = []
    for scale in SCALES:
        command = [sys.executable, "-m", "tests.benchmarks.bench_growth"]
        asked = [*command, str(n_purchases), str(scale)]
        printed = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(printed.splitlines()[-1]))
    heads = [f"{scale}x" for scale in SCALES]
    typer.echo(f"| | {' | '.join(heads)} | exponent |\n|---|{'---|' * (len(heads) + 1)}")
    for name in ("n_users", "n_items", "n_interactions"):
        typer.echo(f"| {name} | {' | '.join(f'{row[name]:,}' for row in rows)} | |")
    for name, title in MEASURED.items():
        cells = " | ".join(f"{row[name]:.1f}" for row in rows)
        typer.echo(f"| {title} | {cells} | {exponent(rows, name):.2f} |")


if __name__ == "__main__":
    n_purchases, *scale = [int(each) for each in sys.argv[1:]] or [100_000]
    if scale:
        measure(n_purchases, scale[0])
    else:
        main(n_purchases)
