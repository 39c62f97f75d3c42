"""Set-up: what is there, what is missing, and fetching the jars ahead of time."""

from collections.abc import Mapping
from typing import Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, app, report
from recgraph.config import load_settings

_COLOURS = {"ok": "green", "warning": "yellow", "missing": "bold red"}


@app.command(rich_help_panel="Set-up")
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has and what is missing, each with the command that mends it.

    Nothing is changed. Exit code 1: something is missing that recgraph cannot work without.
    """
    from recgraph.doctor import examine, is_healthy

    findings = examine(load_settings())
    healthy = is_healthy(findings)
    summary = {"healthy": healthy, "findings": msgspec.to_builtins(findings)}
    report(summary, as_json=as_json, render=_render_findings)
    if not healthy:
        raise typer.Exit(1)


@app.command(rich_help_panel="Set-up")
def jars(as_json: AsJson = False) -> None:
    """Download the jars of Spark and Kafka now: for an image, or before going offline.

    Every command fetches what it needs by itself; jars that are there are not fetched again. An
    archive of Spark's classes is made too, in a minute or two, by which Spark starts faster.
    With RECGRAPH_KAFKA_BOOTSTRAP set, there is no embedded broker that would need any.
    """
    from recgraph.jars import kafka_jars, spark_jars
    from recgraph.spark import archive

    settings = load_settings()
    of_spark = spark_jars(settings)
    found = of_spark + (kafka_jars(settings) if settings.kafka_bootstrap is None else [])
    made = archive.make_archive(settings.cache_dir, of_spark)
    summary = {
        "jars": len(found),
        "bytes": sum(jar.stat().st_size for jar in found),
        "folders": sorted({str(jar.parent) for jar in found}),
        "archive": str(made) if archive.is_made(made) else None,
    }
    report(summary, as_json=as_json, render=_render_jars)


def _render_findings(summary: Mapping[str, Any]) -> Table:
    table = Table("", "state", "found", "mend with", box=None, pad_edge=False)
    for finding in summary["findings"]:
        state = Text(finding["level"], style=_COLOURS[finding["level"]])
        table.add_row(finding["check"], state, *_plain(finding["found"], finding["mend"]))
    return table


def _plain(*cells: str | None) -> list[Text]:
    """Return cells whose brackets are brackets: rich would read ``[demo]`` as a style."""
    return [Text(cell or "") for cell in cells]


def _render_jars(summary: Mapping[str, Any]) -> str:
    megabytes = summary["bytes"] / 1_000_000
    archive = summary["archive"] or "none could be made, which costs each start some seconds"
    folders = ", ".join(summary["folders"])
    return (
        f"{summary['jars']} jars, {megabytes:.0f} MB, in {folders}\narchive of classes: {archive}"
    )
