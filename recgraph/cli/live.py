"""`recgraph live`: each sale changes its buyer's list, within a quarter of a second."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.table import Table

from recgraph.cli.base import AsJson, app, err, report
from recgraph.cli.ingest import stop_signal
from recgraph.config import load_settings
from recgraph.live_status import LiveReporter


@app.command(rich_help_panel="Generations")
def live(as_json: AsJson = False) -> None:
    """Fold each sale on the topic into its buyer's list, until Ctrl-C.

    Lists are written to MongoDB and sent to the topic of RECGRAPH_LIVE_TOPIC. It may be killed at
    any moment, and several may run: they share the partitions. A new generation is picked up by
    itself, and whoever bought since it was trained is folded in again.
    """
    from recgraph.services.embedded import ensure_kafka, ensure_mongo
    from recgraph.services.live import run
    from recgraph.services.live_metrics import open_live_metrics
    from recgraph.services.mongo import open_store

    settings = load_settings()
    bootstrap = ensure_kafka(settings, err.print)
    uri = ensure_mongo(settings, err.print)
    reporter = LiveReporter(settings.live_status_dir)
    with (
        open_store(uri, settings.mongo_database) as store,
        open_live_metrics(settings, reporter.status) as observe,
        stop_signal() as stop,
    ):
        try:
            reporter.write()
            run(
                settings,
                bootstrap=bootstrap,
                store=store,
                stop=stop,
                reporter=reporter,
                observe=observe,
            )
        finally:
            reporter.end()
    report(_summary(reporter), as_json=as_json, render=_render)


def _summary(reporter: LiveReporter) -> dict[str, Any]:
    """What `recgraph live --json` says when it ends."""
    status = reporter.status
    return {
        "generation": status.generation,
        "events": status.events,
        "rejected": sum(status.rejected.values()),
        "reasons": status.rejected,
        "lists": status.lists,
        "next_offsets": msgspec.to_builtins(status.next_offsets),
        "seconds": round((datetime.now(UTC) - status.since).total_seconds(), 3),
    }


def _render(summary: Mapping[str, Any]) -> RenderableType:
    table = Table("sales", "rejected", "lists", "generation")
    counts = (f"{summary[name]:,}" for name in ("events", "rejected", "lists"))
    table.add_row(*counts, summary["generation"] or "none yet")
    return table
