"""The generated reviews are reviews, and have the shape that they claim."""

from datetime import UTC, datetime

import numpy as np

from recgraph.config import load_settings
from recgraph.reviews import Review, parse_reviews, rules_from_settings
from tests.benchmarks import reviews_data


def test_generated_lines_are_reviews_of_2018() -> None:
    lines = next(reviews_data.batches(20_000))
    rules = rules_from_settings(load_settings())
    found = parse_reviews(lines, rules, now=datetime.now(UTC))
    reviews = [each for each in found if isinstance(each, Review)]
    assert 0 < len(lines) - len(reviews) < 20
    assert {each.source_format for each in reviews} == {"2018"}
    assert 10 < len(reviews) - len({each.review_id for each in reviews}) < 100
    assert 400 < sum(map(len, lines)) / len(lines) < 700
    assert lines == next(reviews_data.batches(20_000))


def test_tails_are_long_and_ratings_are_like_those_of_amazon() -> None:
    n = 500_000
    rng = np.random.default_rng(1)
    users, items = reviews_data.users_and_items(rng, n, n)
    by_user, by_item = (np.bincount(each.astype(int)) for each in (users, items))
    assert 4 < n / (by_user > 0).sum() < 7  # 5.4 in the release
    assert 12 < n / (by_item > 0).sum() < 18  # 15.4
    assert by_item.max() > 2_000
    ratings = reviews_data.ratings_of(rng, users, items)
    assert 4.0 < ratings.mean() < 4.4
    assert (ratings == 5).mean() > 0.5
