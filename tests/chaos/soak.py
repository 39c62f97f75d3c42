"""One `recgraph run` for hundreds of batches: ``python -m tests.chaos.soak --help``.

Sales trickle in, a batch a second, and a training begins again and again. Meanwhile the memory,
the open files and the threads of the process that ingests, its JVM and its Python workers are
measured, not those of the training, which is a process of its own. The last quarter of the time
is compared with the second: what leaks has grown. Exit 1 when it has.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
import typer

from recgraph.config import Settings, load_settings
from recgraph.generations import list_generations
from recgraph.machine import end_process
from recgraph.services import embedded, kafka
from recgraph.status import read_status
from tests.chaos.replay import Replay, messages
from tests.chaos.victims import clean_up_when_ended

_EVERY_S = 2.0
_MOST_GROWTH = 1.1
"""Last quarter / second quarter of the memory, at most."""
_MIB = 1024 * 1024


class Sample(msgspec.Struct, frozen=True):
    """What the process that ingests and those below it hold at one moment."""

    seconds: float
    batches: int
    jvm_mib: float
    python_mib: float
    files: int
    threads: int

    @property
    def memory_mib(self) -> float:
        return self.jvm_mib + self.python_mib


def start_run(settings: Settings, bootstrap: str, mongo: str, after: int) -> psutil.Process:
    """Start `recgraph run` with small batches and frequent trainings."""
    variables = {
        "DATA_DIR": str(settings.data_dir),
        "KAFKA_BOOTSTRAP": bootstrap,
        "MONGO_URI": mongo,
        "DRIVER_MEMORY": settings.driver_memory,
        "BATCH_SECONDS": "1",
        "TRAIN_AFTER_EVENTS": str(after),
        "N_FACTORS": "8",
        "N_ITERATIONS": "3",
    }
    environment = os.environ | {f"RECGRAPH_{name}": value for name, value in variables.items()}
    with (settings.data_dir / "run.log").open("ab") as log:
        command = [sys.executable, "-m", "recgraph.cli", "run"]
        return psutil.Popen(command, env=environment, stdout=log, stderr=log)


def without_training(run: psutil.Process) -> list[psutil.Process]:
    """The process and all below it, but not what the supervisor started, nor what is below that."""
    children = [each for each in run.children() if "recgraph.cli" not in " ".join(each.cmdline())]
    below = [each for child in children for each in child.children(recursive=True)]
    return [run, *children, *below]


def take_sample(settings: Settings, run: psutil.Process, started: float) -> Sample | None:
    """What the processes hold now; None when one of them ended meanwhile."""
    status = read_status(settings.status_path)
    try:
        processes = without_training(run)
        memory = [(each.name(), each.memory_info().rss / _MIB) for each in processes]
        return Sample(
            seconds=round(time.monotonic() - started, 1),
            batches=status.intake.batches if status else 0,
            jvm_mib=sum(rss for name, rss in memory if name == "java"),
            python_mib=sum(rss for name, rss in memory if name != "java"),
            files=sum(each.num_fds() for each in processes),
            threads=sum(each.num_threads() for each in processes),
        )
    except psutil.NoSuchProcess:
        return None


def compare(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Medians of the second and the last quarter, and their ratio, of each thing measured."""
    quarter = len(samples) // 4
    parts = {"second": samples[quarter : 2 * quarter], "last": samples[-quarter:]}
    found = {}
    for name in ("memory_mib", "jvm_mib", "python_mib", "files", "threads"):
        medians = {
            part: statistics.median(getattr(each, name) for each in chosen)
            for part, chosen in parts.items()
        }
        found[name] = medians | {"ratio": medians["last"] / medians["second"]}
    return found


class Watch:
    """Samples of a run that has taken in its first batch, and the generations it made."""

    def __init__(self, settings: Settings, run: psutil.Process) -> None:
        self._settings, self._run = settings, run
        self._started = time.monotonic()
        self.samples: list[Sample] = []
        self.generations: set[str] = set()

    def look(self) -> None:
        """Add a sample, and say it."""
        made = list_generations(self._settings.generations_dir)
        self.generations |= {each.id for each in made}
        sample = take_sample(self._settings, self._run, self._started)
        if sample is not None and sample.batches:
            self.samples.append(sample)
            typer.echo(msgspec.json.encode(sample).decode(), err=True)

    def has_seen(self, n_batches: int, n_trainings: int) -> bool:
        """Whether there were enough batches and trainings."""
        n_seen = self.samples[-1].batches if self.samples else 0
        return n_seen >= n_batches and len(self.generations) >= n_trainings


def soak(
    settings: Settings, n_batches: int, n_trainings: int, rate: float, max_s: float
) -> dict[str, object]:
    """Run until there were enough batches and trainings, or the time is over; say what grew."""
    bootstrap, mongo = embedded.ensure_kafka(settings), embedded.ensure_mongo(settings)
    kafka.ensure_topic(bootstrap, settings.topic, n_partitions=2)
    per_training = int(rate * max_s / (2 * n_trainings))
    run = start_run(settings, bootstrap, mongo, per_training)
    sent = messages(int(max_s * rate), seed=1)
    Replay(bootstrap, settings.topic, sent, n_shares=1, rate=rate).next_share()
    watch, deadline = Watch(settings, run), time.monotonic() + max_s
    try:
        while time.monotonic() < deadline and not watch.has_seen(n_batches, n_trainings):
            time.sleep(_EVERY_S)
            watch.look()
    finally:
        end_process(run, 60)
    return {
        "batches": watch.samples[-1].batches,
        "trainings": len(watch.generations),
        "minutes": round((watch.samples[-1].seconds - watch.samples[0].seconds) / 60, 1),
        "enough": watch.has_seen(n_batches, n_trainings),
        **compare(watch.samples),
    }


def main(
    n_batches: Annotated[int, typer.Option("--batches", help="Batches at least.")] = 200,
    n_trainings: Annotated[int, typer.Option("--trainings", help="Trainings at least.")] = 5,
    rate: Annotated[float, typer.Option(help="Messages a second.")] = 200.0,
    minutes: Annotated[float, typer.Option(help="Longest time.")] = 15.0,
    driver_memory: Annotated[str, typer.Option(help="RECGRAPH_DRIVER_MEMORY.")] = "1g",
) -> None:
    """Run it, and say whether memory, files and threads stayed flat."""
    clean_up_when_ended()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), driver_memory=driver_memory)
        try:
            summary = soak(settings, n_batches, n_trainings, rate, minutes * 60)
        finally:
            embedded.stop_all(settings)
    typer.echo(msgspec.json.encode(summary).decode())
    grown = [
        name
        for name in ("memory_mib", "files", "threads")
        if summary[name]["ratio"] > _MOST_GROWTH  # type: ignore[index]
    ]
    if grown or not summary["enough"]:
        typer.echo(f"FAILED: {', '.join(grown) or 'the time was over too early'}", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
