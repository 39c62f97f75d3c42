"""Publish and look up a generation as large as Complete Journey on the embedded MongoDB server.

Run it with ``python -m tests.benchmarks.bench_store``; it prints one JSON object. The server and
all data live in a temporary folder.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import typer

from recgraph.cli.base import bar, err
from recgraph.config import load_settings
from recgraph.services.embedded import ensure_mongo, stop_all
from recgraph.services.mongo import MongoStore, open_store
from recgraph.services.publish import publish, verify
from tests.sample import write_sample_generation

N_LOOKUPS = 1_000


def milliseconds(call: Callable[[Any], object], arguments: list[Any]) -> dict[str, float]:
    spent = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        spent.append(time.perf_counter() - started)
    p50, p99 = (np.percentile(spent, [50, 99]) * 1000).round(2).tolist()
    return {"p50_ms": p50, "p99_ms": p99}


def measure_reads(store: MongoStore, users: list[str], items: list[str]) -> dict[str, Any]:
    choose = random.Random(42).choices
    departments = store.current().manifest.departments
    return {
        "user": milliseconds(store.user, choose(users, k=N_LOOKUPS)),
        "item": milliseconds(store.item, choose(items, k=N_LOOKUPS)),
        "300 items": milliseconds(store.items, [choose(items, k=300) for _ in range(50)]),
        "top 50": milliseconds(store.top_recommended, [50] * 100),
        "top 50 of a department": milliseconds(
            lambda name: store.top_recommended(50, name), choose(departments, k=100)
        ),
        "popular 20": milliseconds(store.popular, [20] * 100),
        "search": milliseconds(store.search, choose(["m", "milk", "milk bre", "rice tea"], k=100)),
    }


def main(n_users: int = 2_500, n_items: int = 68_000, mean_bought: float = 350.0) -> None:
    """Print what a publish and the reads after it took."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=folder)
        err.print("writing the generation")
        generation = write_sample_generation(
            settings.generations_dir,
            n_users=n_users,
            n_items=n_items,
            mean_bought=mean_bought,
            k=10,
        )
        try:
            uri = ensure_mongo(settings, err.print)
            with open_store(uri, settings.mongo_database) as store:
                typer.echo(msgspec.json.encode(measure(store, generation)))
        finally:
            stop_all(settings)


def measure(store: MongoStore, generation: Path) -> dict[str, Any]:
    with bar("publishing") as on_progress:
        first = publish(store, generation, keep=3, on_progress=on_progress)
    again = publish(store, generation, keep=3)
    manifest = store.current().manifest
    started = time.perf_counter()
    assert not verify(store, manifest)
    verified = time.perf_counter() - started
    users = [document["_id"] for document in store.collection("users", manifest.id).find({}, {})]
    items = [document["_id"] for document in store.collection("items", manifest.id).find({}, {})]
    return {
        "documents": first.written,
        "bought_edges": manifest.counts.interactions,
        "publish_s": first.seconds,
        "publish_again_s": again.seconds,
        "verify_s": round(verified, 2),
        **measure_reads(store, users, items),
    }


if __name__ == "__main__":
    typer.run(main)
