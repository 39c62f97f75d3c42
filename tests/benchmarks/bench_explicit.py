"""Predicted ratings: ours against a constant, the biases and plain MLlib; prints RMSE and MAE.

``python -m tests.benchmarks.bench_explicit [FILE ...]``: files of product reviews, as `recgraph
reviews load` reads them; without one, ratings of films are made (`tests.benchmarks.films`). The
last rating of each pair counts. Five folds at random, seeded; every fold's settings are searched on
a part of its training, as `recgraph evaluate --feedback explicit` does. MLlib is as it comes: rank
10, ten sweeps, regularization .1; a pair that it cannot predict counts with the mean. Intervals are
over users, of whom all folds' pairs are taken together.
"""

import gzip
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import typer
from pyspark.ml.recommendation import ALS
from pyspark.sql import SparkSession
from threadpoolctl import threadpool_limits

from recgraph import explicit, intervals, jobs, metrics
from recgraph.config import load_settings
from recgraph.dataset import Rows, last_ratings
from recgraph.model import Floats, Matrix
from recgraph.reviews import Review, Rules, parse_reviews, rules_from_settings
from recgraph.stages import Stages
from tests.benchmarks.films import make_ratings

N_FOLDS, N_TRIALS, MINUTES, SEED = 5, 2, 2.0, 42
FILMS = 943, 1_682, 100_000
"""Users, films and ratings that are made."""
HEADER = f"{'':<22} {'RMSE':>7} {'95 % interval':>17} {'MAE':>7} {'95 % interval':>17}"


def main(paths: list[Path]) -> None:
    """Print a table for each file."""
    with tempfile.TemporaryDirectory() as name:
        settings = load_settings(data_dir=Path(name), driver_memory="2g")
        with jobs.open_spark(settings, Stages()) as spark, threadpool_limits(1, "blas"):
            for title, ratings in _sets(paths, rules_from_settings(settings)):
                sizes = f"{ratings.shape[0]:,} users, {ratings.shape[1]:,} items"
                typer.echo(f"{title}: {sizes}, {ratings.nnz:,} ratings\n{HEADER}")
                _measure(ratings, spark)


def _sets(paths: list[Path], rules: Rules) -> Iterator[tuple[str, Matrix]]:
    if not paths:
        yield "films", films_of(FILMS[2])
    for path in paths:
        yield path.name, ratings_of_reviews(path, rules)


def films_of(n_ratings: int) -> Matrix:
    """Ratings of films, made."""
    made = make_ratings(*FILMS[:2], n_ratings, seed=SEED)
    rows = Rows(made.users.astype(np.int32), made.films.astype(np.int32), made.stars, None)
    return last_ratings(rows, FILMS[:2])


def ratings_of_reviews(path: Path, rules: Rules) -> Matrix:
    """The last rating of each pair in a file of reviews."""
    with gzip.open(path) as lines:
        parsed = parse_reviews(list(lines), rules, now=datetime.now(UTC))
    reviews = [each for each in parsed if isinstance(each, Review)]
    (users, rows), (items, columns) = (
        np.unique([getattr(each, name) for each in reviews], return_inverse=True)
        for name in ("user_id", "item_id")
    )
    times = np.array([int(each.reviewed_at.timestamp()) for each in reviews])
    stars = np.array([each.rating for each in reviews], np.float32)
    shape = len(users), len(items)
    return last_ratings(Rows(rows.astype(np.int32), columns.astype(np.int32), stars, times), shape)


def _measure(ratings: Matrix, spark: SparkSession) -> None:
    pairs = ratings.tocoo()
    rows = Rows(pairs.row, pairs.col, pairs.data, None)
    folds = np.random.default_rng(SEED).permutation(ratings.nnz) % N_FOLDS
    found: dict[str, Floats] = {}
    for fold in range(N_FOLDS):
        is_test = folds == fold
        predicted = _predictions(rows.where(~is_test), rows.where(is_test), ratings.shape, spark)
        for name, values in predicted.items():
            found.setdefault(name, np.empty(ratings.nnz, np.float32))[is_test] = values
    for name, values in found.items():
        _print(name, values.astype(np.float64) - rows.ratings, rows.users)


def _predictions(
    rows: Rows, test: Rows, shape: tuple[int, int], spark: SparkSession
) -> dict[str, Floats]:
    """Predictor -> the ratings that it gives the pairs of the test."""
    ratings = last_ratings(rows, shape)
    start = explicit.default_choice(rows, seed=SEED)
    chosen = explicit.tune(rows, shape, start, minutes=MINUTES, max_trials=N_TRIALS).best
    typer.echo(f"  {chosen}", err=True)
    default, best = (explicit.fit(ratings, choice) for choice in (start, chosen))
    pairs = test.users, test.items
    return {
        "mean": np.full(len(test.users), ratings.data.mean(), np.float32),
        "biases": explicit.predict(explicit.without_taste(default), *pairs),
        "MLlib as it comes": _by_mllib(rows, test, spark),
        "biases+als, defaults": explicit.predict(default, *pairs),
        "biases, searched": explicit.predict(explicit.without_taste(best), *pairs),
        "biases+als, searched": explicit.predict(best, *pairs),
    }


def _by_mllib(rows: Rows, test: Rows, spark: SparkSession) -> Floats:
    columns = "user int, item int, rating float"
    train, asked = (
        spark.createDataFrame(
            pd.DataFrame({"user": of.users, "item": of.items, "rating": of.ratings}), columns
        )
        for of in (rows, test)
    )
    model = ALS(userCol="user", itemCol="item", ratingCol="rating", seed=SEED).fit(train)
    given = model.transform(asked).toPandas().set_index(["user", "item"])["prediction"]
    values = given.loc[list(zip(test.users, test.items, strict=True))].to_numpy(np.float32)
    return np.where(np.isnan(values), rows.ratings.mean(), values)


def _print(name: str, errors: metrics.Floats64, users: np.ndarray) -> None:
    cells = []
    for values, is_root in ((np.square(errors), True), (np.abs(errors), False)):
        interval = intervals.interval_of_users(intervals.user_sums(users, values))
        assert interval is not None  # there are several users
        mean = float(values.mean())
        low, high = intervals.root(interval) if is_root else interval
        cells += [f"{mean**0.5 if is_root else mean:7.4f}", f"{low:8.4f} - {high:.4f}"]
    typer.echo(f"{name:<22} {' '.join(cells)}")


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
