"""RMSE of predicted ratings by the penalty of taste, on sets of many and of few ratings a user.

``python -m tests.benchmarks.bench_penalty [FILE ...]``: files of product reviews, beside films and
reviews that are made. A fifth of the ratings is held out at random, seeded. ``default`` is the
penalty that `recgraph.biases.regularization_for` gives.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import typer
from threadpoolctl import threadpool_limits

from recgraph import explicit, metrics
from recgraph.config import load_settings
from recgraph.dataset import Rows, last_ratings
from recgraph.model import Matrix
from recgraph.reviews import rules_from_settings
from tests.benchmarks import reviews_data
from tests.benchmarks.bench_explicit import FILMS, SEED, films_of, ratings_of_reviews

PENALTIES = (0.05, 0.1, 0.2, 0.4, 0.8)
N_FACTORS, N_ITERATIONS = 32, 7
N_REVIEWS = 300_000


def main(paths: list[Path]) -> None:
    """Print a row a set."""
    typer.echo(
        f"| ratings | a user | mean | biases | {' | '.join(map(str, PENALTIES))} | default |"
    )
    with threadpool_limits(1, "blas"):
        for name, ratings in _sets(paths):
            _measure(name, ratings)


def _sets(paths: list[Path]) -> Iterator[tuple[str, Matrix]]:
    yield "films", films_of(FILMS[2])
    yield "films, a fifth", films_of(FILMS[2] // 5)
    yield "reviews, made", last_ratings(*reviews_data.make_ratings(N_REVIEWS, seed=SEED))
    rules = rules_from_settings(load_settings())
    for path in paths:
        yield path.name, ratings_of_reviews(path, rules)


def _measure(name: str, ratings: Matrix) -> None:
    pairs = ratings.tocoo()
    rows = Rows(pairs.row, pairs.col, pairs.data, None)
    is_test = np.random.default_rng(SEED).random(ratings.nnz) < 0.2
    train, test = rows.where(~is_test), rows.where(is_test)
    matrix = last_ratings(train, ratings.shape)
    start = explicit.default_choice(train, n_factors=N_FACTORS, n_iterations=N_ITERATIONS)
    cells, model = [], None
    for penalty in (*PENALTIES, start.regularization):
        model = explicit.fit(matrix, msgspec.structs.replace(start, regularization=penalty))
        cells.append(_rmse(explicit.predict(model, test.users, test.items), test))
    assert model is not None  # there are penalties
    bare = explicit.predict(explicit.without_taste(model), test.users, test.items)
    mean = np.full(len(test.users), train.ratings.mean())
    a_user = len(train.users) / len(np.unique(train.users))
    first = [name, f"{a_user:.1f}", _rmse(mean, test), _rmse(bare, test)]
    last = f"{cells.pop()} ({start.regularization:.2f})"
    typer.echo(f"| {' | '.join([*first, *cells, last])} |")


def _rmse(predicted: np.ndarray, test: Rows) -> str:
    return f"{metrics.rmse(predicted.astype(np.float64) - test.ratings):.4f}"


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
