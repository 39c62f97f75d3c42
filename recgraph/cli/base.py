"""What every command shares: the application, its two output channels, the common options.

What a person or a script asked for goes to standard output; progress and notices go to standard
error, so that ``--json`` leaves one JSON object on standard output and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

PANELS = ("Set-up", "Events", "Model", "Generations", "Dashboard")
"""The order of the flow, in which ``--help`` shows the commands."""


class FlowOrder(TyperGroup):
    """Commands in the order of the flow, whatever the order of the imports."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """The names, panel by panel."""
        return sorted(self.commands, key=self._place)

    def _place(self, name: str) -> int:
        panel = getattr(self.commands[name], "rich_help_panel", None)
        return PANELS.index(panel) if panel in PANELS else len(PANELS)


app = typer.Typer(
    name="recgraph",
    cls=FlowOrder,
    help="Sales events in, recommendations out, as a graph you can see and walk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

out = Console()
err = Console(stderr=True)


def say(line: str) -> None:
    """Print a line on standard error as it stands: a path in it may look like markup."""
    err.print(line, markup=False)


AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, for scripts.")
]


def report(
    summary: Mapping[str, Any],
    *,
    as_json: bool,
    render: Callable[[Mapping[str, Any]], RenderableType],
) -> None:
    """Print a command's summary: as JSON for a script, rendered for a person."""
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
    else:
        out.print(render(summary))


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how many of how many are done, as a bar on standard error."""
    columns = (TextColumn(description), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Into a file, a bar would leave nothing but an empty line.
    disable = not err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=disable) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
