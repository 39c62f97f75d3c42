"""The fallback chain: what is silent gives way to the segment's popular items, then to all."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from recgraph import fallback
from recgraph.fallback import POPULAR, POPULAR_IN_SEGMENT, Filled, Popular
from recgraph.lists import UNKNOWN, Rules, codes_of
from recgraph.model import TopK

# Items 0-2 are dairy, 3-5 soap, 6 has no department; 4 is the most popular, 5 nobody has.
SEGMENTS = codes_of(["dairy"] * 3 + ["soap"] * 3 + [None])
POPULARITY = np.array([3, 5, 1, 4, 9, 0, 2], np.float32)
LISTS = fallback.popular_lists(POPULARITY, SEGMENTS, 10, None)
NOBODY = TopK(np.full((1, 3), -1), np.full((1, 3), -np.inf, np.float32))


def filled(segment: int, seen: list[int], rules: Rules, popular: Popular = LISTS) -> Filled:
    row = np.zeros((1, 7), np.float32)
    row[0, seen] = 1
    of_users = np.array([segment])
    return fallback.fill(NOBODY, {}, of_users, popular, sparse.csr_matrix(row), rules)


def test_popular_lists_are_by_segment_and_of_all() -> None:
    assert LISTS.of(0).tolist() == [1, 0, 2]
    assert LISTS.of(1).tolist() == [4, 3]  # nobody bought item 5
    assert LISTS.of(UNKNOWN).tolist() == [4, 1, 3, 0, 6, 2]


def test_popular_lists_leave_hidden_items_out() -> None:
    found = fallback.popular_lists(POPULARITY, SEGMENTS, 2, np.array([1, 4]))
    assert found.of(0).tolist() == [0, 2]
    assert found.of(UNKNOWN).tolist() == [3, 0]


def test_lately_popular_comes_first_and_equal_ones_by_all_buyers() -> None:
    ever, lately = np.array([9, 5, 7], np.float32), np.array([0, 2, 2], np.float32)
    assert np.argsort(-fallback.popularity_of(ever, lately)).tolist() == [2, 1, 0]


def test_the_segment_is_that_of_most_purchases() -> None:
    bought = np.zeros((4, 7))
    bought[0, [0, 3, 4]] = 1  # soap twice
    bought[1, [0, 3]] = 1  # a tie: the first in the alphabet
    bought[2, 6] = 1  # of no department
    found = fallback.segments_of(sparse.csr_matrix(bought), SEGMENTS)
    assert found.tolist() == [1, 0, UNKNOWN, UNKNOWN]


def test_a_user_without_signals_gets_the_segment_and_then_all() -> None:
    found = filled(1, [3], Rules(3))
    assert found.top.items.tolist() == [[4, 1, 0]]
    assert found.top.scores.tolist() == [[0, 0, 0]]
    assert found.sources.tolist() == [[POPULAR_IN_SEGMENT, POPULAR, POPULAR]]


def test_a_user_without_a_segment_gets_what_is_popular() -> None:
    found = filled(UNKNOWN, [], Rules(3))
    assert found.top.items.tolist() == [[4, 1, 3]]
    assert set(found.sources.ravel()) == {POPULAR}


def test_a_list_is_shorter_where_nothing_is_left() -> None:
    found = filled(0, [0, 1, 3, 4, 6], Rules(3))
    assert found.top.items.tolist() == [[2, -1, -1]]
    assert found.top.scores[0].tolist() == [0, -np.inf, -np.inf]
    assert found.sources.tolist() == [[POPULAR_IN_SEGMENT, None, None]]


def test_only_silent_rows_give_way() -> None:
    top = TopK(np.array([[2, 5, 0], [6, 4, 3]]), np.array([[0.7, 0, 0], [3, 2, 1]], np.float32))
    parts = {"walk": np.array([[0.7, 0, 0], [3, 2, 1]], np.float32)}
    found = fallback.fill(top, parts, np.array([0, 1]), LISTS, None, Rules(3))
    assert found.top.items.tolist() == [[2, 1, 0], [6, 4, 3]]
    assert found.top.scores[0] == pytest.approx([0.7, 0, 0])
    assert found.sources[0].tolist() == [None, POPULAR_IN_SEGMENT, POPULAR_IN_SEGMENT]
    assert found.sources[1].tolist() == [None] * 3


def test_the_cap_per_category_holds_in_what_is_filled() -> None:
    rules = Rules(3, categories=np.array([0, 0, 0, 1, 1, 1, UNKNOWN]), max_per_category=1)
    found = filled(0, [], rules)
    assert found.top.items.tolist() == [[1, 4, 6]]


def test_an_asked_segment_answers_for_somebody_unknown() -> None:
    items, sources = fallback.popular_for(
        LISTS, LISTS.segments.index("dairy"), np.array([1]), np.empty(0, np.int64), Rules(4)
    )
    assert items.tolist() == [0, 2, 4, 3]
    assert sources == [POPULAR_IN_SEGMENT] * 2 + [POPULAR] * 2


def test_popular_lists_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "popular.parquet"
    fallback.write_popular(path, LISTS, [f"i{number}" for number in range(7)])
    found = fallback.read_popular(path)
    assert found.segments == ["dairy", "soap"]
    for segment in (0, 1, UNKNOWN):
        assert found.of(segment).tolist() == LISTS.of(segment).tolist()


def test_no_popular_lists_are_read_as_such(tmp_path: Path) -> None:
    path = tmp_path / "popular.parquet"
    nothing = fallback.popular_lists(np.zeros(2, np.float32), codes_of([None, None]), 5, None)
    fallback.write_popular(path, nothing, ["a", "b"])
    assert fallback.read_popular(path).of(UNKNOWN).tolist() == []


def test_the_bayesian_average_trusts_many_ratings_more_than_few() -> None:
    counts, sums = np.array([100, 1, 4, 0], np.float32), np.array([450.0, 5.0, 8.0, 0.0])
    mean = 463 / 105
    found = fallback.bayesian_average(counts, sums, 10)
    expected = [(10 * mean + 450) / 110, (10 * mean + 5) / 11, (10 * mean + 8) / 14, 0]
    assert found.tolist() == pytest.approx(expected)
    assert np.argsort(-found).tolist() == [0, 1, 2, 3]
    raw = fallback.bayesian_average(counts, sums, 0)
    assert raw.tolist() == pytest.approx([4.5, 5.0, 2.0, 0.0])
