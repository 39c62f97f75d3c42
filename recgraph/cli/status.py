"""`recgraph status`: how far ingest is, what trains, what is current, what runs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.table import Table

from recgraph.cli.base import AsJson, app, report
from recgraph.config import load_settings
from recgraph.live_status import LiveStatus, read_statuses
from recgraph.status import Status, read_status

if TYPE_CHECKING:
    from recgraph.services.surroundings import Surroundings


@app.command(rich_help_panel="Events")
def status(as_json: AsJson = False) -> None:
    """Show lag, rates, the last training, the current generation, and what runs.

    Nothing is started, and Spark is not needed. What does not answer is said in its line; the rest
    is shown. Exit code 1: Kafka or MongoDB does not answer, ingest has a problem, or it was killed.
    """
    from recgraph.cli.listening import find_running, find_stream
    from recgraph.services.surroundings import look_around

    settings = load_settings()
    last = read_status(settings.status_path)
    around = look_around(settings, last.intake if last else None)
    summary = _summary(last, around, read_statuses(settings.live_status_dir))
    for name, running in ("serve", find_running(settings)), ("stream", find_stream(settings)):
        summary[name] = None if running is None else running.url
    report(summary, as_json=as_json, render=_render)
    if summary["problems"]:
        raise typer.Exit(1)


def _summary(
    last: Status | None, around: "Surroundings", folding: Sequence[LiveStatus]
) -> dict[str, Any]:
    """What `recgraph status --json` says."""
    training = last.training if last else None
    return {
        "running": last.command if last and last.is_running else None,
        "training_running": bool(training and training.process and training.process.is_alive),
        "lag": around.lag,
        "lag_in_all": None if around.lag is None else sum(around.lag.values()),
        "generation": msgspec.to_builtins(around.generation),
        "last": msgspec.to_builtins(last, builtin_types=(datetime,)),
        "live": msgspec.to_builtins(folding, builtin_types=(datetime,)),
        "problems": dict(_problems(last, around)) | _live_problems(folding),
    }


def _problems(last: Status | None, around: "Surroundings") -> Iterator[tuple[str, str]]:
    yield from around.problems.items()
    if last is None:
        return
    if last.was_killed:
        name = f"recgraph {last.command}"
        yield "ingest", f"{name} (process {last.process.pid}) was killed; start it again."
    elif last.is_running and last.intake.problem:
        yield "ingest", last.intake.problem


def _live_problems(folding: Sequence[LiveStatus]) -> dict[str, str]:
    found = [each.problem for each in folding if each.problem]
    return {"live": found[0]} if found else {}


def _render(summary: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, fact in _lines(summary):
        table.add_row(name, fact)
    return table


def _lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    last, problems = summary["last"], summary["problems"]
    yield "ingest", problems.get("ingest") or _running(summary)
    if last is not None:
        yield "taken in", _taken(last["intake"])
        yield "rate", _rate(last, is_running=summary["running"] is not None)
    yield "lag", problems.get("kafka") or _lag(summary)
    if last is not None and last["waiting"] is not None:
        yield "waiting", f"{last['waiting']:,} events for the next training"
    if last is not None and last["training"] is not None:
        yield "training", _training(last["training"], is_alive=summary["training_running"])
    yield "generation", problems.get("mongodb") or _generation(summary["generation"])
    yield "live", problems.get("live") or _live(summary["live"])
    yield "dashboard", _server(summary["serve"], "serve")
    yield "stream", _server(summary["stream"], "stream")


def _running(summary: Mapping[str, Any]) -> str:
    last = summary["last"]
    if summary["running"] is None:
        ended = f" (ended {_ago(last['ended_at'])})" if last else ""
        return f"does not run{ended}; start it: recgraph run"
    process = f"process {last['process']['pid']}, started {_ago(last['since'])}"
    metrics = f", metrics at {last['metrics_url']}" if last["metrics_url"] else ""
    return f"recgraph {summary['running']} runs ({process}{metrics})"


def _taken(intake: Mapping[str, Any]) -> str:
    rejected = sum(intake["rejected"].values())
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(intake["rejected"].items()))
    counts = f"{intake['accepted']:,} accepted, {rejected:,} rejected"
    in_all = intake["accepted_in_all"]
    return counts + (f" ({reasons})" if reasons else "") + f"; {in_all or 0:,} accepted in all"


def _rate(last: Mapping[str, Any], *, is_running: bool) -> str:
    intake = last["intake"]
    if intake["last_batch_at"] is None:
        return "no batch yet"
    batch = f"last batch {_ago(intake['last_batch_at'])}, took {intake['last_batch_s']:.1f} s"
    rate = f"{intake['events_per_s']:,.1f} messages/s over the last minute, " if is_running else ""
    return rate + batch


def _lag(summary: Mapping[str, Any]) -> str:
    by_partition = ", ".join(f"{name}: {n:,}" for name, n in summary["lag"].items())
    return f"{summary['lag_in_all']:,} messages (by partition {by_partition})"


def _training(training: Mapping[str, Any], *, is_alive: bool) -> str:
    outcome, step = training["outcome"], training["step"]
    name = training["generation"] or "no generation yet"
    tries = f", try {training['tries']}" if training["tries"] > 1 else ""
    reason = f": {training['reason']}" if training["reason"] else ""
    if outcome == "running":
        doing = f"{step} runs" if is_alive else f"{step} ended without a word"
        return f"{doing} ({name}, began {_ago(training['started_at'])}{tries})"
    if outcome == "failed":
        return f"{step} failed{reason}; tried again {_ago(training['next_try_at'])}{tries}"
    return f"{outcome} {_ago(training['ended_at'])} ({name}{tries}){reason}"


def _generation(generation: Mapping[str, Any] | None) -> str:
    if generation is None:
        return "none is published yet"
    return f"{generation['id']} is current, made {_duration(generation['age_s'])} ago"


def _live(folding: Sequence[Mapping[str, Any]]) -> str:
    if not folding:
        return "does not run; lists are those of the training: recgraph live"
    n_lists = sum(each["lists"] for each in folding)
    delays = [each["delay_s"] for each in folding if each["delay_s"] is not None]
    last = f", the last one {max(delays):.2f} s after the sale" if delays else ""
    runs = "runs" if len(folding) == 1 else f"runs {len(folding)} times"
    return f"recgraph live {runs}; {n_lists:,} lists made{last}"


def _server(url: str | None, command: str) -> str:
    return f"recgraph {command} runs at {url}" if url else f"does not run: recgraph {command}"


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "at an unknown time"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return f"{_duration(seconds)} ago" if seconds >= 0 else f"in {_duration(-seconds)}"


def _duration(seconds: float) -> str:
    """A length of time for a person, such as ``3 min``."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
