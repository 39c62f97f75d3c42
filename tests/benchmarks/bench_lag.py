"""Lag while events arrive at a steady rate and `recgraph run` ingests and trains; must come to 0.

``python -m tests.benchmarks.bench_lag [--rate 2000] [--seconds 300]``. It starts a broker and a
MongoDB server of its own. ``recgraph run`` trains when a third of the events are in, so at least
one training falls into the arrival. The lag is how many messages are on the topic and not in the
tables; a line is printed every few seconds. Exit code 1 when the lag does not come to 0, or when
no training ran meanwhile.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from recgraph import sources
from recgraph.config import Settings, load_settings
from recgraph.services import embedded, kafka
from recgraph.status import Training, lag_by_partition, read_status

_STOP_TIMEOUT_S = 60.0


class Moment(NamedTuple):
    """What is seen at one time."""

    lag: int
    """Messages that are on the topic and not in the tables."""
    taken_in: int
    training: Training | None

    @property
    def trains(self) -> bool:
        """Whether a training runs."""
        return self.training is not None and self.training.outcome == "running"


def main(
    rate: Annotated[int, typer.Option(help="Events a second.")] = 2000,
    seconds: Annotated[int, typer.Option(help="How long they arrive.")] = 300,
    every: Annotated[float, typer.Option(help="Seconds between two lines.")] = 5.0,
    patience: Annotated[float, typer.Option(help="Seconds the lag may take to end.")] = 300.0,
) -> None:
    """Measure, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            data_dir=Path(folder), train_after_events=max(1, rate * seconds // 3)
        )
        bootstrap = embedded.ensure_kafka(settings)
        embedded.ensure_mongo(settings)
        try:
            kafka.ensure_topic(bootstrap, settings.topic, n_partitions=2)
            with running(settings, bootstrap):
                ok = measure(settings, bootstrap, rate, seconds, every, patience)
        finally:
            embedded.stop_all(settings)
    if not ok:
        raise typer.Exit(1)


@contextmanager
def running(settings: Settings, bootstrap: str) -> Iterator[None]:
    """Let `recgraph run` run until the block ends; it has begun to read when this returns."""
    names = ("data_dir", "train_after_events")
    variables = {f"RECGRAPH_{name.upper()}": str(getattr(settings, name)) for name in names}
    log = settings.data_dir / "run.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "recgraph.cli", "run"],
            env=os.environ | variables,
            stdout=file,
            stderr=file,
        )
    try:
        kafka.produce(bootstrap, settings.topic, events(1))
        while look(settings, bootstrap).taken_in < 1:
            if process.poll() is not None:
                typer.echo(log.read_text()[-2000:], err=True)
                raise typer.Exit(2)
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)


def events(n_events: int) -> Iterator[tuple[bytes, bytes]]:
    """Sales of Complete Journey; from its start again, as new ones, when they are all sent."""
    n_rounds = 0
    while n_events > 0:
        messages = sources.read_messages(sources.COMPLETE_JOURNEY, sources.ColumnNames())
        for message in islice(messages, n_events):
            yield sources.encode(message | {"event_id": f"{n_rounds}-{message['event_id']}"})
            n_events -= 1
        n_rounds += 1


def look(settings: Settings, bootstrap: str) -> Moment:
    """How far ingest is behind now."""
    extent = kafka.read_extent(bootstrap, settings.topic)
    status = read_status(settings.status_path)
    taken = status.intake.next_offsets if status else {}
    lag = sum(lag_by_partition(extent.starts, extent.ends, taken).values())
    return Moment(lag, sum(taken.values()), status.training if status else None)


def measure(
    settings: Settings, bootstrap: str, rate: int, seconds: int, every: float, patience: float
) -> bool:
    """Print the lag while events arrive and until it is over; return whether it is, and trained."""
    messages = events(rate * seconds)
    arrival = threading.Thread(
        target=kafka.produce,
        args=(bootstrap, settings.topic, messages),
        kwargs={"rate": rate},
        daemon=True,
    )
    started, largest, last = time.monotonic(), 0, Moment(0, 0, None)
    rounds: set[datetime] = set()
    arrival.start()
    while time.monotonic() - started < seconds + patience:
        time.sleep(every)
        last = look(settings, bootstrap)
        largest = max(largest, last.lag)
        if last.training:
            rounds.add(last.training.started_at)
        _print_line(time.monotonic() - started, last, arrives=arrival.is_alive())
        if not arrival.is_alive() and not last.lag and not last.trains:
            break
    typer.echo(
        f"largest lag {largest:,} messages ({largest / rate:.1f} s of arrival), at the end "
        f"{last.lag:,}; {last.taken_in:,} taken in; trainings: {len(rounds)}"
        + (f", the last one {_describe(last.training)}" if last.training else "")
    )
    return not last.lag and not arrival.is_alive() and bool(rounds)


def _print_line(at_s: float, moment: Moment, *, arrives: bool) -> None:
    notes = ["events arrive"] * arrives + ["a training runs"] * moment.trains
    typer.echo(f"{at_s:6.1f} s  lag {moment.lag:>9,}  {', '.join(notes)}")


def _describe(training: Training) -> str:
    took_s = ((training.ended_at or datetime.now(UTC)) - training.started_at).total_seconds()
    return f"{training.outcome} after {took_s:.0f} s" + (
        f" ({training.reason})" if training.reason else ""
    )


if __name__ == "__main__":
    command = typer.Typer()
    command.command()(main)
    # `make bench` goes on with the next benchmark.
    if command(standalone_mode=False):
        sys.exit(1)
