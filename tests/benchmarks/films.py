"""Ratings as film sites have them, for benchmarks: made from a seed, of the shape of MovieLens.

A rating is the mean, what a user and a film are apart from it, a taste of few dimensions, and
noise; it is rounded to whole stars. Users who rate much and films that are rated much are few, and
popular films are rated higher. No rating of a real set is in it.
"""

from typing import NamedTuple

import numpy as np

_MEAN, _LOWEST, _HIGHEST = 3.53, 1.0, 5.0
_USERS, _FILMS, _TASTE, _NOISE = 0.43, 0.5, 0.45, 0.87
"""Standard deviations of what a rating is made of, in stars."""
_BY_POPULARITY = 0.2
"""Stars that a film gains when it is rated e times as often."""
_N_TASTES, _DECAY = 20, 0.85
"""Dimensions of taste; each weighs so much of the one before."""
_LEAST = 20
"""Ratings of a user at least, as in MovieLens."""


class Ratings(NamedTuple):
    """One rating an element; each pair of user and film comes once."""

    users: np.ndarray
    films: np.ndarray
    stars: np.ndarray
    """Float32, 1 to 5."""


def make_ratings(n_users: int, n_films: int, n_ratings: int, *, seed: int = 1) -> Ratings:
    """About ``n_ratings`` ratings with long tails on both sides."""
    rng = np.random.default_rng(seed)
    users, films = _pairs(rng, n_users, n_films, n_ratings)
    counts = np.bincount(films, minlength=n_films)
    of_films = rng.normal(0, _FILMS, n_films)
    of_films += _BY_POPULARITY * (np.log1p(counts) - np.average(np.log1p(counts), weights=counts))
    weights = _DECAY ** np.arange(_N_TASTES)
    left = rng.normal(size=(n_users, _N_TASTES)) * weights
    right = rng.normal(size=(n_films, _N_TASTES))
    taste = np.einsum("rt,rt->r", left[users], right[films]) * _TASTE / np.linalg.norm(weights)
    stars = _MEAN + rng.normal(0, _USERS, n_users)[users] + of_films[films] + taste
    stars += rng.normal(0, _NOISE, len(users))
    return Ratings(users, films, np.clip(np.rint(stars), _LOWEST, _HIGHEST).astype(np.float32))


def _pairs(
    rng: np.random.Generator, n_users: int, n_films: int, n_ratings: int
) -> tuple[np.ndarray, np.ndarray]:
    """Who rates what: activity is log-normal, popularity is as well."""
    activity, popularity = rng.lognormal(0, 1.0, n_users), rng.lognormal(0, 1.5, n_films)
    counts = activity / activity.sum() * max(0, n_ratings - _LEAST * n_users)
    counts = np.minimum(_LEAST + counts.astype(int), n_films // 2)
    # Exponential times, the first to ring are drawn: a draw by weight without replacement.
    rated = [np.argsort(rng.exponential(size=n_films) / popularity)[:count] for count in counts]
    return np.repeat(np.arange(n_users), counts), np.concatenate(rated)
