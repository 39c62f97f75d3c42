"""Kill everything at random while sales arrive, and count: ``python -m tests.chaos --help``.

Events with 1 % duplicates and 1 % rubbish arrive on an embedded broker while `recgraph run`, its
trainings, the broker, the MongoDB server and the dashboard are killed with -9 again and again,
and started again at once. After each restart no message may be missing or there twice among those
taken in. At the end: produced = accepted (distinct) + rejected, to the event; a training is
published, whole; the dashboard answers. Else exit 1, and the folder with the logs stays.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recgraph.config import Settings, load_settings
from recgraph.services import embedded, kafka
from recgraph.services.mongo import open_store
from recgraph.services.publish import verify
from tests.chaos.counting import count_taken_in, find_problem, read_tables
from tests.chaos.replay import Replay, messages
from tests.chaos.victims import Victims, clean_up_when_ended, wait_until

_DRAIN_S = 600.0
_PER_TRAINING = 5_000


class Summary(msgspec.Struct):
    """What was done, what was counted, and what is wrong with it."""

    kills: Counter[str]
    gave_up: Counter[str]
    """Processes that ended by themselves when something they need was away."""
    produced: dict[str, int]
    """Distinct events, copies, rubbish."""
    on_topic: int = 0
    rows: int = 0
    accepted: int = 0
    """Distinct events in the table."""
    rejected: int = 0
    generations: int = 0
    minutes: float = 0.0
    problems: list[str] = []


class Chaos:
    """A replay, and the kills that fall into it."""

    def __init__(self, settings: Settings, *, n_events: int, n_kills: int, pause_s: float) -> None:
        n_rubbish = n_events // 100
        self._settings, self._pause_s = settings, pause_s
        self._n_kills = n_kills * len(Victims.names)
        # What is sent after the last kill trains once more.
        self._n_shares = self._n_kills + 1
        after = max(n_events // self._n_shares // 2, 1)
        self._victims = Victims(settings, train_after_events=min(after, _PER_TRAINING))
        kafka.ensure_topic(self._victims.bootstrap, settings.topic, n_partitions=2)
        produced = {"events": n_events, "again": n_rubbish, "rubbish": n_rubbish}
        self.summary = Summary(Counter(), Counter(), produced)

    def run(self, *, seed: int, max_s: float) -> Summary:
        """Kill each as often as it was asked, or until the time is over; then count."""
        started, rng = time.monotonic(), random.Random(seed)
        produced, topic = self.summary.produced, self._settings.topic
        sent = messages(produced["events"], seed)
        rate = max(sum(produced.values()) / self._n_shares / self._pause_s, 1.0)
        bootstrap = self._victims.bootstrap
        replay = Replay(bootstrap, topic, sent, n_shares=self._n_shares, rate=rate)
        try:
            self._victims.restart()
            for name in _order(self._n_kills, rng):
                if time.monotonic() - started > max_s or self.summary.problems:
                    break
                replay.next_share()
                time.sleep(rng.uniform(0, 2 * self._pause_s))
                self._strike(name, time.monotonic() - started)
            replay.finish()
            self._settle()
            self._count()
        finally:
            self._victims.stop()
        self.summary.minutes = round((time.monotonic() - started) / 60, 1)
        return self.summary

    def _strike(self, name: str, seconds: float) -> None:
        """Kill one, start it again, look for messages that are missing or there twice."""
        has_struck = self._victims.strike(name)
        self.summary.kills[name] += has_struck
        self._victims.restart()
        self.summary.gave_up = Counter(self._victims.gave_up)
        problem = find_problem(self._settings)
        if problem:
            self._complain(f"after kill -9 of {name}: {problem}")
        line = {
            "at_s": round(seconds, 1),
            "kill": name if has_struck else None,
            "taken_in": count_taken_in(self._settings),
            "problem": problem,
        }
        typer.echo(msgspec.json.encode(line).decode(), err=True)

    def _settle(self) -> None:
        """Wait until all is in, a training is published and the dashboard answers."""
        ends = kafka.read_extent(self._victims.bootstrap, self._settings.topic).ends
        self.summary.on_topic = sum(ends.values())
        self._wait_until("every message is taken in", self._all_is_in)
        self._wait_until("a training is published", self._is_published)
        self._wait_until("the dashboard answers", self._victims.dashboard_answers)

    def _wait_until(self, expected: str, is_reached: Callable[[], bool]) -> None:
        """Wait for something, and start what ends meanwhile."""

        def has_come() -> bool:
            self._victims.restart()
            return is_reached()

        if not wait_until(has_come, _DRAIN_S):
            self._complain(f"not within {_DRAIN_S:.0f} s: {expected}")

    def _all_is_in(self) -> bool:
        time.sleep(2)  # counting is work, and others work here
        return count_taken_in(self._settings) == self.summary.on_topic

    def _is_published(self) -> bool:
        status = self._victims.status()
        return bool(status and status.training and status.training.outcome == "published")

    def _count(self) -> None:
        """Count, and complain of whatever does not add up."""
        summary, produced = self.summary, self.summary.produced
        problem = find_problem(self._settings)
        events, rejected = read_tables(self._settings)
        summary.rows, summary.rejected = len(events), len(rejected)
        summary.accepted = events["event_id"].nunique()
        if (summary.accepted, summary.rejected) != (produced["events"], produced["rubbish"]):
            self._complain("produced is not accepted (distinct) + rejected")
        if problem:
            self._complain(problem)
        missed = self._n_kills - summary.kills.total()
        if missed:
            self._complain(f"{missed} kills were not done in time")
        with open_store(embedded.ensure_mongo(self._settings), "recgraph") as store:
            summary.generations = len(list(self._settings.generations_dir.glob("[0-9]*")))
            lacking = verify(store, store.current().manifest)
        if lacking:
            self._complain(f"the store lacks documents of what is current: {lacking}")

    def _complain(self, problem: str) -> None:
        self.summary.problems.append(problem)


def _order(n_kills: int, rng: random.Random) -> list[str]:
    """Everybody once in random order, then again, so that none is killed too often in a row."""
    n_rounds = n_kills // len(Victims.names)
    return [name for _ in range(n_rounds) for name in rng.sample(Victims.names, len(Victims.names))]


def main(
    n_events: Annotated[int, typer.Option("--events", help="Events to send.")] = 200_000,
    n_kills: Annotated[int, typer.Option("--kills", help="Kills of each process.")] = 20,
    pause_s: Annotated[float, typer.Option("--pause", help="Mean seconds between kills.")] = 8.0,
    max_minutes: Annotated[float, typer.Option(help="No kill after so many.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 1,
) -> None:
    """Run it, and say whether every event is there exactly once."""
    clean_up_when_ended()
    folder = Path(tempfile.mkdtemp(prefix="recgraph-chaos-"))
    settings = load_settings(data_dir=folder)
    chaos = Chaos(settings, n_events=n_events, n_kills=n_kills, pause_s=pause_s)
    summary = chaos.run(seed=seed, max_s=max_minutes * 60)
    typer.echo(msgspec.json.encode(summary).decode())
    if summary.problems:
        typer.echo(f"FAILED; the tables and logs are in {folder}", err=True)
        raise typer.Exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    typer.run(main)
