"""``python -m tests.benchmarks``: every benchmark, one after the other; each prints ratios."""

import runpy
from pathlib import Path

import typer

for path in sorted(Path(__file__).parent.glob("bench_*.py")):
    typer.echo(f"== {path.stem}")
    runpy.run_module(f"tests.benchmarks.{path.stem}", run_name="__main__")
