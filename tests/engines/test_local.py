"""The local engine: what ALS must find, its exact last half-step, biases, and what it refuses."""

import numpy as np
import pytest
from scipy import sparse

from recgraph import biases
from recgraph.engines import local
from recgraph.errors import ModelError
from recgraph.model import Matrix, fold_in_users, score_users


@pytest.fixture
def checkerboard() -> Matrix:
    """Even users buy even items, odd ones odd items; the diagonal is withheld."""
    board = np.add.outer(np.arange(20), np.arange(20)) % 2 == 0
    np.fill_diagonal(board, val=False)
    return sparse.csr_matrix(board.astype(np.float32))


def fit(ratings: Matrix, **given: float) -> local.Factors:
    settings = {"regularization": 0.5, "alpha": 10.0} | given
    return local.fit_implicit(ratings, n_factors=4, n_iterations=10, seed=1, **settings)


def test_withheld_diagonal_is_recommended(checkerboard: Matrix) -> None:
    factors = fit(checkerboard)
    scores = score_users(factors.users, factors.items)
    scores[checkerboard.toarray() > 0] = -np.inf
    assert scores.argmax(axis=1).tolist() == list(range(20))


def test_users_are_one_exact_half_step_from_the_items(checkerboard: Matrix) -> None:
    alpha, regularization = 10.0, 0.5
    factors = fit(checkerboard)
    items = factors.items.astype(np.float64)
    for user in (0, 7):
        near = items[checkerboard[user].indices]
        left = items.T @ items + alpha * near.T @ near + regularization * np.eye(4)
        right = (1 + alpha) * near.sum(axis=0)
        assert np.linalg.solve(left, right) == pytest.approx(factors.users[user], abs=1e-5)


def test_same_seed_gives_same_factors(checkerboard: Matrix) -> None:
    assert np.array_equal(fit(checkerboard).items, fit(checkerboard).items)


def test_ratings_are_not_changed(checkerboard: Matrix) -> None:
    before = checkerboard.copy()
    fit(checkerboard)
    assert np.array_equal(before.data, checkerboard.data)


def test_ratings_that_are_not_finite_are_refused(checkerboard: Matrix) -> None:
    checkerboard.data[0] = np.inf
    with pytest.raises(ModelError, match="infinite"):
        fit(checkerboard)


def test_biases_of_hand_computed_ratings() -> None:
    # Without damping: item 0 is one above item 1 for everybody, user 1 two above user 0.
    ratings = sparse.csr_matrix(np.array([[2.0, 1.0], [4.0, 3.0]], np.float32))
    found = biases.fit_biases(ratings, damping=0)
    assert found.mean == 2.5
    assert found.users == pytest.approx([-1, 1])
    assert found.items == pytest.approx([0.5, -0.5])
    assert np.abs(biases.residuals(ratings, found).data).max() < 1e-6


def test_joined_factors_predict_mean_biases_and_taste() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=(4, 2))
    found = biases.Biases(3.0, np.array([0.5, 0, -1], np.float32), np.arange(4, dtype=np.float32))
    user_side, item_side = biases.joined(users, items.astype(np.float32), found)
    bare = 3 + found.users[:, None] + found.items
    assert user_side @ item_side.T == pytest.approx(bare + users @ items.T, abs=1e-5)
    assert biases.without_taste(user_side) @ item_side.T == pytest.approx(bare, abs=1e-5)


def test_a_rating_of_nothing_is_a_rating() -> None:
    ratings = sparse.csr_matrix(
        (np.array([0, 4], np.float32), np.array([0, 1]), np.array([0, 2])), shape=(1, 2)
    )
    assert biases.fit_biases(ratings).mean == 2.0


def test_explicit_factors_find_what_biases_cannot() -> None:
    taste = np.outer(np.tile([1.0, -1.0], 15), np.tile([1.0, -1.0], 10)).astype(np.float32)
    seen = np.random.default_rng(0).random(taste.shape) < 0.6
    residual = sparse.csr_matrix(seen.astype(np.float32))
    residual.data = taste[seen]
    factors = local.fit_explicit(
        residual, n_factors=2, regularization=0.01, n_iterations=10, seed=3
    )
    predicted = score_users(factors.users, factors.items)
    assert np.abs(predicted - taste)[~seen].max() < 0.2


@pytest.mark.parametrize("alpha", [None, 3.0])
def test_fold_in_solves_each_user_alone(alpha: float | None) -> None:
    rng = np.random.default_rng(5)
    items = rng.normal(size=(30, 6)).astype(np.float32)
    ratings = sparse.random(12, 30, 0.3, format="csr", random_state=2, dtype=np.float32)
    ratings = sparse.vstack([ratings, sparse.csr_matrix((1, 30), dtype=np.float32)], format="csr")
    found = fold_in_users(items, ratings, regularization=0.2, alpha=alpha)
    exact = items.astype(np.float64)
    for user in range(12):
        row = ratings[user]
        near, values = exact[row.indices], row.data.astype(np.float64)
        penalty = 0.2 * len(values) * np.eye(6)
        if alpha is None:
            left, right = near.T @ near + penalty, near.T @ values
        else:
            left = exact.T @ exact + alpha * (near.T * values) @ near + penalty
            right = near.T @ (1 + alpha * values)
        assert np.linalg.solve(left, right) == pytest.approx(found[user], abs=2e-4)
    assert not found[12].any()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_penalties_grow_with_the_number_of_ratings_as_asked(exponent: float) -> None:
    ratings = sparse.random(80, 50, 0.2, format="csr", random_state=4, dtype=np.float32)
    settings = {"regularization": 0.3, "alpha": 5.0}
    found = local.fit_implicit(
        ratings, n_factors=4, n_iterations=15, seed=1, exponent=exponent, **settings
    )
    # The same problem by exact half-steps, each row with its own penalty.
    items = np.random.default_rng(0).random((50, 4)).astype(np.float32) * 0.01
    by_item = ratings.T.tocsr()
    for _ in range(15):
        users = fold_in_users(items, ratings, exponent=exponent, **settings)
        items = fold_in_users(users, by_item, exponent=exponent, **settings)
    exact = local.Factors(fold_in_users(items, ratings, exponent=exponent, **settings), items)
    losses = [_loss(ratings, each, exponent, **settings) for each in (found, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def _loss(
    ratings: Matrix, factors: local.Factors, exponent: float, *, regularization: float, alpha: float
) -> float:
    """What ALS makes small: Hu et al. (2008), equation 3, with the penalties of Zhou et al."""
    dense = ratings.toarray()
    errors = (1 + alpha * dense) * np.square((dense > 0) - factors.users @ factors.items.T)
    penalties = (
        ((dense > 0).sum(axis=axis) ** exponent) @ np.square(side).sum(axis=1)
        for axis, side in ((1, factors.users), (0, factors.items))
    )
    return float(errors.sum() + regularization * sum(penalties))
