"""`recgraph reviews sample`: some products with all their reviews, and proof that they are fair."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, say
from recgraph.cli.base import report as print_report
from recgraph.cli.reviews import reviews_app
from recgraph.config import load_settings
from recgraph.errors import InputError
from recgraph.stages import Stages

if TYPE_CHECKING:
    from recgraph.proof import Report

_STYLES = {"faithful": "green", "not faithful": "bold red", "too small": "yellow"}


@reviews_app.command()
def sample(
    fraction: Annotated[
        float | None, typer.Option(help="Share of the products of each stratum; 0.01 unless set.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="About so many reviews, in place of --fraction.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same products.")] = 0,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="Where the sample is written.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="Prove a sample that was made elsewhere."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE", help="Write the proof: FILE.html, FILE.json, or both into DIR."
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, help="What may be off by more through chance is too small."),
    ] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Sample whole products, and say whether the sample is faithful.

    Products with 1, 2 to 9, 10 to 99 and 100 or more reviews are drawn apart, by a hash of their
    id: the same ones for the same seed. All reviews of a chosen product are in the sample, with a
    weight: so many reviews of the whole each stands for.

    Then ratings, lengths, years, and reviews per user and per product are compared with the whole,
    beside 1,999 other samples made the same way: 99 in 100 true samples pass. A sample that fails
    ends with exit code 1, as does one that is too small to tell. --check compares a file that was
    made elsewhere, as a random one of whole products. How and why: docs/sampling.md.

      recgraph reviews sample --fraction 0.01 --output sample.parquet --report proof
    """
    if (output is None) == (check is None) or (check and (fraction or size)):
        message = "give --output FILE to make a sample, or --check FILE to prove one."
        raise InputError(message)
    if fraction is not None and size is not None:
        message = "give --fraction or --size, not both."
        raise InputError(message)
    from recgraph import jobs
    from recgraph.jobs import sampling

    settings = load_settings()
    wanted = sampling.Wanted(0.01 if fraction is None and size is None else fraction, size, seed)
    sampling.check_arguments(settings, wanted, output=output, check=check)
    stages = Stages(say)
    with jobs.open_spark(settings, stages) as spark:
        if output is not None:
            sampling.sample(spark, settings, wanted, output, stages)
        path = output or check
        assert path is not None  # one of them is given
        found = sampling.prove(spark, settings, path, stages, seed=seed, tolerance=tolerance)
    if report is not None:
        _write(found, report, f"Sample of reviews: {path.name}")
    summary = {"file": str(path), **msgspec.to_builtins(found), "seconds": stages.seconds}
    print_report(summary, as_json=as_json, render=render_sample)
    if found.verdict != "faithful":
        raise typer.Exit(1)


def _write(found: "Report", where: Path, title: str) -> None:
    """Write the report as the name says: a page, JSON, or a folder with both."""
    from dashboards.sample_report import sample_page

    names = [where] if where.suffix else [where / "report.html", where / "report.json"]
    for path in names:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_json = path.suffix == ".json"
        text = msgspec.json.encode(found).decode() if is_json else sample_page(found, title)
        path.write_text(text, encoding="utf-8")
        say(f"wrote {path}")


def render_sample(summary: Mapping[str, Any]) -> RenderableType:
    """The verdict, the checks, and what was drawn."""
    strata = Table("reviews of a product", title="strata", title_justify="left")
    for name in ("products", "in the sample", "each stands for"):
        strata.add_column(name, justify="right")
    for each in summary["strata"]:
        numbers = f"{each['n_products']:,}", f"{each['n_chosen']:,}", f"{each['weight']:.1f}"
        strata.add_row(each["name"], *numbers)
    counts = f"{summary['n_sample_reviews']:,} reviews of {summary['n_reviews']:,}"
    verdict = Text(summary["sentence"], style=_STYLES[summary["verdict"]])
    return Group(Text(counts), strata, _checks(summary["checks"]), verdict)


def _checks(checks: list[dict[str, Any]]) -> Table:
    table = Table("variable", "statistic", title="checks", title_justify="left")
    for name in ("found", "bound", "p"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in checks:
        p_value = "" if each["p_value"] is None else f"{each['p_value']:.3f}"
        numbers = f"{each['value']:.4g}", f"{each['bound']:.4g}", p_value
        said = Text("passed", "green") if each["passed"] else Text("failed", "bold red")
        table.add_row(each["variable"].replace("_", " "), each["statistic"], *numbers, said)
    return table
