"""One file -> what models learn from and what they are asked: the splits of `recgraph evaluate`."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recgraph.dataset import Dataset, Ids, Pairs, Rows, parted
from recgraph.errors import InputError
from recgraph.model import Ints
from recgraph.split import (
    Mask,
    by_pair,
    split_at_random,
    split_by_time,
    split_by_user,
    split_last_basket,
)
from recgraph.splits import Split

_SHARE = 0.2
"""Share of a user's pairs that a split without times holds out."""
_DAY = 86_400


class Fold(NamedTuple):
    """What models learn from, and what they are asked."""

    train: Rows
    test: Pairs
    history: Rows | None = None
    """What is known of the users of the test when the model never saw them."""


class Parted(NamedTuple):
    """A file in two: everything that may be learned from, and the folds of the test."""

    known: Dataset
    folds: list[Fold]


def part(data: Dataset, split: Split, *, test_days: float, n_folds: int, seed: int) -> Parted:
    """The data parted into what may be learned from and what is asked.

    Raises
    ------
    InputError
        The split needs times that are not there, or leaves nothing on one side.
    """
    masks = list(_masks(data, split, test_days=test_days, n_folds=n_folds, seed=seed))
    known, test = parted(data, np.any(masks, axis=0))
    if split is not Split.users:
        return Parted(known, [Fold(known.rows, test)])
    return Parted(known, [_fold(known, test, data.user_ids[data.rows.users[m]]) for m in masks])


def _masks(
    data: Dataset, split: Split, *, test_days: float, n_folds: int, seed: int
) -> Iterator[Mask]:
    users, items, times = data.rows.users, data.rows.items, data.rows.times

    def at_random(users: Ints) -> Iterator[Mask]:
        yield split_at_random(users, share=_SHARE, seed=seed)

    def by_user(users: Ints) -> Iterator[Mask]:
        yield from split_by_user(users, n_folds=n_folds, share=_SHARE, seed=seed)

    if split is Split.random:
        yield from by_pair(users, items, at_random)
    elif split is Split.users:
        yield from by_pair(users, items, by_user)
    elif times is None:
        message = f"a split by {split.value} needs a column timestamp; try --split random or users"
        raise InputError(message)
    elif split is Split.time:
        yield split_by_time(times, test_span=test_days * _DAY)
    else:
        yield split_last_basket(users, times)


def _fold(known: Dataset, test: Pairs, user_ids: Ids) -> Fold:
    """The fold that asks these users, whom it does not learn from."""
    names = np.unique(user_ids)
    is_asked = np.isin(known.user_ids, names)[known.rows.users]
    asked = test.of_users(np.isin(test.user_ids, names))
    return Fold(known.rows.where(~is_asked), asked, known.rows.where(is_asked))
