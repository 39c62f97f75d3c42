"""What the default settings do on sales that go on, and what transforms do; prints two tables.

``python -m tests.benchmarks.bench_defaults [FILE ...]``: files of sales as `recgraph evaluate`
reads them, beside Complete Journey and sales that are made. The first purchases of 28 days, by
users and of items known before, are foretold from what was before them. The last 28 days are left
out: defaults are chosen on this table. All is solved in this process, with Spark's penalty where
`recgraph train` has it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer
from msgspec.structs import replace
from threadpoolctl import threadpool_limits

from recgraph import dataset
from recgraph.bench import Bench
from recgraph.config import load_settings
from recgraph.dataset import Dataset, Rows, parted
from recgraph.defaults import default_choice
from recgraph.jobs.tuning import choice_from_settings
from recgraph.model import Ints
from recgraph.recommender import Choice
from recgraph.tuning import TRANSFORMS
from recgraph.validation import Validation, validation
from tests.benchmarks.bench_ranking import DAY, TEST_DAYS, answerable, purchases
from tests.benchmarks.sales import make_sales

K = 10
MADE = 3_000, 7_200, 200_713
"""Users, items and purchases that are made."""


def main(paths: list[Path]) -> None:
    """Print both tables, a row a set."""
    trained = choice_from_settings(load_settings())
    choices, transforms = [], []
    with threadpool_limits(1, "blas"):
        for name, data in _sets(paths):
            held_out = _held_out(data)
            bench = Bench(held_out, K)
            rows, shape = held_out.train, held_out.shape
            tried = [default_choice(rows, shape, by_time=by_time) for by_time in (False, True)]
            choices.append([name, *(_figures(bench, each) for each in (*tried, trained))])
            by_name = (replace(trained, transform=each) for each in TRANSFORMS)
            transforms.append([name, *(_figures(bench, each) for each in by_name)])
    _print(["als+walk / als", "what is missing", "what comes next", "train"], choices)
    _print(["train's, by transform", *TRANSFORMS], transforms)


def _sets(paths: list[Path]) -> Iterator[tuple[str, Dataset]]:
    for path in paths:
        data = dataset.read_dataset(path)
        yield path.name, data._replace(rows=data.rows.counted())
    yield "Complete Journey", purchases(0)
    yield "made", _made()


def _made() -> Dataset:
    sales = make_sales(*MADE)
    times = sales.times.astype("datetime64[s]").astype(np.int64)
    sides = (each.astype(np.int32) for each in (sales.users, sales.items))
    ids = (np.arange(n).astype(object) for n in MADE[:2])
    return Dataset(Rows(*sides, np.ones(len(times), np.float32), times), *ids, 0)


def _held_out(data: Dataset) -> Validation:
    """The 28 days before the last 28."""
    assert data.rows.times is not None, "there is no column timestamp"
    data = data._replace(rows=data.rows.where(data.rows.times <= _last_days(data.rows.times)))
    train, test = parted(data, data.rows.times >= _last_days(data.rows.times))
    test = answerable(train, test, only_new=True)
    ones = np.ones(len(test.items), np.float32)
    asked = Rows(test.users[test.rows], test.items, ones, None)
    relevant = dataset.rating_matrix(asked, train.shape)
    return validation(train.rows, relevant, exclude_seen=True, seed=1)


def _last_days(times: Ints) -> int:
    return int(times.max()) - TEST_DAYS * DAY


def _figures(bench: Bench, choice: Choice) -> str:
    alone = replace(choice, walk_weight=0.0)
    return " / ".join(f"{bench.measure(each).mean():.4f}" for each in (choice, alone))


def _print(header: list[str], rows: list[list[str]]) -> None:
    for cells in (header, ["---"] * len(header), *rows):
        typer.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
