"""The embedded services: start, stop, show."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.table import Table

from recgraph.cli.base import AsJson, app, err, report
from recgraph.config import load_settings

if TYPE_CHECKING:
    from recgraph.services.embedded import ServiceState


@app.command(rich_help_panel="Set-up")
def up(as_json: AsJson = False) -> None:
    """Start the embedded Kafka broker and MongoDB server, and leave them running.

    They listen on free ports of 127.0.0.1 and keep their data below the data folder; every
    command finds them by itself. With RECGRAPH_KAFKA_BOOTSTRAP or RECGRAPH_MONGO_URI set, your
    own server is used and nothing is started in its place.
    """
    from recgraph.services.embedded import ensure_kafka, ensure_mongo

    settings = load_settings()
    ensure_kafka(settings, err.print)
    ensure_mongo(settings, err.print)
    _report_states(as_json=as_json)


@app.command(rich_help_panel="Set-up")
def down(as_json: AsJson = False) -> None:
    """Stop the embedded services; their data stays. Your own servers are left alone."""
    from recgraph.services.embedded import stop_all

    stopped = stop_all(load_settings())
    report({"stopped": stopped}, as_json=as_json, render=_render_stopped)


@app.command(rich_help_panel="Set-up")
def services(as_json: AsJson = False) -> None:
    """Show the services: whether they run, where, and where they keep data and logs.

    Your own servers are asked too. Exit code 1: not every service answers.
    """
    states = _report_states(as_json=as_json)
    if any(state.state != "running" for state in states):
        raise typer.Exit(1)


def _report_states(*, as_json: bool) -> "list[ServiceState]":
    from recgraph.services.embedded import service_states

    states = service_states(load_settings())
    report({"services": msgspec.to_builtins(states)}, as_json=as_json, render=_render_states)
    return states


def _render_states(summary: Mapping[str, Any]) -> Table:
    # A row a fact: paths and addresses stay whole, to be copied, on a terminal of any width.
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    for state in summary["services"]:
        memory = state["memory_bytes"]
        facts = {
            "state": state["state"],
            "address": state["address"],
            "process": state["pid"] and f"{state['pid']}, {memory / 1_000_000:.0f} MB of memory",
            "data": state["data"],
            "log": state["log"],
        }
        known = [(name, value) for name, value in facts.items() if value is not None]
        for number, (name, value) in enumerate(known):
            table.add_row("" if number else f"[bold]{state['name']}[/]", name, value)
    return table


def _render_stopped(summary: Mapping[str, Any]) -> str:
    return "stopped: " + (", ".join(summary["stopped"]) or "nothing was running")
