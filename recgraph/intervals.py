"""Figures that are a ratio of sums over users -> their confidence intervals, from sums alone.

The bootstrap of `recgraph.metrics` draws users, and so needs a value of each; errors of predictions
come as sums from many tasks, and are as many as there are ratings.
"""

import math
from typing import NamedTuple

import numpy as np

from recgraph.metrics import Floats64, Interval
from recgraph.model import Ints

_NORMAL_975 = 1.959964
"""97.5 % of a normal distribution lie below so many standard deviations."""


class UserSums(NamedTuple):
    """What users add up to, of a figure that is sum(values) / sum(counts) over all of them."""

    n_users: int
    counts: float
    values: float
    squared_counts: float
    products: float
    """Of count and value."""
    squared_values: float


def interval_of_users(sums: UserSums) -> Interval | None:
    """The 95 % interval of sum(values) / sum(counts), users being drawn; None of one user.

    It needs nothing but sums, so that it is small whatever the number of users. It is that of the
    logarithm: errors are skewed, and a figure that is never negative has no such end.

    Parameters
    ----------
    sums
        Of values that are 0 or more.

    References
    ----------
    Cochran (1977), Sampling techniques, section 2.11: the variance of a ratio.
    """
    if sums.n_users < 2:
        return None
    ratio = sums.values / sums.counts
    if ratio == 0:
        return Interval(0.0, 0.0)
    spread = sums.squared_values - 2 * ratio * sums.products + ratio**2 * sums.squared_counts
    variance = spread * sums.n_users / (sums.n_users - 1) / sums.counts**2
    factor = math.exp(_NORMAL_975 * max(variance, 0.0) ** 0.5 / ratio)
    return Interval(ratio / factor, ratio * factor)


def user_sums(users: Ints, values: Floats64) -> UserSums:
    """The sums of a value a pair, by the user that each pair is of, from 0."""
    counts, totals = np.bincount(users).astype(np.float64), np.bincount(users, values)
    sums = counts.sum(), totals.sum(), counts @ counts, counts @ totals, totals @ totals
    return UserSums(int((counts > 0).sum()), *map(float, sums))


def root(interval: Interval) -> Interval:
    """The interval of the root of a figure that is 0 or more."""
    return Interval(interval.low**0.5, interval.high**0.5)
