"""`recgraph export`: a generation as CSV files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from recgraph.cli.base import AsJson, app, bar, report
from recgraph.config import load_settings
from recgraph.generations import resolve


@app.command(rich_help_panel="Generations")
def export(
    generation: Annotated[
        str | None, typer.Option(help="Generation to export; unset, the newest complete one.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write into; unset, the exports folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the graph of a generation as vertices.csv and edges.csv.

    Ids last from generation to generation: u:<user id> and i:<item id>. What each column means,
    and how to read the files with networkx, pandas or GraphFrames, is in exports/README.md.
    """
    from recgraph import exports

    settings = load_settings(exports_dir=output)
    folder = resolve(settings.generations_dir, generation)
    with bar("exporting") as on_progress:
        done = exports.write_export(folder, settings.exports_dir, on_progress)
    report(msgspec.structs.asdict(done), as_json=as_json, render=_render)


def _render(summary: Mapping[str, Any]) -> Table:
    table = Table("file", "rows", title=f"generation {summary['generation']}")
    for name in ("vertices", "edges"):
        table.add_row(summary[f"{name}_path"], f"{summary[name]:,}")
    return table
