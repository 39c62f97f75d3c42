"""Repeats: how strongly purchases speak, and what items add."""

import numpy as np
import pytest
from scipy import sparse

from recgraph import recommender
from recgraph.config import Settings
from recgraph.dataset import Rows
from recgraph.recommender import Choice
from recgraph.repeats import again, strengths, with_again
from recgraph.weighing import EVENT, MICROS_A_DAY, pairs_of_events, weighing_from_settings

DAY = 86_400
HALF_LIFE = 100.0


def test_silence_counts_from_half_a_missed_purchase_on() -> None:
    # A sum of 10 lets expect 10 ln 2 / 100 purchases a day: half a one in 7.2 days.
    sums, silent = np.full(3, 10.0, np.float32), np.array([0.0, 7.2, 4 * 7.213475])
    assert strengths(sums, silent, HALF_LIFE) == pytest.approx([10.0, 10.0, 5.0], rel=1e-5)


def test_without_a_half_life_silence_says_nothing() -> None:
    sums = np.array([3.0, 1.0], np.float32)
    assert strengths(sums, np.array([500.0, 0.0]), None).tolist() == [3.0, 1.0]


def test_items_add_what_their_buyers_do_more_than_others() -> None:
    added = again(np.array([100.0, 100.0, 0.0]), np.array([80.0, 20.0, 0.0]))
    assert added[0] > added[2] > added[1] > 0
    assert added[2] == pytest.approx(0.4)  # nothing is known of it: it is a mean item


@pytest.mark.parametrize("before", [np.zeros(2), np.ones(2)])
def test_where_nothing_was_bought_again_nothing_is_added(before: np.ndarray) -> None:
    assert again(before, np.zeros(2)).tolist() == [0.0, 0.0]


def test_where_products_were_only_viewed_nothing_is_repeated() -> None:
    one = np.zeros(1, np.int32)
    viewed = Rows(one, one, np.ones(1, np.float32), np.array([DAY]), np.array([False]))
    choice = Choice(walk_half_life_days=14.0, repeat_half_life_days=HALF_LIFE)
    assert recommender.own_purchases(viewed, (1, 1), choice).nnz == 0
    assert recommender.fit_again(viewed, (1, 1), choice) is None
    assert recommender.walk_ratings(viewed, (1, 1), choice)[1].nnz == 0


def test_a_view_or_a_return_is_no_coming_back() -> None:
    days = np.array([50, 45, 40, 70, 1, 0])
    users, items = np.array([0, 0, 0, 0, 0, 1]), np.zeros(6, np.int64)
    amounts = np.array([1, 1, 1, 0.1, 0.1, 1], np.float32)
    is_purchase = amounts == 1
    rows = Rows(users, items, amounts, (1_000 - days) * DAY, np.ones(6, bool), is_purchase)
    choice = Choice(walk_half_life_days=14.0, repeat_half_life_days=HALF_LIFE)
    unseen = rows.where(is_purchase)

    first, last = recommender.walk_ratings(rows, (2, 1), choice)
    assert last[0, 0] == pytest.approx(np.log1p(0.5 ** (50 / 14)), rel=1e-5)
    assert first[0, 0] == pytest.approx(np.log1p(3.2), rel=1e-5)
    found, expected = (recommender.fit_again(each, (2, 1), choice) for each in (rows, unseen))
    assert found is not None
    np.testing.assert_array_equal(found, expected)

    total = sum(
        amount * 0.5 ** (day / HALF_LIFE) for amount, day in zip(amounts, days, strict=True)
    )
    own = recommender.own_purchases(rows, (2, 1), choice)
    silent = strengths(np.array([total - 1]), np.array([40.0]), HALF_LIFE)[0]
    assert silent < total - 1, "40 days are a silence"
    assert own[0, 0] == pytest.approx(silent, rel=1e-5)

    events = np.zeros(5, EVENT)
    events["time"], events["item"] = (1_000 - days[:5]) * MICROS_A_DAY, 0
    events["amount"], events["bought"] = amounts[:5], is_purchase[:5]
    weighing = weighing_from_settings(Settings(repeat_half_life_days=HALF_LIFE))
    newest = np.array([1_000 * MICROS_A_DAY])
    pairs = pairs_of_events(np.zeros(5, int), events, newest, weighing, 1)
    assert pairs.repeats == pytest.approx([silent], rel=1e-5)


def test_items_add_to_what_a_user_bought_only() -> None:
    own = sparse.csr_matrix(np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]], np.float32))
    added = np.array([0.5, 0.7, 0.25], np.float32)
    assert with_again(own, added).toarray().tolist() == [[2.5, 0.0, 1.25], [0.0, 0.0, 0.0]]
    assert with_again(own, None) is own


def test_a_file_and_a_history_give_the_same_strengths() -> None:
    rng = np.random.default_rng(3)
    users, items, days = (rng.integers(0, n, 300) for n in (6, 9, 200))
    rows = Rows(users, items, np.ones(300, np.float32), (1_000 - days) * DAY)
    choice = Choice(repeat_weight=1.0, repeat_half_life_days=HALF_LIFE)
    found = recommender.own_purchases(rows, (6, 9), choice)

    events = np.zeros(300, EVENT)
    events["time"], events["item"] = (1_000 - days) * MICROS_A_DAY, items
    events["amount"], events["bought"] = 1.0, True
    weighing = weighing_from_settings(Settings(repeat_half_life_days=HALF_LIFE))
    newest = np.full(6, (1_000 - days.min()) * MICROS_A_DAY)
    pairs = pairs_of_events(users, events, newest, weighing, 9)
    expected = pairs.matrix(pairs.repeats, (6, 9)).toarray()
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-5)


def test_the_last_four_weeks_say_who_came_back() -> None:
    # Item 0 was bought again by both, item 1 by neither; item 2 is new.
    users = np.array([0, 1, 0, 1, 0, 1, 0])
    items = np.array([0, 0, 0, 0, 1, 1, 2])
    days = np.array([50, 60, 1, 2, 50, 60, 0])
    rows = Rows(users, items, np.ones(7, np.float32), (1_000 - days) * DAY)
    added = recommender.fit_again(rows, (2, 3), Choice())
    assert added is not None
    assert added[0] > added[2] > added[1]


def test_a_file_without_times_has_no_item_that_is_bought_again() -> None:
    rows = Rows(np.array([0]), np.array([0]), np.ones(1, np.float32), None)
    assert recommender.fit_again(rows, (1, 1), Choice()) is None
    assert recommender.own_purchases(rows, (1, 1), Choice()).toarray().tolist() == [[1.0]]
