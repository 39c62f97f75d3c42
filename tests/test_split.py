"""Where training ends and the test begins: tables by hand, and what holds for any data."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.errors import InputError
from recgraph.model import Ints
from recgraph.split import (
    cut_time,
    split_at_random,
    split_by_time,
    split_by_user,
    split_last_basket,
)

FIRST = datetime(2017, 1, 1, tzinfo=UTC)

USERS = np.array([3, 1, 3, 1, 3, 2, 1, 2], np.int32)
TIMES = np.array([40, 10, 90, 20, 90, 30, 20, 30], np.int64)
"""User 1 has baskets at 10 and 20, user 2 one at 30, user 3 two at 40 and 90."""


@st.composite
def rows(draw: st.DrawFn) -> tuple[Ints, Ints]:
    """Users and times of up to 40 rows, in any order."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=40))
    users, times = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(users, np.int32), np.array(times, np.int64)


def test_cut_time_holds_back_the_test_days_of_a_long_history() -> None:
    last = FIRST + timedelta(days=365)
    assert cut_time(FIRST, last, test_days=28) == last - timedelta(days=28)


def test_cut_time_never_holds_back_more_than_a_quarter() -> None:
    assert cut_time(FIRST, FIRST + timedelta(days=40), test_days=28) == FIRST + timedelta(days=30)


def test_cut_time_of_a_single_moment_is_none() -> None:
    assert cut_time(FIRST, FIRST, test_days=28) is None


def test_split_by_time_holds_back_the_last_span() -> None:
    assert split_by_time(TIMES, test_span=5).nonzero()[0].tolist() == [2, 4]
    assert split_by_time(np.arange(100), test_span=25).sum() == 25  # a quarter of 99 is less
    assert not split_by_time(np.array([7, 7]), test_span=5).any()


def test_split_last_basket_holds_back_whole_baskets() -> None:
    assert split_last_basket(USERS, TIMES).nonzero()[0].tolist() == [2, 3, 4, 6]


def test_split_at_random_holds_back_the_share_of_each_user() -> None:
    users = np.repeat([5, 6, 7, 8], [10, 1, 2, 5])
    test = split_at_random(users, share=0.2, seed=1)
    assert np.bincount(users[test], minlength=9)[5:].tolist() == [2, 0, 1, 1]


def test_split_by_user_deals_users_evenly() -> None:
    users = np.repeat(np.arange(10), 5)
    folds = [
        set(users[test].tolist()) for test in split_by_user(users, n_folds=3, share=0.2, seed=1)
    ]
    assert sorted(map(len, folds)) == [3, 3, 4]
    assert set.union(*folds) == set(range(10))


@given(rows(), st.floats(0.1, 20))
def test_split_by_time_never_trains_on_what_is_later_than_a_test(
    data: tuple[Ints, Ints], test_span: float
) -> None:
    _, times = data
    test = split_by_time(times, test_span=test_span)
    assert test.any() == (len(set(times.tolist())) > 1)
    if test.any():
        assert times[~test].max() < times[test].min()


@given(rows(), st.floats(0.1, 20))
def test_split_by_time_agrees_with_cut_time(data: tuple[Ints, Ints], test_days: float) -> None:
    _, days = data
    moments = [FIRST + timedelta(days=int(day)) for day in days]
    cut = cut_time(min(moments), max(moments), test_days=test_days) if moments else None
    expected = [cut is not None and moment >= cut for moment in moments]
    assert split_by_time(days, test_span=test_days).tolist() == expected


@given(rows())
def test_split_last_basket_parts_each_user_at_its_last_moment(data: tuple[Ints, Ints]) -> None:
    users, times = data
    test = split_last_basket(users, times)
    for user in set(users.tolist()):
        of_user = users == user
        baskets = sorted(set(times[of_user].tolist()))
        assert set(times[of_user & test].tolist()) == set(baskets[1:][-1:])
        assert set(times[of_user & ~test].tolist()) == set(baskets[:-1] or baskets)


@given(rows(), st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_split_at_random_keeps_something_of_each_user_on_both_sides(
    data: tuple[Ints, Ints], share: float, seed: int
) -> None:
    users, _ = data
    test = split_at_random(users, share=share, seed=seed)
    for user in set(users.tolist()):
        n, n_test = int((users == user).sum()), int(test[users == user].sum())
        assert abs(n_test - n * share) <= 1
        assert n_test == 0 if n == 1 else 1 <= n_test < n


@given(rows(), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_split_by_user_tests_each_user_in_one_fold(
    data: tuple[Ints, Ints], n_folds: int, seed: int
) -> None:
    users = np.concatenate([data[0], [10, 10, 11, 11, 12, 12, 13, 13]])
    folds = list(split_by_user(users, n_folds=n_folds, share=0.3, seed=seed))
    n_times = {user: sum(user in users[test] for test in folds) for user in set(users.tolist())}
    assert n_times == {user: int((users == user).sum() > 1) for user in n_times}
    assert (np.sum(folds, axis=0) == split_at_random(users, share=0.3, seed=seed)).all()


def test_a_seed_repeats_and_another_differs() -> None:
    users = np.repeat(np.arange(50), 8)
    found = [split_at_random(users, share=0.25, seed=seed).tolist() for seed in (4, 4, 5)]
    assert found[0] == found[1] != found[2]
    folds = [
        [test.tolist() for test in split_by_user(users, n_folds=5, share=0.25, seed=seed)]
        for seed in (4, 4, 5)
    ]
    assert folds[0] == folds[1] != folds[2]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, float("nan")])
def test_split_at_random_refuses_a_share_that_is_none(share: float) -> None:
    with pytest.raises(InputError, match="give one between 0 and 1"):
        split_at_random(USERS, share=share, seed=1)


@pytest.mark.parametrize("n_folds", [1, 4])
def test_split_by_user_refuses_more_folds_than_users(n_folds: int) -> None:
    with pytest.raises(InputError, match="folds of 3 users"):
        list(split_by_user(USERS, n_folds=n_folds, share=0.2, seed=1))
