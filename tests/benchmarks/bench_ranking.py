"""How good the default model's lists are on Complete Journey; prints a table of both tasks.

``python -m tests.benchmarks.bench_ranking [DAYS]``. Purchases of 28 days, by households and of
products known before, are foretold from all purchases before them; all products are ranked. DAYS
(0) leaves out the last days of the data: with 28, the test is the four weeks on which the settings
were chosen. Settings are those of the environment; ALS is solved in this process.
"""

import sys
from datetime import timedelta

import numpy as np
import pandas as pd
import typer

from recgraph import offline, sources
from recgraph.config import load_settings
from recgraph.dataset import Dataset, Pairs, Rows, parted
from recgraph.folds import Fold
from recgraph.jobs.tuning import choice_from_settings

K = 10
TEST_DAYS = 28
DAY = 86_400
HEADER = f"{'recommender':<16} {'nDCG@10':>8} {'95 % interval':>15} {'recall@10':>10}"


def purchases(days_left_out: int) -> Dataset:
    """All purchases of Complete Journey but those of the last days."""
    names = ["household_id", "product_id", "quantity", "transaction_timestamp"]
    table = pd.read_parquet(sources.complete_journey_file("transactions"), columns=names)
    at = table["transaction_timestamp"]
    table = table[(table["quantity"] > 0) & (at <= at.max() - timedelta(days=days_left_out))]
    sides = (table[name].astype(str).to_numpy(object) for name in names[:2])
    (users, rows), (items, columns) = (np.unique(each, return_inverse=True) for each in sides)
    times = table["transaction_timestamp"].to_numpy("datetime64[s]").astype(np.int64)
    ones = np.ones(len(table), np.float32)
    bought = Rows(rows.astype(np.int32), columns.astype(np.int32), ones, times)
    return Dataset(bought, users, items, 0)


def answerable(train: Dataset, test: Pairs, *, only_new: bool) -> Pairs:
    """The pairs of known users and items; of them those that were not bought before."""
    users = test.users[test.rows]
    is_kept = (users >= 0) & (test.items >= 0)
    if only_new:
        n_items = len(train.item_ids)
        seen = train.rows.users.astype(np.int64) * n_items + train.rows.items
        is_kept &= ~np.isin(users * n_items + test.items, seen)
    asked, rows = np.unique(test.rows[is_kept], return_inverse=True)
    return test._replace(
        user_ids=test.user_ids[asked],
        rows=rows,
        users=test.users[asked],
        items=test.items[is_kept],
        item_ids=test.item_ids[is_kept],
    )


def main(days_left_out: int) -> None:
    """Print the table of each task."""
    data = purchases(days_left_out)
    is_test = data.rows.times >= data.rows.times.max() - TEST_DAYS * DAY
    train, test = parted(data, is_test)
    for exclude_seen, task in ((False, "next basket"), (True, "new items")):
        asked = answerable(train, test, only_new=exclude_seen)
        choice = choice_from_settings(load_settings(exclude_seen=exclude_seen))
        found = offline.evaluate_implicit(
            train, [Fold(train.rows, asked)], choice, k=K, exclude_seen=exclude_seen
        )
        typer.echo(f"{task}: {len(asked.user_ids):,} households\n{HEADER}")
        for name, of in found.ranking.items():
            interval = f"{of['ndcg_low']:.4f} - {of['ndcg_high']:.4f}"
            typer.echo(f"{name:<16} {of['ndcg']:8.4f} {interval:>15} {of['recall']:10.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
