"""Lists from factors: the fast path against the plain one, masks, ties, short lists."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.model import Floats, Ragged, TopK, mask, score_users, top_k, top_k_by_sorting


@pytest.mark.parametrize("choose", [top_k, top_k_by_sorting])
def test_top_k_orders_by_score_and_ties_by_index(choose: Callable[[Floats, int], TopK]) -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.9], [0.0, 0.0, 0.0, 0.0]], np.float32)
    top = choose(scores, 3)
    assert top.items.tolist() == [[1, 3, 2], [0, 1, 2]]
    assert top.scores[0].tolist() == pytest.approx([0.9, 0.9, 0.5])


@pytest.mark.parametrize("choose", [top_k, top_k_by_sorting])
def test_top_k_gives_a_shorter_list_when_little_is_left(
    choose: Callable[[Floats, int], TopK],
) -> None:
    scores = np.full((1, 5), -np.inf, np.float32)
    scores[0, 3] = 1
    assert choose(scores, 3).items.tolist() == [[3, -1, -1]]
    assert choose(scores[:, :2], 3).items.tolist() == [[-1, -1, -1]]


@given(
    n_items=st.integers(1, 1500),
    k=st.integers(1, 20),
    n_values=st.integers(1, 60),
    share_masked=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    seed=st.integers(0, 1000),
)
def test_top_k_equals_sorting(
    n_items: int, k: int, n_values: int, share_masked: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-n_values, n_values, (3, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < share_masked] = -np.inf
    fast, plain = top_k(scores, k), top_k_by_sorting(scores, k)
    np.testing.assert_array_equal(fast.items, plain.items)
    np.testing.assert_array_equal(fast.scores, plain.scores)


def test_mask_leaves_out_what_each_user_has_seen() -> None:
    factors = np.array([[1.0], [2.0]], np.float32)
    scores = score_users(factors, np.array([[1.0], [2.0], [3.0]], np.float32))
    assert scores.tolist() == [[1, 2, 3], [2, 4, 6]]
    masked = mask(scores, Ragged(np.array([0, 2, 2]), np.array([2, 0])))
    assert top_k(masked, 2).items.tolist() == [[1, -1], [2, 1]]
