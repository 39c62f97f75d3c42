"""Metrics against tables computed by hand, and their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph import metrics
from recgraph.model import Ragged

# Two users, lists of 3; the first has items 5 and 9 in the test period, the second 1, 2, 3 and 4.
LISTS = np.array([[9, 7, 5], [8, 1, -1]])
RELEVANT = Ragged(np.array([0, 2, 6]), np.array([5, 9, 1, 2, 3, 4]))
HITS = [[True, False, True], [False, True, False]]


def test_hits_marks_relevant_places_only() -> None:
    assert metrics.hits(LISTS, RELEVANT, n_items=10).tolist() == HITS


def test_hits_of_one_user_are_not_those_of_another() -> None:
    relevant = Ragged(np.array([0, 0, 1]), np.array([9]))
    assert not metrics.hits(LISTS, relevant, n_items=10).any()


def test_ndcg_equals_the_hand_computed_table() -> None:
    # user 1: (1/log2 2 + 1/log2 4) / (1/log2 2 + 1/log2 3); user 2: (1/log2 3) / (1 + .63093 + .5)
    found = metrics.ndcg(np.array(HITS), np.array([2, 4]))
    assert found.tolist() == pytest.approx([1.5 / 1.6309297, 0.6309297 / 2.1309297], abs=1e-6)


def test_recall_counts_all_relevant_items() -> None:
    assert metrics.recall(np.array(HITS), np.array([2, 4])).tolist() == [1.0, 0.25]


def test_errors_equal_the_hand_computed_table() -> None:
    errors = np.array([1.0, -1.0, 2.0, 0.0])
    assert metrics.rmse(errors) == pytest.approx(1.5**0.5)
    assert metrics.mae(errors) == 1.0


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([1, 1, 1, 1], 0.0), ([0, 0, 0, 4], 0.75), ([1, 3], 0.25), ([0, 0], 0.0)],
)
def test_gini_equals_the_hand_computed_table(counts: list[int], expected: float) -> None:
    assert metrics.gini(np.array(counts)) == pytest.approx(expected)


def test_top_share_is_that_of_the_largest_hundredth() -> None:
    counts = np.ones(200, np.int64)
    counts[:2] = 101
    assert metrics.top_share(counts) == pytest.approx(202 / 400)
    assert metrics.top_share(np.zeros(5, np.int64)) == 0.0


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1), st.integers(4, 50))
def test_ranking_metrics_are_shares(rows: list[list[bool]], n_relevant: int) -> None:
    hit, n = np.array(rows), np.full(len(rows), n_relevant)
    for found in (metrics.ndcg(hit, n), metrics.recall(hit, n)):
        assert ((found >= 0) & (found <= 1)).all()
