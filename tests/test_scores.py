"""Scores in chunks: the same lists as whole rows and plain sorting, in bounded memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recgraph import scores
from recgraph.model import top_k_by_sorting
from recgraph.scores import Scores, same_for_all


def made(seed: int, n_users: int, n_items: int) -> Scores:
    """Scores of whole numbers, exact in whatever order they are added, with many that are equal."""
    rng = np.random.default_rng(seed)

    def some(density: float) -> sparse.csr_matrix:
        is_there = rng.random((n_users, n_items)) < density
        values = rng.integers(1, 9, is_there.shape)
        return sparse.csr_matrix(is_there * values, dtype=np.float32)

    def factors(n: int) -> np.ndarray:
        return rng.integers(-2, 3, (n, 3)).astype(np.float32)

    return Scores(
        factors(n_users),
        factors(n_items),
        added=some(0.1) if seed % 2 else None,
        times=rng.integers(0, 3, n_items).astype(np.float32) if seed % 3 else None,
        left_out=some(rng.choice([0.05, 0.9, 1.0])) if seed % 5 else None,
        hidden=np.flatnonzero(rng.random(n_items) < 0.1) if seed % 7 else None,
    )


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so small that a test has many, the last of each side a shorter one."""
    monkeypatch.setattr(scores, "_USERS", 5)
    monkeypatch.setattr(scores, "_ITEMS", 128)
    monkeypatch.setattr(scores, "_FEW", 0)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 600), st.integers(1, 20))
def test_chunks_give_what_sorting_whole_rows_gives(
    seed: int, n_users: int, n_items: int, k: int
) -> None:
    given_scores = made(seed, n_users, n_items)
    found, plain = given_scores.top_k(k), top_k_by_sorting(given_scores.whole(), k)
    np.testing.assert_array_equal(found.items, plain.items)
    np.testing.assert_array_equal(found.scores, plain.scores)


def test_few_users_have_the_same_lists_by_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    given_scores = made(1, 3, 500)
    chunked = given_scores.top_k(10)
    monkeypatch.setattr(scores, "_FEW", 32)
    monkeypatch.setattr(Scores, "_chunks", None)  # whoever asks for a chunk now fails
    np.testing.assert_array_equal(given_scores.top_k(10).items, chunked.items)


def test_whole_rows_are_not_made_where_they_would_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    given_scores = made(1, 3, 500)
    monkeypatch.setattr(scores, "_FEW", 32)
    monkeypatch.setattr(scores, "_WHOLE", 1_499)
    monkeypatch.setattr(Scores, "whole", None)  # whoever asks for whole rows now fails
    assert given_scores.top_k(10).items.shape == (3, 10)


def test_scores_of_nobody_are_no_lists() -> None:
    assert made(1, 4, 50).of(slice(0)).top_k(3).items.size == 0


def test_scores_of_some_users_are_theirs() -> None:
    whole = made(11, 9, 300)
    rows = np.array([7, 2])
    np.testing.assert_array_equal(whole.of(rows).top_k(5).items, whole.top_k(5).items[rows])


def test_what_is_the_same_for_all_is() -> None:
    found = same_for_all(np.array([1, 3, 2]), 7).top_k(2)
    assert found.items.tolist() == [[1, 2]] * 7
