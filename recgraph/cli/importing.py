"""`recgraph import`: files of history straight into the event table."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, app, report, say
from recgraph.cli.columns import (
    EventIdColumn,
    ItemColumn,
    KindColumn,
    QuantityColumn,
    RatingColumn,
    TimeColumn,
    TimeFormat,
    TimeUnit,
    UserColumn,
    column_names,
)
from recgraph.cli.ingest import progress_writer
from recgraph.config import Settings, load_settings
from recgraph.stages import Stages

if TYPE_CHECKING:
    from recgraph.sources import SourceFile

_COUNTS = ("rows", "accepted", "rejected", "duplicates", "conflicts")


@app.command("import", rich_help_panel="Events")
def import_files(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="CSV, JSON Lines or Parquet; .gz too.")
    ],
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "product_id",
    quantity_column: QuantityColumn = "quantity",
    time_column: TimeColumn = "occurred_at",
    event_id_column: EventIdColumn = None,
    rating_column: RatingColumn = None,
    kind_column: KindColumn = None,
    time_unit: TimeUnit = "iso",
    time_format: TimeFormat = None,
    as_json: AsJson = False,
) -> None:
    """Take files of past sales into the event table, without a broker.

    For history of any size; what happens from now on comes by `recgraph ingest`. All files are
    read through before anything is written, and each is taken in whole or not at all. A row that
    is no valid sale is kept with its reason, in the table of rejected messages only: no topic is
    told. Importing a file twice changes nothing, and neither does importing what was replayed: a
    row has the same event id on both roads.

      recgraph import 2023.csv 2024.csv.gz --user-column customer --time-format '%d.%m.%Y'

      recgraph import clicks.jsonl --kind-column action --quantity-column '' --time-unit ms
    """
    columns = column_names(
        user=user_column,
        item=item_column,
        quantity=quantity_column,
        time=time_column,
        event_id=event_id_column,
        rating=rating_column,
        kind=kind_column,
        time_unit=time_unit,
        time_format=time_format,
    )
    from recgraph import sources

    stages = Stages(say)
    with stages("check", f"reading through {', '.join(map(str, paths))}"):
        files = [sources.check_file(path, columns) for path in paths]
    summary = _import(load_settings(), files, stages)
    report(summary, as_json=as_json, render=render_import)


def _import(settings: Settings, files: "list[SourceFile]", stages: Stages) -> dict[str, Any]:
    """Import one file after the other, and what `recgraph import --json` says."""
    from recgraph import jobs
    from recgraph.jobs import importing, ingesting

    with jobs.open_spark(settings, stages) as spark:
        imported = [importing.import_file(spark, settings, file, stages) for file in files]
        progress = ingesting.read_progress(jobs.tables_of(settings))
    with progress_writer(settings) as tell_dashboard:
        tell_dashboard(progress)
    return {
        "files": [msgspec.to_builtins(each) for each in imported],
        **{name: sum(getattr(each, name) for each in imported) for name in _COUNTS},
        "accepted_in_all": progress.accepted,
        "rejected_in_all": progress.rejected,
        "seconds": stages.seconds,
    }


def render_import(summary: Mapping[str, Any]) -> RenderableType:
    """Tables of what became of the rows, and of why some were rejected."""
    table = Table()
    table.add_column("file", overflow="fold")
    for name in _COUNTS:
        table.add_column(name, justify="right")
    for file in summary["files"]:
        table.add_row(Text(file["path"]), *(f"{file[name]:,}" for name in _COUNTS))
    if len(summary["files"]) > 1:
        table.add_section()
        table.add_row("all", *(f"{summary[name]:,}" for name in _COUNTS))
    if not summary["rejected"]:
        return table
    reasons = Table("file", "rejected for", "rows", "for example")
    reasons.columns[0].overflow = "fold"
    for file in summary["files"]:
        for each in file["reasons"]:
            found = Text(each["example"])
            reasons.add_row(Text(file["path"]), each["reason"], f"{each['rows']:,}", found)
    return Group(table, reasons)
