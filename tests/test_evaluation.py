"""One block of users: the model and the baselines on both tasks, with a known answer."""

import numpy as np
import pytest

from recgraph.evaluation import (
    Block,
    Items,
    predict_explicit,
    predict_implicit,
    rank_block,
    sample_negatives,
    without,
)
from recgraph.model import Ragged

# User 7 bought items 0 and 1 (item 1 three times) and will buy 1 and 3; user 8 bought 2 and will
# buy 2. The model scores item 3 highest for user 7 and item 2 for user 8.
BLOCK = Block(
    users=np.array([7, 8]),
    factors=np.array([[1.0, 0.0], [0.0, 1.0]], np.float32),
    seen=Ragged(np.array([0, 2, 3]), np.array([0, 1, 2])),
    seen_ratings=np.array([1.0, 3.0, 1.0], np.float32),
    test=Ragged(np.array([0, 2, 3]), np.array([1, 3, 2])),
    test_ratings=np.array([4.0, 2.0, 5.0], np.float32),
)
ITEMS = Items(
    factors=np.array([[0.2, 0.0], [0.1, 0.3], [0.0, 1.0], [0.9, 0.2]], np.float32),
    popularity=np.array([9.0, 2.0, 3.0, 1.0], np.float32),
)


def test_rank_block_finds_what_each_recommender_should() -> None:
    rows = {(row.task, row.recommender): row for row in rank_block(BLOCK, ITEMS, k=2)}
    assert rows["new_items", "als"].lists.tolist() == [[3, 2]]
    assert rows["new_items", "popular"].lists.tolist() == [[2, 3]]
    assert rows["next_basket", "als"].lists.tolist() == [[3, 0], [2, 1]]
    assert rows["next_basket", "popular"].lists.tolist() == [[0, 2], [0, 2]]
    assert rows["next_basket", "repeats"].lists.tolist() == [[1, 0], [2, 0]]


def test_rank_block_asks_only_users_with_something_relevant() -> None:
    rows = {(row.task, row.recommender): row for row in rank_block(BLOCK, ITEMS, k=2)}
    assert rows["new_items", "als"].recall.tolist() == [1.0]  # user 8 buys nothing new
    assert rows["next_basket", "als"].recall.tolist() == [0.5, 1.0]


def test_without_keeps_rows_apart() -> None:
    new = without(BLOCK.test, BLOCK.seen, n_items=4)
    assert new.offsets.tolist() == [0, 1, 1]
    assert new.items.tolist() == [3]


def test_predict_explicit_measures_against_the_ratings() -> None:
    als, constant = predict_explicit(BLOCK, ITEMS, mean_rating=4.0)
    assert als.errors.tolist() == pytest.approx([0.1 - 4, 0.9 - 2, 1.0 - 5])
    assert constant.errors.tolist() == [0.0, 2.0, -1.0]


def test_predict_implicit_measures_against_purchases_and_non_purchases() -> None:
    als, constant = predict_implicit(BLOCK, ITEMS, seed=1)
    assert als.errors[:3].tolist() == pytest.approx([0.1 - 1, 0.9 - 1, 1.0 - 1])
    assert len(als.errors) == len(constant.errors) == 3 + 2  # user 7 has one item left
    assert set(np.abs(constant.errors)) == {0.5}


def test_sample_negatives_never_takes_what_was_bought_and_repeats() -> None:
    negatives = sample_negatives(BLOCK, n_items=4, seed=3)
    assert negatives.items[: negatives.offsets[1]].tolist() == [2]
    assert set(negatives.items[negatives.offsets[1] :]) <= {0, 1, 3}
    again = sample_negatives(BLOCK, n_items=4, seed=3)
    assert again.items.tolist() == negatives.items.tolist()
