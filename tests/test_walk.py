"""The graph walk: a house graph counted by hand, and what must hold for every graph."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from recgraph.walk import (
    item_blocks,
    item_neighbours,
    item_steps,
    strongest,
    top_shares,
    user_steps,
)

# Ann bought bread and milk, Bob bread and salt, Cy bread, milk and salt, Dee tea alone.
HOUSE = np.array(
    [
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [1, 1, 1, 0],
        [0, 0, 0, 1],
    ],
    np.float32,
)


@st.composite
def ratings(draw: st.DrawFn) -> sparse.csr_matrix:
    """Small rating matrices, with users and items that have none."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    levels = draw(hnp.arrays(np.int8, shape, elements=st.integers(0, 4)))
    return sparse.csr_matrix(np.where(levels > 1, levels, 0).astype(np.float32))


def sums(matrix: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(matrix.sum(axis=0), np.float32).ravel()


def full_product(matrix: sparse.csr_matrix) -> np.ndarray:
    """The whole product of the two halves, itself left out."""
    steps = item_steps(matrix)
    product = (steps.back @ steps.on).toarray()
    np.fill_diagonal(product, 0)
    return product


def test_neighbours_of_the_house_graph_are_as_counted_by_hand() -> None:
    found = item_neighbours(item_steps(sparse.csr_matrix(HOUSE)), 10).toarray()
    # Users have 2, 2, 3 and 1 purchases, items 3, 2, 2 and 1 buyers.
    bread_milk = (1 / 2 + 1 / 3) / np.sqrt(3 * 2)
    milk_salt = (1 / 3) / np.sqrt(2 * 2)
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = expected[0, 2] = expected[2, 0] = bread_milk
    expected[1, 2] = expected[2, 1] = milk_salt
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_user_steps_of_the_house_graph_are_as_counted_by_hand() -> None:
    matrix = sparse.csr_matrix(HOUSE)
    found = user_steps(matrix, sums(matrix)).toarray()
    ann = [1 / np.sqrt(2 * 3), 1 / np.sqrt(2 * 2), 0, 0]
    np.testing.assert_allclose(found[0], ann, rtol=1e-6)
    np.testing.assert_allclose(found[3], [0, 0, 0, 1], rtol=1e-6)


def test_a_walk_without_truncation_is_the_symmetric_one_of_gf_cf() -> None:
    matrix = sparse.csr_matrix(HOUSE)
    scores = user_steps(matrix, sums(matrix)) @ item_neighbours(item_steps(matrix), 10)
    n = HOUSE / np.sqrt(HOUSE.sum(1, keepdims=True)) / np.sqrt(HOUSE.sum(0, keepdims=True))
    gram = n.T @ n
    np.fill_diagonal(gram, 0)
    np.testing.assert_allclose(scores.toarray(), n @ gram, rtol=1e-5, atol=1e-7)


def test_a_larger_exponent_holds_popular_items_back() -> None:
    matrix = sparse.csr_matrix(HOUSE)
    free, held = (
        item_neighbours(item_steps(matrix, exponent=exponent), 10).toarray()
        for exponent in (0.0, 1.0)
    )
    bread, salt = 0, 2  # three buyers, two buyers
    assert held[1, bread] / held[1, salt] < free[1, bread] / free[1, salt]


def test_the_last_step_ends_at_what_its_own_ratings_hold() -> None:
    recent = HOUSE.copy()
    recent[:, 0] = 0  # nobody bought bread lately
    found = item_neighbours(item_steps(sparse.csr_matrix(HOUSE), sparse.csr_matrix(recent)), 10)
    assert found[:, [0]].nnz == 0
    assert found[[0], :].nnz == 2  # it still leads to milk and salt


@given(ratings(), st.integers(1, 5))
def test_truncation_keeps_the_best_of_the_full_product(
    matrix: sparse.csr_matrix, n_neighbours: int
) -> None:
    product = full_product(matrix)
    found = item_neighbours(item_steps(matrix), n_neighbours).toarray()
    for item, row in enumerate(product):
        order = np.lexsort((np.arange(len(row)), -row))[:n_neighbours]
        expected = np.zeros_like(row)
        expected[order] = row[order]
        np.testing.assert_array_equal(found[item], expected)


@given(ratings(), st.integers(1, 40))
def test_blocks_are_every_item_once_and_together_the_whole(
    matrix: sparse.csr_matrix, max_entries: int
) -> None:
    steps = item_steps(matrix)
    blocks = list(item_blocks(steps, max_entries))
    assert np.concatenate(blocks).tolist() == list(range(matrix.shape[1]))
    parts = sparse.vstack([strongest(steps, items, 3) for items in blocks])
    np.testing.assert_array_equal(parts.toarray(), item_neighbours(steps, 3).toarray())


@given(ratings())
def test_steps_are_finite_and_silent_where_nothing_is_rated(matrix: sparse.csr_matrix) -> None:
    steps = user_steps(matrix, sums(matrix))
    assert np.isfinite(steps.data).all()
    assert (np.diff(steps.indptr)[sums(matrix.T.tocsr()) == 0] == 0).all()
    assert steps.dtype == np.float32


@given(ratings(), st.integers(1, 3))
def test_top_shares_are_the_largest_terms_of_the_score(matrix: sparse.csr_matrix, n: int) -> None:
    neighbours = item_neighbours(item_steps(matrix), 4)
    steps = user_steps(matrix, sums(matrix))
    n_users, n_items = matrix.shape
    lists = np.tile(np.append(np.arange(n_items)[::-1], -1), (n_users, 1))
    found = top_shares(steps, neighbours, lists, n)
    terms = steps.toarray()[:, :, None] * neighbours.toarray()[None]
    for user, place in np.ndindex(lists.shape):
        items, shares = found.items[user, place], found.shares[user, place]
        if lists[user, place] < 0:
            assert (items == -1).all()
            continue
        of_item = terms[user, :, lists[user, place]]
        expected = np.sort(of_item[of_item > 0])[::-1][:n]
        np.testing.assert_allclose(shares[: len(expected)], expected, rtol=1e-5)
        assert (items[len(expected) :] == -1).all()
        np.testing.assert_allclose(of_item[items[: len(expected)]], expected, rtol=1e-5)


@given(ratings())
def test_shares_of_bought_items_add_up_to_the_walk(matrix: sparse.csr_matrix) -> None:
    neighbours = item_neighbours(item_steps(matrix), 4)
    steps = user_steps(matrix, sums(matrix))
    lists = np.tile(np.arange(matrix.shape[1]), (matrix.shape[0], 1))
    found = top_shares(steps, neighbours, lists, matrix.shape[1])
    scores = (steps @ neighbours).toarray()
    np.testing.assert_allclose(found.shares.sum(axis=2), scores, rtol=1e-5, atol=1e-7)
    rows, _, _ = np.nonzero(found.items >= 0)
    bought = found.items[found.items >= 0]
    assert (matrix.toarray()[rows, bought] > 0).all()


@pytest.mark.parametrize("n_neighbours", [1, 100])
def test_a_graph_without_edges_has_no_neighbours(n_neighbours: int) -> None:
    empty = sparse.csr_matrix((3, 5), dtype=np.float32)
    assert item_neighbours(item_steps(empty), n_neighbours).shape == (5, 5)
    assert item_neighbours(item_steps(empty), n_neighbours).nnz == 0
