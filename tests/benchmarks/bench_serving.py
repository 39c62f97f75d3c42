"""Milliseconds of each answer, and the memory of a process that gives them, at a stated size.

Run it with ``python -m tests.benchmarks.bench_serving``; it prints one JSON object. The generation
is made up: random factors and neighbours, and histories of the length given. With the defaults it
takes 2 GB of disk, in a temporary folder.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from scipy import sparse
from threadpoolctl import threadpool_limits

from recgraph import fallback, generations, histories
from recgraph.cli.base import err
from recgraph.lists import codes_of
from recgraph.serving import Serving, open_serving
from recgraph.weighing import MICROS_A_DAY
from tests.sample import DEPARTMENTS, write_sample_generation

USERS_A_BATCH = 20_000
N_ASKED = 300


def write_generation(
    root: Path, n_users: int, n_items: int, n_factors: int, mean_events: int
) -> Path:
    """A folder with all that serving opens."""
    rng = np.random.default_rng(7)
    folder = write_sample_generation(root)
    factors = rng.normal(0, 0.1, (n_items, n_factors)).astype(np.float32)
    np.save(folder / generations.ITEM_FACTORS, factors)
    np.save(folder / generations.ITEM_SUMS, rng.uniform(1, 50, n_items).astype(np.float32))
    near = rng.integers(0, n_items, (n_items, 100)).astype(np.int32)
    weights = rng.uniform(0, 0.1, near.size).astype(np.float32)
    indptr = np.arange(0, near.size + 1, 100)
    matrix = sparse.csr_matrix(
        (weights, np.sort(near, axis=1).ravel(), indptr), shape=(n_items,) * 2
    )
    sparse.save_npz(folder / generations.ITEM_NEIGHBOURS, matrix, compressed=False)
    ids = [f"item {item}" for item in range(n_items)]
    departments = [DEPARTMENTS[item % len(DEPARTMENTS)] for item in range(n_items)]
    _write_items(folder / generations.ITEMS, ids, departments)
    popular = fallback.popular_lists(rng.random(n_items), codes_of(departments), 200, None)
    fallback.write_popular(folder / generations.POPULAR, popular, ids)
    shutil.rmtree(folder / histories.HISTORIES)
    batches = _events(rng, n_users, n_items, mean_events)
    histories.write_histories(folder / histories.HISTORIES, batches)
    buyers = pa.table({"item": np.repeat(np.arange(n_items), 50), "user": near[:, :50].ravel()})
    histories.write_buyers(folder / histories.HISTORIES, buyers.to_batches(), n_items)
    return folder


def _write_items(folder: Path, ids: list[str], departments: list[str]) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    columns = {
        "item_index": pa.array(np.arange(len(ids)), pa.int32()),
        "item_id": ids,
        "title": [f"A product with the number {each}" for each in ids],
        "department": departments,
        "category": departments,
    }
    pq.write_table(pa.table(columns), folder / "part-0.parquet")


def _events(
    rng: np.random.Generator, n_users: int, n_items: int, mean_events: int
) -> Iterator[pa.RecordBatch]:
    for start in range(0, n_users, USERS_A_BATCH):
        users = np.arange(start, min(start + USERS_A_BATCH, n_users))
        n_events = rng.geometric(1 / mean_events, len(users))
        n = int(n_events.sum())
        ids = np.array([f"user {user:09}".encode() for user in users], object)
        yield pa.RecordBatch.from_pydict(
            {
                "user_id": pa.array(np.repeat(ids, n_events), pa.large_binary()),
                "event": np.arange(n),
                "time": rng.integers(0, 365 * MICROS_A_DAY, n),
                "amount": np.ones(n),
                "item": (rng.random(n) ** 3 * n_items).astype(np.int32),
                "bought": np.ones(n, bool),
            }
        )


def milliseconds(answer: Callable[[], object]) -> dict[str, float]:
    answer()
    spent = []
    for _ in range(N_ASKED):
        started = time.perf_counter()
        answer()
        spent.append(time.perf_counter() - started)
    p50, p95 = (np.percentile(spent, [50, 95]) * 1000).round(2).tolist()
    return {"p50_ms": p50, "p95_ms": p95}


def answers(serving: Serving, n_users: int) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(11)

    def history() -> Any:
        return serving.history(f"user {rng.integers(n_users):09}")

    known = history()
    wanted = serving.recommend(known).rows[0].item_id
    basket = [f"item {item}" for item in range(5)]
    return {
        "history": milliseconds(history),
        "list": milliseconds(lambda: serving.recommend(history())),
        "basket of 5": milliseconds(lambda: serving.basket(basket)),
        "what-if of 5": milliseconds(lambda: serving.what_if(known, basket)),
        "because": milliseconds(lambda: serving.because(known, wanted)),
        "similar": milliseconds(lambda: serving.similar("item 3", 10)),
    }


def memory() -> dict[str, int]:
    used = psutil.Process().memory_info()
    return {"own_mb": (used.rss - used.shared) >> 20, "with_mapped_files_mb": used.rss >> 20}


def main(
    n_users: int = 1_000_000, n_items: int = 100_000, n_factors: int = 64, mean_events: int = 50
) -> None:
    """Print what opening took, what each answer takes, and the memory of this process."""
    with tempfile.TemporaryDirectory() as root, threadpool_limits(1, "blas"):
        err.print("writing the generation")
        folder = write_generation(Path(root), n_users, n_items, n_factors, mean_events)
        before = memory()
        started = time.perf_counter()
        serving = open_serving(folder)
        opened_s = time.perf_counter() - started
        found = {
            "users": n_users,
            "items": n_items,
            "factors": n_factors,
            "events": len(serving.histories.events),
            "open_s": round(opened_s, 2),
            "before": before,
            "opened": memory(),
            **answers(serving, n_users),
            "after": memory(),
        }
    typer.echo(msgspec.json.encode(found))


if __name__ == "__main__":
    typer.run(main)
