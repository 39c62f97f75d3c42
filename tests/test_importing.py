"""`recgraph import` before it starts Spark, and the tables that a person reads after it."""

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from recgraph.cli import app
from recgraph.cli.importing import render_import
from recgraph.config import Settings
from recgraph.errors import InputError

GOOD = "user_id,product_id,quantity,occurred_at\nu,p,1,2020-01-01\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["good.csv", "missing.csv"], "missing.csv cannot be read: No such file"),
        (["good.csv", "folder.csv"], "folder.csv is a directory"),
        (["empty.csv"], "Empty CSV file"),
        (["good.csv", "--user-column", "who"], "no column who; it has user_id, product_id"),
        (["good.csv", "--time-format", "%Q"], "expected one such as"),
    ],
)
def test_what_cannot_be_imported_is_said_before_anything_starts(
    settings: Settings, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "folder.csv").mkdir()
    result = CliRunner().invoke(app, ["import", *arguments])
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)
    assert not settings.data_dir.exists()


def test_tables_show_each_file_the_sum_and_the_reasons() -> None:
    reason = {"reason": "time_unparseable", "rows": 1200, "example": "'[bold]soon'"}
    file = {"path": "a.csv", "rows": 5000, "accepted": 3800, "rejected": 1200, "duplicates": 0}
    file["conflicts"] = 0
    other = file | {"path": "b.csv", "rejected": 0, "duplicates": 1200, "conflicts": 5}
    other["reasons"] = []
    totals = {"rows": 10_000, "accepted": 7600, "rejected": 1200, "duplicates": 1200}
    totals["conflicts"] = 5
    console = Console(width=100)
    with console.capture() as capture:
        console.print(render_import({"files": [file | {"reasons": [reason]}, other], **totals}))
    shown = capture.get().splitlines()
    for words in (
        ["a.csv", "5,000", "3,800", "1,200", "0", "0"],
        ["b.csv", "5,000", "3,800", "0", "1,200", "5"],
        ["all", "10,000", "7,600", "1,200", "1,200", "5"],
        ["a.csv", "time_unparseable", "1,200", "'[bold]soon'"],
    ):
        assert any([cell.strip() for cell in line.split("│")[1:-1]] == words for line in shown)
