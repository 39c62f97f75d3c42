"""The penalty of taste goes with how much is known: where that is little, biases speak."""

import numpy as np
import pytest

from recgraph import biases, dataset, explicit, metrics
from recgraph.explicit import Choice
from tests.benchmarks import films, reviews_data


def sparse_ratings() -> tuple[dataset.Rows, tuple[int, int]]:
    """About four ratings a user, mostly biases and noise, as reviews have them."""
    return reviews_data.make_ratings(30_000, seed=1)


def rmse(found: dataset.Rows, shape: tuple[int, int], choice: Choice, *, taste: bool) -> float:
    """On a fifth of the ratings."""
    is_test = np.random.default_rng(0).random(len(found.users)) < 0.2
    test = found.where(is_test)
    model = explicit.fit(dataset.last_ratings(found.where(~is_test), shape), choice)
    model = model if taste else explicit.without_taste(model)
    return metrics.rmse(explicit.predict(model, test.users, test.items) - test.ratings)


def test_the_penalty_falls_with_the_ratings_of_the_better_known_side() -> None:
    assert biases.regularization_for(169_000, 1_000, 5_000) == pytest.approx(0.1)
    assert biases.regularization_for(169_000, 5_000, 1_000) == pytest.approx(0.1)
    assert biases.regularization_for(4_000, 1_000, 2_000) == pytest.approx(0.65)
    assert biases.regularization_for(1, 1, 1) == 1
    assert biases.regularization_for(10**9, 1, 1) == 0.02


def test_where_users_rated_little_the_default_is_near_to_biases() -> None:
    found, shape = sparse_ratings()
    choice = explicit.default_choice(found, n_factors=8, n_iterations=5)
    assert 0.3 < choice.regularization < 0.6
    bare = rmse(found, shape, choice, taste=False)
    assert rmse(found, shape, choice, taste=True) < bare * 1.02
    dense = explicit.Choice(n_factors=8, n_iterations=5, regularization=0.1)
    assert rmse(found, shape, dense, taste=True) > bare * 1.06


def test_where_users_rated_much_the_default_finds_their_taste() -> None:
    made = films.make_ratings(300, 400, 30_000)
    found = dataset.Rows(made.users, made.films, made.stars, None)
    choice = explicit.default_choice(found, n_factors=8, n_iterations=5)
    taste, bare = (rmse(found, (300, 400), choice, taste=taste) for taste in (True, False))
    assert taste < bare * 0.99


def test_what_is_given_is_taken() -> None:
    found, _ = sparse_ratings()
    choice = explicit.default_choice(found, regularization=0.2, damping=3.0)
    assert (choice.regularization, choice.damping) == (0.2, 3.0)
    assert explicit.default_choice(found, regularization=None).regularization > 0.3
