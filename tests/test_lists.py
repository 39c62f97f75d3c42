"""Lists from scores: the cap is exact, hidden items stay away, ids are read from a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recgraph import lists
from recgraph.errors import ConfigError
from recgraph.lists import UNKNOWN, Rules
from recgraph.model import TopK
from recgraph.ports import Product
from recgraph.scores import Scores


def choose(scores: np.ndarray, rules: Rules) -> TopK:
    """The lists of scores that are given."""
    finite = np.where(np.isfinite(scores), scores, 0)
    items = np.eye(scores.shape[1], dtype=np.float32)
    return lists.choose(Scores(finite, items, left_out=csr_matrix(np.isinf(scores))), rules)


def capped_by_hand(scores: np.ndarray, k: int, categories: np.ndarray, cap: int) -> list[int]:
    """The definition: down the list, take what its category still allows."""
    taken: list[int] = []
    for item in np.argsort(-scores, kind="stable"):
        same = sum(categories[other] == categories[item] for other in taken)
        is_allowed = categories[item] == UNKNOWN or same < cap
        if is_allowed and scores[item] > -np.inf and len(taken) < k:
            taken.append(int(item))
    return taken + [-1] * (k - len(taken))


@given(
    st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 3), st.integers(1, 5),
    st.sampled_from([3, 40, 200]),
)  # fmt: skip
def test_the_cap_is_exact(seed: int, k: int, cap: int, n_categories: int, n_items: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 30, (4, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    categories = rng.integers(-1, n_categories, n_items)
    found = choose(scores, Rules(k, categories, cap))
    for row, items, values in zip(scores, *found, strict=True):
        assert items.tolist() == capped_by_hand(row, k, categories, cap)
        assert values.tolist() == [row[item] if item >= 0 else -np.inf for item in items]


def test_a_cap_that_bites_deep_down_is_found() -> None:
    scores = np.arange(1000, 0, -1, dtype=np.float32)[None, :]
    categories = np.zeros(1000, np.int32)
    categories[[700, 999]] = 1, 2
    found = choose(scores, Rules(4, categories, 1))
    assert found.items.tolist() == [[0, 700, 999, -1]]


def test_hidden_items_are_in_no_list() -> None:
    scores = np.array([[5.0, 4.0, 3.0]], np.float32)
    found = choose(scores, Rules(2, hidden=np.array([0])))
    assert found.items.tolist() == [[1, 2]]


def test_hidden_items_are_found_by_id_department_and_category() -> None:
    products = [
        Product("a", department="Dairy"),
        Product("b", category="Cards"),
        Product("c"),
        Product("d"),
    ]
    hidden = lists.hidden_items(products, ids={"d", "nobody"}, departments=["Dairy"])
    assert hidden is not None
    assert hidden.tolist() == [0, 3]
    by_category = lists.hidden_items(products, categories=["Cards"])
    assert by_category is not None
    assert by_category.tolist() == [1]
    assert lists.hidden_items(products) is None


def test_codes_are_alphabetical_and_know_what_is_missing() -> None:
    found = lists.codes_of(["b", None, "a", "", "b"])
    assert found.names == ["a", "b"]
    assert found.items.tolist() == [1, UNKNOWN, 0, UNKNOWN, 1]


def test_ids_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "hidden.txt"
    path.write_text("\ufeff12\n\n a b \r\n12\n", "utf-8")
    assert lists.read_ids(path) == {"12", "a b"}
    with pytest.raises(ConfigError, match=r"missing\.txt cannot be read"):
        lists.read_ids(tmp_path / "missing.txt")


def test_the_pool_holds_the_most_popular_items_in_the_order_of_their_indices() -> None:
    popularity = np.array([1, 5, 3, 5, 0], np.float32)
    pool = lists.pool_of(popularity, 3)
    assert pool is not None
    assert pool.tolist() == [1, 2, 3]
    assert lists.pool_of(popularity, 5) is None


def test_rules_within_a_pool_are_those_of_its_items() -> None:
    rules = Rules(2, np.array([4, 5, 6, 7]), 1, np.array([0, 3]))
    found = lists.within(rules, np.array([1, 3]))
    assert found.categories is not None
    assert found.hidden is not None
    assert (found.categories.tolist(), found.hidden.tolist()) == ([5, 7], [1])
