"""Ratings in memory -> ALS factors: implicit feedback by the `implicit` library, explicit by NumPy.

A penalty is ``regularization`` times a power of the number of the user's or item's ratings. Spark's
exponent is 1 (ALS-WR), that of the implicit library 0; the implicit fit takes either, or one
between, and the explicit fit scales as Spark does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from recgraph.errors import ModelError
from recgraph.model import Floats, Ints, Matrix, fold_in_users

OnSweep = Callable[[int], None]

_GROUP_RATIO = 1.2
"""Most and least entries of the rows that are solved with one penalty."""


class Factors(NamedTuple):
    """What ALS found: float32 arrays, a row a user or an item."""

    users: Floats
    items: Floats


def fit_implicit(
    ratings: Matrix,
    *,
    n_factors: int,
    regularization: float,
    alpha: float,
    n_iterations: int,
    seed: int,
    exponent: float = 0.0,
    on_sweep: OnSweep = lambda sweep: None,
) -> Factors:
    """Factors of implicit feedback, with confidence ``1 + alpha * rating``.

    The library updates items last; one exact half-step of the users ends the fit, so that
    `recgraph.model.fold_in_users` gives the same users from the items.

    Parameters
    ----------
    exponent
        How the penalty grows with the number of ratings: 0 as in the library, 1 as in Spark.
    ratings, regularization, alpha, n_iterations
        As in `fit_items`, and so is what is raised.
    """
    items = fit_items(
        ratings,
        n_factors=n_factors,
        regularization=regularization,
        alpha=alpha,
        n_iterations=n_iterations,
        seed=seed,
        exponent=exponent,
        on_sweep=on_sweep,
    )
    users = fold_in_users(
        items, ratings, regularization=regularization, alpha=alpha, exponent=exponent
    )
    return _finite(Factors(users, items))


def fit_items(
    ratings: Matrix,
    *,
    n_factors: int,
    regularization: float,
    alpha: float,
    n_iterations: int,
    seed: int,
    exponent: float = 0.0,
    on_sweep: OnSweep = lambda sweep: None,
) -> Floats:
    """The item factors of implicit feedback, for users are one half-step from them.

    Parameters
    ----------
    ratings
        float32 ``(n_users, n_items)``, above 0.
    exponent
        As in `fit_implicit`. Beside 0 it takes about twice the time: the library has one penalty a
        call, so that it is called for groups of rows, whose penalties differ by at most a tenth
        from the exact ones.

    Raises
    ------
    ModelError
        The library is not installed, or ratings or factors are not finite.

    References
    ----------
    Hu, Koren and Volinsky (2008); Takács, Pilászy and Tikk (2011), for the solver; Rendle et al.
    (2021), Revisiting the performance of iALS on item recommendation benchmarks, for the exponent.
    """
    try:
        import implicit  # noqa: F401
        from threadpoolctl import threadpool_limits
    except ImportError:
        message = "this needs the implicit library: pip install 'recgraph[local]'"
        raise ModelError(message) from None
    _refuse_infinite(ratings)
    confidence = _confidence(ratings, alpha)
    # Its own threads and those of BLAS would fight for the cores.
    with threadpool_limits(1, "blas"):
        model = _new_model(n_factors, regularization, n_iterations, seed)
        if exponent == 0:
            model.fit(
                confidence,
                show_progress=False,
                callback=lambda sweep, *_: on_sweep(sweep + 1),
            )
        else:
            _fit_in_groups(model, confidence, exponent, on_sweep)
    items: Floats = model.item_factors
    return _finite(Factors(items[:0], items)).items


def _new_model(n_factors: int, regularization: float, n_iterations: int, seed: int) -> Any:
    """The library's model, not fitted."""
    from implicit.cpu.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=n_factors,
        regularization=regularization,
        iterations=n_iterations,
        random_state=seed,
        dtype=np.float32,
    )


def _confidence(ratings: Matrix, alpha: float) -> Matrix:
    confidence = ratings.astype(np.float32).copy()
    confidence.data = 1 + np.float32(alpha) * confidence.data
    return confidence


class _Group(NamedTuple):
    """Rows with about as many entries each."""

    rows: Ints
    entries: Matrix
    mean_entries: float


def _groups(confidence: Matrix) -> list[_Group]:
    """The rows that have entries, in groups whose numbers of entries differ by a fifth at most."""
    counts = np.diff(confidence.indptr)
    steps = np.floor(np.log(np.maximum(counts, 1)) / np.log(_GROUP_RATIO)).astype(int)
    found = (np.flatnonzero((steps == step) & (counts > 0)) for step in np.unique(steps))
    return [
        _Group(rows, confidence[rows], float(counts[rows].mean())) for rows in found if len(rows)
    ]


def _fit_in_groups(model: Any, confidence: Matrix, exponent: float, on_sweep: OnSweep) -> None:
    """Fit as the library does, with the penalty of each group; rows without entries stay 0."""
    rng = np.random.default_rng(model.random_state)
    sides = []
    for entries in (confidence, confidence.T.tocsr()):
        factors = rng.random((entries.shape[0], model.factors), dtype=np.float32) * 0.01
        factors[np.diff(entries.indptr) == 0] = 0
        sides.append((factors, _groups(entries)))
    (users, by_user), (items, by_item) = sides
    for sweep in range(model.iterations):
        _half_sweep(model, users, items, by_user, exponent)
        _half_sweep(model, items, users, by_item, exponent)
        on_sweep(sweep + 1)
    model.user_factors, model.item_factors = users, items


def _half_sweep(
    model: Any, factors: Floats, fixed: Floats, groups: list[_Group], exponent: float
) -> None:
    """Solve ``factors`` in place, the other side held fixed."""
    for group in groups:
        part = factors[group.rows]
        penalty = model.regularization * group.mean_entries**exponent
        model.solver(group.entries, part, fixed, penalty, num_threads=model.num_threads)
        factors[group.rows] = part


def fit_explicit(
    residual: Matrix,
    *,
    n_factors: int,
    regularization: float,
    n_iterations: int,
    seed: int,
    on_sweep: OnSweep = lambda sweep: None,
) -> Factors:
    """Factors whose product predicts the residuals of explicit ratings; users are solved last.

    References
    ----------
    Zhou et al. (2008), Large-scale parallel collaborative filtering for the Netflix prize (ALS-WR).
    """
    rng = np.random.default_rng(seed)
    scale = 0.1 / np.sqrt(n_factors)
    items = rng.normal(0, scale, (residual.shape[1], n_factors)).astype(np.float32)
    by_item = residual.T.tocsr()
    users = fold_in_users(items, residual, regularization=regularization)
    for sweep in range(n_iterations):
        items = fold_in_users(users, by_item, regularization=regularization)
        users = fold_in_users(items, residual, regularization=regularization)
        on_sweep(sweep + 1)
    return _finite(Factors(users, items))


def _refuse_infinite(ratings: Matrix) -> None:
    if not np.isfinite(ratings.data).all():
        message = "a rating is infinite or no number; finite ratings were expected."
        raise ModelError(message)


def _finite(factors: Factors) -> Factors:
    """The factors, if they are finite."""
    if not all(np.isfinite(side).all() for side in factors):
        message = (
            "ALS gave factors that are not finite: the ratings or the regularization are out of "
            "range. Is a rating huge, or regularization near 0?"
        )
        raise ModelError(message)
    return factors
