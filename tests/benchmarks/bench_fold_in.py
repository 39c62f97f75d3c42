"""How good are lists that are folded in, beside stale ones and those of a full training?

Run it with ``python -m tests.benchmarks.bench_fold_in``; it prints one JSON object. On the Complete
Journey sales, in memory, by the local engine with the default settings: a generation is trained on
all sales but those of the last ``gap + test`` days; then come the days of the gap, which the stale
lists know nothing of, the live ones have folded in, and the full training has seen. All are judged
on the test days that follow, by what a household buys for the first time.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from scipy import sparse

from recgraph import blend, fallback, metrics, walk
from recgraph.blend import Coefficients
from recgraph.cli.base import err
from recgraph.config import Settings
from recgraph.engines import local
from recgraph.generations import Manifest
from recgraph.histories import Histories
from recgraph.items import Items
from recgraph.lists import Codes, Rules
from recgraph.model import Floats, Ints, Matrix, Ragged, fold_in_users
from recgraph.recommend import Shelf
from recgraph.serving import Serving, Wish, open_serving
from recgraph.sources import complete_journey_file
from recgraph.weighing import (
    EVENT,
    MICROS_A_DAY,
    Events,
    Pairs,
    pairs_of_events,
    weighing_from_settings,
)
from tests.sample import write_sample_generation

N_SAMPLED = 500
BLOCK = 100


class Sales(NamedTuple):
    """All sales, in the order of users and times."""

    rows: Ints
    """Which user each is of."""
    events: Events
    n_users: int
    n_items: int

    def before(self, micros: int) -> "Sales":
        is_early = self.events["time"] < micros
        return self._replace(rows=self.rows[is_early], events=self.events[is_early])


def read_sales() -> Sales:
    columns = ["household_id", "product_id", "quantity", "transaction_timestamp"]
    table = pq.read_table(complete_journey_file("transactions"), columns=columns)
    users, items, quantities, times = (column.to_numpy() for column in table.columns)
    user_ids, rows = np.unique(users, return_inverse=True)
    item_ids, places = np.unique(items, return_inverse=True)
    events = np.zeros(len(rows), EVENT)
    events["event"], events["item"], events["bought"] = np.arange(len(rows)), places, True
    events["time"], events["amount"] = (
        times.astype("datetime64[us]").astype(np.int64),
        quantities > 0,
    )
    order = np.lexsort((events["time"], rows))
    return Sales(rows[order], events[order], len(user_ids), len(item_ids))


def pairs_of(sales: Sales, settings: Settings, half_life_days: float | None) -> Pairs:
    weighing = weighing_from_settings(settings)._replace(half_life_days=half_life_days)
    newest = np.full(sales.n_users, sales.events["time"].max())
    return pairs_of_events(sales.rows, sales.events, newest, weighing, sales.n_items)


def trained(sales: Sales, settings: Settings, blank: Serving) -> Serving:
    """A generation of these sales, opened."""
    shape = sales.n_users, sales.n_items
    pairs = pairs_of(sales, settings, settings.half_life_days)
    recent = pairs_of(sales, settings, settings.walk_half_life_days)
    ratings = pairs.matrix(pairs.ratings, shape)
    als = {"regularization": settings.local_regularization, "alpha": settings.alpha}
    factors = local.fit_items(
        ratings,
        n_factors=settings.n_factors,
        n_iterations=settings.n_iterations,
        seed=settings.seed,
        **als,
    )
    first = ratings.log1p()
    steps = walk.item_steps(
        first, recent.matrix(recent.ratings, shape).log1p(), exponent=settings.walk_exponent
    )
    neighbours = walk.item_neighbours(steps, settings.walk_neighbours)
    model = blend.Items(factors, neighbours)
    sums = np.asarray(first.sum(axis=0), np.float32).ravel()
    chosen = np.random.default_rng(settings.seed).permutation(sales.n_users)[:N_SAMPLED]
    sample = blend.Users(
        fold_in_users(factors, ratings[chosen], exponent=0.0, **als),
        walk.user_steps(first[chosen], sums),
    )
    weights = Coefficients(als=settings.als_weight, walk=settings.walk_weight)
    return blank._replace(
        manifest=manifest_of(blank.manifest, settings),
        items=items_of(sales.n_items),
        model=model,
        item_sums=sums,
        gram=factors.T @ factors,
        coefficients=blend.coefficients_from_weights(weights, sample, model),
        weighing=weighing_from_settings(settings),
        shelf=shelf_of(pairs, settings, sales.n_items),
        histories=histories_of(sales),
    )


def manifest_of(blank: Manifest, settings: Settings) -> Manifest:
    known = settings.model_copy(update={"engine": "local"}).model_dump()
    return msgspec.structs.replace(blank, settings=known)


def items_of(n_items: int) -> Items:
    ids = pa.array([str(item) for item in range(n_items)])
    no_codes = Codes([], np.full(n_items, -1, np.int32))
    index_of = {item_id: place for place, item_id in enumerate(ids.to_pylist())}
    return Items(ids, pa.nulls(n_items, pa.string()), no_codes, no_codes, index_of)


def shelf_of(pairs: Pairs, settings: Settings, n_items: int) -> Shelf:
    popularity = np.bincount(pairs.items, minlength=n_items).astype(np.float32)
    no_codes = Codes([], np.full(n_items, -1, np.int32))
    return Shelf(
        Rules(settings.k), no_codes, fallback.popular_lists(popularity, no_codes, 200, None)
    )


def histories_of(sales: Sales) -> Histories:
    users = np.arange(sales.n_users)
    return Histories(
        users=pa.array([f"{user:06}".encode() for user in users], pa.large_binary()),
        ends=np.searchsorted(sales.rows, users, side="right"),
        events=sales.events,
        newest=int(sales.events["time"].max()),
        buyers=np.empty(0, np.int32),
        buyer_ends=np.zeros(sales.n_items, np.int64),
    )


def lists_of(serving: Serving, known: Histories, k: int) -> Ints:
    """The list of every user from these histories, ``(n_users, k)``; -1 where it is shorter."""
    users = [user.decode() for user in known.users.to_pylist()]
    found = np.full((len(users), k), -1)
    for start in range(0, len(users), BLOCK):
        block = users[start : start + BLOCK]
        lists = serving.lists_of([known.of(user) for user in block], Wish(k=k))
        for row, rows in enumerate(lists, start=start):
            found[row, : len(rows)] = [int(each.item_id) for each in rows]
    return found


def relevant_of(sales: Sales, until: int) -> Matrix:
    """What each user buys from a moment on and never before it, ``(n_users, n_items)``."""
    shape = sales.n_users, sales.n_items
    is_late, is_bought = sales.events["time"] >= until, sales.events["amount"] > 0

    def matrix(mask: Any) -> Matrix:
        items, rows = sales.events["item"][mask], sales.rows[mask]
        return sparse.csr_matrix((np.ones(len(rows), bool), (rows, items)), shape=shape)

    found = matrix(is_late & is_bought)
    found = found - found.multiply(matrix(~is_late & is_bought))
    found.eliminate_zeros()
    return found.tocsr()


def ndcg(lists: Ints, relevant: Matrix) -> float:
    judged = np.flatnonzero(np.diff(relevant.indptr))
    rows = relevant[judged]
    hit = metrics.hits(lists[judged], Ragged.of(rows), n_items=rows.shape[1])
    return round(float(metrics.ndcg(hit, np.diff(rows.indptr)).mean()), 4)


def measure(sales: Sales, gap_days: float, test_days: float, k: int) -> dict[str, Any]:
    settings = Settings(k=k)
    until = int(sales.events["time"].max() - test_days * MICROS_A_DAY)
    seen, known = sales.before(int(until - gap_days * MICROS_A_DAY)), sales.before(until)
    relevant = relevant_of(sales, until)
    with tempfile.TemporaryDirectory() as folder:
        blank = open_serving(write_sample_generation(Path(folder)))
        err.print("training the generation")
        stale = trained(seen, settings, blank)
        err.print("training on all")
        full = trained(known, settings, blank)
    started = time.perf_counter()
    live = lists_of(stale, full.histories, k)
    seconds = time.perf_counter() - started
    found: dict[str, Floats | Ints] = {
        "stale": lists_of(stale, stale.histories, k),
        "folded in": live,
        "trained again": lists_of(full, full.histories, k),
    }
    return {
        "gap_days": gap_days,
        "test_days": test_days,
        "n_users": int(np.count_nonzero(np.diff(relevant.indptr))),
        "sales_in_gap": len(known.rows) - len(seen.rows),
        **{f"ndcg@{k} {name}": ndcg(lists, relevant) for name, lists in found.items()},
        "ms_a_list": round(1000 * seconds / sales.n_users, 2),
    }


def main(
    gap_days: Annotated[list[float], typer.Option(help="Days since the training.")] = [7.0, 28.0],  # noqa: B006
    test_days: float = 28.0,
    k: int = 10,
) -> None:
    """Print nDCG of stale, folded-in and newly trained lists."""
    sales = read_sales()
    typer.echo(msgspec.json.encode([measure(sales, gap, test_days, k) for gap in gap_days]))


if __name__ == "__main__":
    typer.run(main)
