"""The commands, a module a group; each imports Spark, services and pages only when it runs."""

import signal
import sys
from typing import Annotated

import typer

from recgraph import __version__, logs
from recgraph.cli import (  # noqa: F401
    catalogue,
    demo,
    doctor,
    evaluate,
    events,
    exploring,
    export,
    features,
    generations,
    importing,
    ingest,
    keys,
    live,
    pipeline,
    rejected,
    reviews,
    run,
    sampling,
    serve,
    services,
    status,
    stream,
    train,
    tune,
    users,
)
from recgraph.cli.base import app, err
from recgraph.errors import ConfigError, RecgraphError

_INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal."""


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"recgraph {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    # `main` reads --debug before typer does: an error may come while typer still parses.
    del debug, version


def main() -> None:
    """Run the command line; an expected error is one line, and the exit code says which kind.

    Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage or a wrong setting,
    130 interrupted.
    """
    logs.configure()
    try:
        app()
    except RecgraphError as error:
        if "--debug" in sys.argv:
            raise
        err.print("error:", style="bold red", end=" ")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer exits so at Ctrl-C, without a word.
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # else a second one breaks off the exit
        err.print("stopped")
        sys.exit(_INTERRUPTED)
