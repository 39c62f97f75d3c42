"""`recgraph evaluate --data`: each split by hand."""

import numpy as np
import pytest

from recgraph.dataset import Dataset, Rows
from recgraph.errors import InputError
from recgraph.folds import Parted, part
from recgraph.splits import Split

DAY = 86_400


@pytest.fixture
def data() -> Dataset:
    """Ten users; user u buys items u to u+9 on days 0 to 9, and the first again on day 10."""
    users = np.repeat(np.arange(10), 11).astype(np.int32)
    days = np.tile(np.arange(11), 10)
    items = ((users + days % 10) % 12).astype(np.int32)
    ids = np.array([f"u{u}" for u in range(10)], object), np.array(list("abcdefghijkl"), object)
    return Dataset(Rows(users, items, np.ones(110, np.float32), days * DAY), *ids, 0)


def parted(data: Dataset, split: Split, n_folds: int = 5) -> Parted:
    return part(data, split, test_days=2, n_folds=n_folds, seed=1)


def test_time_holds_out_the_last_days(data: Dataset) -> None:
    known, (fold,) = parted(data, Split.time)
    assert known.rows.times is not None
    assert known.rows.times.max() == 7 * DAY
    assert len(fold.test.items) == 30
    assert fold.test.item_ids[:3].tolist() == ["a", "i", "j"]
    assert (fold.test.items >= 0).all()


def test_last_basket_holds_out_each_users_last_moment(data: Dataset) -> None:
    known, (fold,) = parted(data, Split.last_basket)
    assert len(known.rows.users) == 100
    assert fold.test.item_ids.tolist() == [data.item_ids[u] for u in range(10)]


def test_random_keeps_the_rows_of_a_pair_together(data: Dataset) -> None:
    known, (fold,) = parted(data, Split.random)
    trained = set(
        zip(known.user_ids[known.rows.users], known.item_ids[known.rows.items], strict=True)
    )
    asked = set(zip(fold.test.user_ids[fold.test.rows], fold.test.item_ids, strict=True))
    assert len(asked) == 20
    assert not trained & asked


def test_users_are_asked_once_and_never_trained_on(data: Dataset) -> None:
    known, folds = parted(data, Split.users)
    asked = [user for fold in folds for user in fold.test.user_ids]
    assert sorted(asked) == sorted(data.user_ids)
    for fold in folds:
        assert fold.history is not None
        users = set(fold.test.user_ids)
        assert not users & set(known.user_ids[fold.train.users])
        assert users == set(known.user_ids[fold.history.users])
        assert len(fold.train.users) + len(fold.history.users) == len(known.rows.users)


def test_what_training_does_not_know_is_minus_one(data: Dataset) -> None:
    rows = data.rows
    late = rows._replace(items=np.where(np.arange(110) == 10, 11, rows.items).astype(np.int32))
    only_late = late.where((late.items != 11) | (np.arange(110) == 10))
    _, (fold,) = parted(data._replace(rows=only_late), Split.last_basket)
    assert fold.test.items[fold.test.item_ids == "l"].tolist() == [-1]


def test_times_are_asked_for_where_they_are_needed(data: Dataset) -> None:
    timeless = data._replace(rows=data.rows._replace(times=None))
    with pytest.raises(InputError, match="needs a column timestamp"):
        parted(timeless, Split.time)
    assert len(parted(timeless, Split.random).folds) == 1


def test_nothing_to_hold_out_is_said(data: Dataset) -> None:
    first = data._replace(rows=data.rows.where(data.rows.times == 0))
    with pytest.raises(InputError, match="0 of 10 rows would be the test"):
        parted(first, Split.last_basket)


def test_more_folds_than_users_are_refused(data: Dataset) -> None:
    with pytest.raises(InputError, match="11 folds of 10 users"):
        parted(data, Split.users, n_folds=11)
