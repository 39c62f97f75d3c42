"""One block of users: the model and the baselines on both tasks, with a known answer."""

import numpy as np
import pytest
from scipy import sparse

from recgraph import blend
from recgraph.evaluation import (
    Block,
    Items,
    Ranked,
    Recommender,
    Scale,
    predict_explicit,
    predict_implicit,
    rank_block,
    recommenders,
    sample_negatives,
    without,
)
from recgraph.model import Ragged
from recgraph.scores import same_for_all

# User 7 bought items 0 and 1 (item 1 three times) and will buy 1 and 3; user 8 bought 2 and will
# buy 2. The model scores item 3 highest for user 7 and item 2 for user 8.
# The walk leads from 0 and 1 to 2, and from 2 to 1.
NEIGHBOURS = np.array(
    [[0, 0, 0.4, 0.2], [0, 0, 0.4, 0], [0, 0.7, 0, 0], [0.1, 0, 0, 0]], np.float32
)
COEFFICIENTS = blend.Coefficients(als=1.0, walk=2.0, repeat=3.0)
BLOCK = Block(
    users=np.array([7, 8]),
    signals=blend.Users(
        np.array([[1.0, 0.0], [0.0, 1.0]], np.float32),
        steps=sparse.csr_matrix(np.array([[0.5, 0.5, 0, 0], [0, 0, 1, 0]], np.float32)),
        repeats=sparse.csr_matrix(np.array([[1, 3, 0, 0], [0, 0, 1, 0]], np.float32)),
    ),
    seen=Ragged(np.array([0, 2, 3]), np.array([0, 1, 2])),
    seen_ratings=np.array([1.0, 3.0, 1.0], np.float32),
    test=Ragged(np.array([0, 2, 3]), np.array([1, 3, 2])),
    test_ratings=np.array([4.0, 2.0, 5.0], np.float32),
)
ITEMS = Items(
    signals=blend.Items(
        np.array([[0.2, 0.0], [0.1, 0.3], [0.0, 1.0], [0.9, 0.2]], np.float32),
        neighbours=sparse.csr_matrix(NEIGHBOURS),
    ),
    popularity=np.array([9.0, 2.0, 3.0, 1.0], np.float32),
    recent=np.array([0.0, 1.0, 0.0, 1.0], np.float32),
)
RECOMMENDERS = recommenders(COEFFICIENTS)


def ranked() -> dict[tuple[str, str], Ranked]:
    return {
        (row.task, row.recommender): row
        for row in rank_block(BLOCK, ITEMS, k=2, recommenders=RECOMMENDERS)
    }


def test_rank_block_finds_what_each_recommender_should() -> None:
    assert {key: row.lists.tolist() for key, row in ranked().items()} == {
        ("new_items", "als"): [[3, 2]],
        ("new_items", "walk"): [[2, 3]],
        ("new_items", "als+walk"): [[3, 2]],  # 0.9 + 0.2 for item 3, 0.8 for item 2
        ("new_items", "popular"): [[2, 3]],
        ("new_items", "recent"): [[3, 2]],
        ("next_basket", "als"): [[3, 0], [2, 1]],
        ("next_basket", "walk"): [[2, 3], [1, 0]],
        ("next_basket", "als+walk"): [[3, 2], [1, 2]],
        ("next_basket", "als+walk+repeat"): [[1, 0], [2, 1]],
        ("next_basket", "popular"): [[0, 2], [0, 2]],
        ("next_basket", "recent"): [[1, 3], [1, 3]],  # one recent user each; 1 has more in all
        ("next_basket", "repeats"): [[1, 0], [2, 0]],
    }


def test_rank_block_asks_only_users_with_something_relevant() -> None:
    rows = ranked()
    assert rows["new_items", "als"].n_relevant.tolist() == [1]  # user 8 buys nothing new
    assert rows["next_basket", "als"].n_relevant.tolist() == [2, 1]


def test_rank_block_marks_the_hits_of_each_list() -> None:
    rows = ranked()
    assert rows["new_items", "popular"].hit.tolist() == [[False, True]]
    assert rows["next_basket", "als"].hit.tolist() == [[True, False], [True, False]]
    assert rows["next_basket", "recent"].hit.tolist() == [[True, True], [False, False]]


def test_rank_block_measures_a_recommender_that_is_added() -> None:
    last = Recommender(lambda block, items: same_for_all(np.arange(4), 2))
    rows = list(rank_block(BLOCK, ITEMS, k=2, recommenders={"last": last}))
    assert [(row.task, row.lists.tolist()) for row in rows] == [
        ("next_basket", [[3, 2], [3, 2]]),
        ("new_items", [[3, 2]]),
    ]


def test_without_keeps_rows_apart() -> None:
    new = without(BLOCK.test, BLOCK.seen, n_items=4)
    assert new.offsets.tolist() == [0, 1, 1]
    assert new.items.tolist() == [3]


def test_predict_explicit_measures_against_the_ratings() -> None:
    als, biases, constant = predict_explicit(BLOCK, ITEMS, Scale(4.0, -9.0, 0.95))
    assert als.errors.tolist() == pytest.approx([0.1 - 4, 0.9 - 2, 0.95 - 5])  # clipped: 1.0
    assert biases.predictor == "biases"
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
