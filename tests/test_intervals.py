"""Intervals from sums over users, beside those of a bootstrap."""

import numpy as np
import pytest

from recgraph import intervals, metrics


def test_the_interval_of_users_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 6, 4000).astype(float)
    values = counts * rng.gamma(2.0, 0.5, 4000)
    pairs = np.repeat(np.arange(4000), counts.astype(int))
    sums = intervals.user_sums(pairs, (values / counts)[pairs])
    found = intervals.interval_of_users(sums)
    drawn = metrics.bootstrap_interval(values, weights=counts, seed=1)
    assert found is not None
    assert found.low < values.sum() / counts.sum() < found.high
    assert found.high - found.low == pytest.approx(drawn.high - drawn.low, rel=0.15)


def test_one_user_has_no_interval() -> None:
    assert intervals.interval_of_users(intervals.UserSums(1, 2.0, 3.0, 4.0, 6.0, 9.0)) is None


def test_errors_of_nothing_have_an_interval_of_nothing() -> None:
    sums = intervals.user_sums(np.array([0, 0, 2]), np.zeros(3))
    assert sums.n_users == 2
    assert intervals.interval_of_users(sums) == (0.0, 0.0)
