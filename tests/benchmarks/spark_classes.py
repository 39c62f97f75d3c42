"""Which classes Spark loads for commands of recgraph -> ``recgraph/spark/classes.gz``.

``python -m tests.benchmarks.spark_classes``: the demo, and a training on generated reviews, in a
folder of its own. To be run again when the pins of Spark or of its jars change; an older list still
does, for what it names and does not find is passed over.
"""

import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from recgraph.spark.archive import CLASSES
from tests.benchmarks import reviews_data

_N_REVIEWS = 20_000
_OF_SPARK = "org/apache/spark/SparkContext"


def record(folder: Path) -> None:
    """Run commands whose JVMs write down the classes they load, each in a file of its own."""
    reviews = folder / "reviews.jsonl"
    reviews_data.write_reviews(reviews, _N_REVIEWS)
    options = f"-Xshare:off -XX:DumpLoadedClassList={folder}/%p.classes"
    environment = os.environ | {
        "RECGRAPH_DATA_DIR": str(folder / "data"),
        "RECGRAPH_EXPORTS_DIR": str(folder / "exports"),
        "JDK_JAVA_OPTIONS": options,
    }
    for command in (
        ["demo", "--exit"],
        ["reviews", "load", str(reviews)],
        ["train", "--on", "reviews"],
    ):
        typer.echo(f"recgraph {' '.join(command)}")
        subprocess.run(
            [sys.executable, "-m", "recgraph.cli", *command], env=environment, check=True
        )


def merged(folder: Path) -> list[str]:
    """Every line of the lists of Spark's JVMs, once, in the order of the longest list."""
    lists = [path.read_text().splitlines() for path in folder.glob("*.classes")]
    of_spark = sorted((lines for lines in lists if _OF_SPARK in lines), key=len, reverse=True)
    return list(dict.fromkeys(line for lines in of_spark for line in lines if line[:1] != "#"))


def main() -> None:
    """Record, merge and write."""
    with tempfile.TemporaryDirectory() as name:
        record(Path(name))
        lines = merged(Path(name))
    CLASSES.write_bytes(gzip.compress("\n".join([*lines, ""]).encode(), mtime=0))
    typer.echo(f"{len(lines):,} lines in {CLASSES}, {CLASSES.stat().st_size:,} bytes")


if __name__ == "__main__":
    typer.run(main)
