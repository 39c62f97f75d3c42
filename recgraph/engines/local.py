"""Ratings in memory -> ALS factors: implicit feedback by the `implicit` library, explicit by NumPy.

Penalties: Spark multiplies ``regularization`` by the number of a user's or an item's ratings
(ALS-WR), the implicit library does not. The implicit fit here therefore takes the plain penalty,
about ``regularization * mean number of ratings`` of Spark's; the explicit fit scales as Spark does.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recgraph.errors import ModelError
from recgraph.model import Floats, Matrix, fold_in_users

OnSweep = Callable[[int], None]


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
    on_sweep: OnSweep = lambda sweep: None,
) -> Factors:
    """Factors of implicit feedback, with confidence ``1 + alpha * rating``.

    The library updates items last; one exact half-step of the users ends the fit, so that
    `recgraph.model.fold_in_users` gives the same users from the items.

    Parameters
    ----------
    ratings
        float32 ``(n_users, n_items)``, above 0.

    Raises
    ------
    ModelError
        The library is not installed, or ratings or factors are not finite.

    References
    ----------
    Hu, Koren and Volinsky (2008); Takács, Pilászy and Tikk (2011), for the solver.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError:
        message = "this needs the implicit library: pip install 'recgraph[local]'"
        raise ModelError(message) from None
    _refuse_infinite(ratings)
    confidence = ratings.astype(np.float32).copy()
    confidence.data = 1 + np.float32(alpha) * confidence.data
    # Its own threads and those of BLAS would fight for the cores.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=n_factors,
            regularization=regularization,
            iterations=n_iterations,
            random_state=seed,
            dtype=np.float32,
        )
        model.fit(confidence, show_progress=False, callback=lambda sweep, *_: on_sweep(sweep + 1))
        users = model.recalculate_user(np.arange(ratings.shape[0]), confidence)
    return _finite(Factors(users, model.item_factors))


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
