"""`recgraph demo`: the whole flow on real sales data and embedded services, in one command."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import msgspec
import psutil
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from recgraph.cli.base import AsJson, app, bar, err, report
from recgraph.cli.catalogue import run_load
from recgraph.cli.events import delivery_summary, send
from recgraph.cli.generations import opened_store, run_publish
from recgraph.cli.ingest import run_ingest
from recgraph.cli.train import render_training
from recgraph.config import Settings, load_settings
from recgraph.stages import Stages

N_EVENTS = 200_000
LIVE_RATE = 25
"""Events a second that go on arriving while the dashboard is open."""

Summary = dict[str, Any]


@app.command(rich_help_panel="Set-up")
def demo(
    leave: Annotated[
        bool, typer.Option("--exit", help="End when all is made, without serving it.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All 1,469,307 events instead of the first 200,000.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make all anew where a demo was made before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Walk real recommendations in minutes: events, training, graph, export, dashboard.

    Sales of 2,469 households go through a Kafka broker and Spark into recommendations, a graph,
    CSV files and MongoDB, all on this machine; then the dashboard opens while sales go on
    arriving, each of which changes its buyer's list at once: see the page Shop. What it makes is
    kept in the data folder, and opened at once the next time. Ctrl-C ends it, and the services
    with it.
    """
    settings = load_settings()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends it as Ctrl-C does
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    n_events = None if everything else N_EVENTS
    with _services(settings) as stages:
        made = None if leave or everything or again else _made_before(settings)
        if made is None:
            summary = make(settings, stages, n_events=n_events)
            report(summary, as_json=as_json, render=_render)
        else:
            err.print(
                f"{settings.data_dir} holds generation {made}: opening it. `recgraph demo --again` "
                "makes all anew."
            )
        if not leave:
            _stay(settings, n_events=n_events)


def _made_before(settings: Settings) -> str | None:
    """The generation that is current already, None before there is one."""
    with opened_store(settings) as store:
        pointer = store.pointer()
    return None if pointer is None else pointer.generation


@contextmanager
def _services(settings: Settings) -> Iterator[Stages]:
    """Start the embedded services, timed; stop those that were not running before."""
    from recgraph.services import embedded, processes

    services = (embedded.kafka_service(settings), embedded.mongo_service(settings))
    ours = [service for service in services if processes.running(service) is None]
    stages = Stages(lambda line: err.rule(f"[bold]{line}", align="left"))
    try:
        with stages("up", "starting Kafka and MongoDB"):
            embedded.ensure_kafka(settings, err.print)
            embedded.ensure_mongo(settings, err.print)
        yield stages
    finally:
        for service in ours:
            processes.stop(service)


def make(settings: Settings, stages: Stages, *, n_events: int | None) -> Summary:
    """Run every stage from the sales to the published generation, and say what came of it."""
    from recgraph import exports, generations, jobs, sources
    from recgraph.jobs import training
    from recgraph.memory import watch_memory

    with watch_memory(lambda: _service_processes(settings)) as peak:
        with stages("catalogue", "loading the catalogue"):
            run_load(settings, sources.COMPLETE_JOURNEY, {})
        with stages("replay", "sending sales to Kafka"):
            messages = sources.read_messages(sources.COMPLETE_JOURNEY, sources.ColumnNames())
            delivery = send(settings, islice(messages, n_events), total=n_events)
        with jobs.open_spark(settings, stages) as spark:
            ingested = run_ingest(spark, settings, stages, once=True)
            manifest = training.train(spark, settings, stages)
        folder = settings.generations_dir / manifest.id
        with stages("export", "writing the graph as CSV"), bar("exporting") as on_progress:
            export = exports.write_export(folder, settings.exports_dir, on_progress)
        with stages("publish", "publishing to MongoDB"):
            run_publish(settings, generations.resolve(settings.generations_dir, manifest.id))
    return (
        delivery_summary(delivery)
        | ingested
        | training.training_summary(manifest)
        | msgspec.structs.asdict(export)
        | {"seconds": stages.seconds, "peak_memory_mb": round(peak.peak_bytes / 2**20)}
    )


def _service_processes(settings: Settings) -> Iterator[psutil.Process]:
    from recgraph.services import embedded, processes

    for service in (embedded.kafka_service(settings), embedded.mongo_service(settings)):
        process = processes.running(service)
        if process is not None:
            yield process


def _stay(settings: Settings, *, n_events: int | None) -> None:
    """Serve the dashboard while sales go on arriving."""
    from recgraph.cli.serve import serve

    with _children(settings, n_events=n_events):
        serve()


@contextmanager
def _children(settings: Settings, *, n_events: int | None) -> Iterator[None]:
    """Keep `run`, `live` and a slow replay of later sales going, each in its own process."""
    log = (settings.data_dir / "demo.log").open("wb")
    commands = [["run"], ["live"]]
    if n_events is not None:
        rest = ["--skip", str(max(n_events, _taken_in(settings))), "--rate", str(LIVE_RATE)]
        commands.append(["replay", "complete-journey", *rest])
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "recgraph.cli", *command],
            stdout=log,
            stderr=log,
            env=os.environ | {"RECGRAPH_DATA_DIR": str(settings.data_dir)},
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        log.close()


def _taken_in(settings: Settings) -> int:
    """Events of all demos so far: the next sales are those after them."""
    with opened_store(settings) as store:
        progress = store.progress()
    return progress.accepted if progress else 0


def _render(summary: Mapping[str, Any]) -> RenderableType:
    made = Text.assemble(
        ("exported ", "dim"),
        f"{summary['vertices']:,} vertices to {summary['vertices_path']}, ",
        f"{summary['edges']:,} edges to {summary['edges_path']}\n",
        ("memory   ", "dim"),
        f"{summary['peak_memory_mb']:,} MB at most, all processes together",
    )
    return Group(render_training(summary), made)
