"""Kappa by the textbook, the file of an exploration, and texts whose sentiment is plain."""

from pathlib import Path

import pytest

from recgraph.errors import InputError
from recgraph.exploration import SENTIMENTS, kappa_of, read_exploration, write_exploration
from recgraph.sentiment import sentiments_of
from tests.explored import EXPLORATION


def test_kappa_is_that_of_the_textbook() -> None:
    # Two readers of 50 proposals: 35 alike, 25 expected by chance.
    assert kappa_of([[20, 5], [10, 15]]) == pytest.approx(0.4)
    assert kappa_of([[5, 0], [0, 5]]) == 1
    assert kappa_of([[1, 1], [1, 1]]) == 0


@pytest.mark.parametrize("table", [[[0, 0], [0, 0]], [[7, 0], [0, 0]]])
def test_kappa_where_chance_is_all_is_none(table: list[list[int]]) -> None:
    assert kappa_of(table) is None


def test_what_follows_from_an_exploration() -> None:
    assert EXPLORATION.mean_rating == pytest.approx((60 + 80 + 150 + 200 + 1000) / 400)
    assert EXPLORATION.n_scored == 300
    assert EXPLORATION.agreed == pytest.approx(0.5)
    first, second, *_ = EXPLORATION.most_reviewed
    assert first.turnover == 1250
    assert second.turnover is None


def test_an_exploration_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "reviews" / "exploration.json"
    assert read_exploration(path) is None
    write_exploration(path, EXPLORATION)
    assert read_exploration(path) == EXPLORATION
    path.write_text('{"n_reviews": 3}')
    with pytest.raises(InputError, match="recgraph reviews explore"):
        read_exploration(path)


def test_sentiments_of_plain_texts() -> None:
    texts = [
        "I love it, works great!",
        "Terrible. Broke at once, awful.",
        "It is a card.",
        " ",
        None,
    ]
    found = [None if place is None else SENTIMENTS[place] for place in sentiments_of(texts)]
    assert found == ["positive", "negative", "neutral", None, None]


def test_a_very_long_text_has_a_sentiment() -> None:
    assert sentiments_of(["good " * 1_000_000]) == [SENTIMENTS.index("positive")]
