"""Events or interactions -> what a model may learn from, and what it is tested on.

The ``split_`` functions take index arrays, a row an interaction, and give a boolean array that is
true at the rows of the test; the others are the training. They look at users and times only. Where
a user's rows repeat an item, a split at random has it on both sides: `by_pair` keeps its rows
together.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from recgraph.errors import InputError
from recgraph.model import Ints

Mask = NDArray[np.bool_]


def cut_time(first: datetime, last: datetime, *, test_days: float) -> datetime | None:
    """The moment that parts training from test: train before it, test from it on.

    The test period is ``test_days`` long but never more than a quarter of the whole span, so
    that a short history still trains on most of it. None when all events share one moment.
    """
    if first >= last:
        return None
    return last - min(timedelta(days=test_days), (last - first) / 4)


def split_by_time(times: Ints, *, test_span: float) -> Mask:
    """The rows of the last ``test_span``, of all users: nothing in training is later than a test.

    The same rule as `cut_time`: never more than a quarter of the whole span; nothing is held back
    when all rows share one moment.

    Parameters
    ----------
    times
        int64 ``(n_rows,)``, in any unit.
    test_span
        Length of the test period, in the unit of ``times``.
    """
    if len(times) == 0 or times.min() == times.max():
        return np.zeros(len(times), np.bool_)
    first, last = times.min(), times.max()
    test: Mask = last - times <= min(test_span, (last - first) / 4)
    return test


def split_last_basket(users: Ints, times: Ints) -> Mask:
    """The rows of each user's last moment; who has one moment only stays in training.

    Within a user nothing in training is later than a test. Between users it is: one user's last
    basket may be older than another's first, so that popularity knows the future. `split_by_time`
    is free of that.

    Parameters
    ----------
    users
        int32 ``(n_rows,)``, in any order.
    times
        int64 ``(n_rows,)``: rows of a user with equal times are one basket.
    """
    order = np.lexsort((times, users))
    _, starts, n_rows = np.unique(users[order], return_index=True, return_counts=True)
    ordered = times[order]
    first = np.repeat(ordered[starts], n_rows)
    last = np.repeat(ordered[starts + n_rows - 1], n_rows)
    test = np.empty(len(users), np.bool_)
    test[order] = (ordered == last) & (ordered > first)
    return test


def split_at_random(users: Ints, *, share: float, seed: int) -> Mask:
    """A random share of each user's rows, for data without times.

    Rounded; of two rows or more at least one and never all, of a single row none. The same rows in
    the same order are split alike.

    Parameters
    ----------
    users
        int32 ``(n_rows,)``, in any order.
    share
        Share of a user's rows that is held out, between 0 and 1.

    Raises
    ------
    InputError
        The share is not between 0 and 1.
    """
    if not 0 < share < 1:
        message = f"the share of rows to hold out is {share}; give one between 0 and 1, such as 0.2"
        raise InputError(message)
    order = np.lexsort((np.random.default_rng(seed).random(len(users)), users))
    _, starts, n_rows = np.unique(users[order], return_index=True, return_counts=True)
    n_test = np.clip(np.rint(n_rows * share), np.minimum(1, n_rows - 1), n_rows - 1)
    positions = np.arange(len(users)) - np.repeat(starts, n_rows)
    test = np.empty(len(users), np.bool_)
    test[order] = positions < np.repeat(n_test, n_rows)
    return test


def by_pair(users: Ints, items: Ints, split: Callable[[Ints], Iterator[Mask]]) -> Iterator[Mask]:
    """The masks of a split that keeps the rows of a user's item together.

    Parameters
    ----------
    split
        Gets the users of the distinct pairs, a row a pair.
    """
    keys = users.astype(np.int64) * (items.max(initial=0) + 1) + items
    _, first, pair_of_row = np.unique(keys, return_index=True, return_inverse=True)
    for mask in split(users[first]):
        yield mask[pair_of_row]


def split_by_user(users: Ints, *, n_folds: int, share: float, seed: int) -> Iterator[Mask]:
    """Fold by fold, a random share of the rows of that fold's users.

    Each user with two rows or more is tested in exactly one fold; in the others all its rows train.

    Parameters
    ----------
    users
        int32 ``(n_rows,)``, in any order.
    n_folds
        Folds that the users are dealt into, as equal in size as can be; from 2 to the users.
    share
        Share of a test user's rows that is held out, as in `split_at_random`.

    Raises
    ------
    InputError
        There are fewer users than folds, or the share is not between 0 and 1.
    """
    names, rows = np.unique(users, return_inverse=True)
    if not 2 <= n_folds <= len(names):
        message = f"{n_folds} folds of {len(names)} users; give from 2 folds to one a user"
        raise InputError(message)
    held_out = split_at_random(users, share=share, seed=seed)
    folds = np.random.default_rng([seed, n_folds]).permutation(len(names)) % n_folds
    for fold in range(n_folds):
        yield held_out & (folds[rows] == fold)
