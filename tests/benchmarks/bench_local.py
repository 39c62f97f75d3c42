"""The local engine against the implicit library's own fit and lists; prints ratios.

``python -m tests.benchmarks.bench_local TRAIN.csv [TEST.csv]``: a file as `recgraph evaluate` reads
it. Both fit the same matrix in turn; ours ends with one exact half-step more.
"""

import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import typer
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from recgraph import blend, dataset, recommender
from recgraph.engines import local
from recgraph.model import Matrix
from tests.benchmarks.bench_spark import seconds

N_ROUNDS = 3
K = 10


def fit_theirs(ratings: Matrix, n_factors: int) -> AlternatingLeastSquares:
    """The library alone, on the same confidences."""
    confidence = ratings.copy()
    confidence.data = 1 + confidence.data
    model = AlternatingLeastSquares(
        factors=n_factors, regularization=10.0, iterations=10, random_state=1, dtype=np.float32
    )
    model.fit(confidence, show_progress=False)
    return model


def fit_ours(ratings: Matrix, n_factors: int) -> local.Factors:
    """Our engine."""
    return local.fit_implicit(
        ratings, n_factors=n_factors, regularization=10.0, alpha=1.0, n_iterations=10, seed=1
    )


def main(path: Path) -> None:
    """Print the ratios."""
    data = dataset.read_dataset(path)
    ratings = dataset.rating_matrix(data.rows, data.shape)
    typer.echo(f"{data.shape[0]:,} users, {data.shape[1]:,} items, {ratings.nnz:,} interactions")
    with threadpool_limits(1, "blas"):
        for n_factors in (32, 64, 128):
            fits = (partial(fit, ratings, n_factors) for fit in (fit_ours, fit_theirs))
            _compare(f"fit, {n_factors} factors", *fits)
        model = fit_theirs(ratings, 64)
    signals = recommender.Signals(blend.Items(model.item_factors), model.user_factors, ratings)
    users = np.arange(data.shape[0])
    _compare(
        f"top {K} for every user, masked",
        lambda: recommender.recommend(signals, blend.Coefficients(), users, k=K, seen=ratings),
        lambda: model.recommend(users, ratings, N=K),
    )


def _compare(name: str, run_ours: Callable[[], object], run_theirs: Callable[[], object]) -> None:
    pairs = [(seconds(run_ours), seconds(run_theirs)) for _ in range(N_ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    typer.echo(f"{name}: ours {ours:.2f} s, implicit {theirs:.2f} s, ours / implicit {ratio:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
