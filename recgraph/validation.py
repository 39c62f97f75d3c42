"""Training interactions -> a part held out of them, to choose settings on; never the test."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recgraph.dataset import Rows, rating_matrix
from recgraph.model import Ints, Matrix, Ragged
from recgraph.split import Mask, by_pair, split_at_random, split_by_time

_MAX_USERS = 5_000
"""Validation users at most, seeded."""
_MAX_SCORES = 60_000_000
"""Validation users times items at most: a search holds three scores of each, 12 bytes together."""
HELD_OUT_SHARE = 0.15
"""Share of each user's rows that is held out, where there are no times."""
HELD_OUT_SPAN = 1 / 8
"""Share of the time that is held out, where there are times."""


class Validation(NamedTuple):
    """Interactions to train on, and what they shall foretell."""

    train: Rows
    shape: tuple[int, int]
    users: Ints
    """Users with something held out, sampled."""
    relevant: Ragged
    """What is held out of each of ``users``."""
    seen: Matrix | None
    """What is left out of the lists of each of ``users``, ``(len(users), n_items)``."""


def is_held_out(rows: Rows, *, by_time: bool, seed: int) -> Mask:
    """The rows to validate on: the last of the time, or a share of each user's pairs."""
    if by_time and rows.times is not None:
        span = int(rows.times.max() - rows.times.min())
        return split_by_time(rows.times, test_span=span * HELD_OUT_SPAN)

    def at_random(users: Ints) -> Iterator[Mask]:
        yield split_at_random(users, share=HELD_OUT_SHARE, seed=seed)

    return next(by_pair(rows.users, rows.items, at_random))


def hold_out(
    rows: Rows, shape: tuple[int, int], *, exclude_seen: bool, by_time: bool, seed: int
) -> Validation:
    """A part of the rows to validate on."""
    mask = is_held_out(rows, by_time=by_time, seed=seed)
    test = rating_matrix(rows.where(mask), shape)
    return validation(rows.where(~mask), test, exclude_seen=exclude_seen, seed=seed)


def validation(train: Rows, test: Matrix, *, exclude_seen: bool, seed: int) -> Validation:
    """What is asked about seeded users who are known and have something relevant.

    Parameters
    ----------
    test
        Entries where a user bought an item after training, ``(n_users, n_items)``.
    """
    known = rating_matrix(train.bought(), test.shape)
    relevant = test.astype(bool).astype(np.float32)
    if exclude_seen:
        relevant = (relevant - relevant.multiply(known > 0)).tocsr()
        relevant.eliminate_zeros()
    is_asked = (np.diff(relevant.indptr) > 0) & (np.diff(known.indptr) > 0)
    n_users = min(_MAX_USERS, max(1, _MAX_SCORES // test.shape[1]))
    users = np.random.default_rng(seed).permutation(np.flatnonzero(is_asked))[:n_users]
    seen = known[users] if exclude_seen else None
    return Validation(train, test.shape, users, Ragged.of(relevant[users]), seen)
