"""Weighing: what events of a history come to."""

import numpy as np
import pytest

from recgraph.config import Settings
from recgraph.weighing import (
    EVENT,
    MICROS_A_DAY,
    Events,
    amount_of,
    pairs_of_events,
    weighing_from_settings,
)

WEIGHTS = {"purchase": 1.0, "view": 0.1, "return": -1.0}
WEIGHING = weighing_from_settings(Settings())


@pytest.mark.parametrize(
    ("kind", "quantity", "amount"),
    [
        ("purchase", 3.0, 1.0),
        ("purchase", -2.0, -1.0),
        ("purchase", 0.0, 0.0),
        ("return", 1.0, -1.0),
        ("return", -1.0, -1.0),
        ("view", 0.0, 0.1),
        ("unheard of", 1.0, 0.0),
    ],
)
def test_amounts_by_kind_and_sign(kind: str, quantity: float, amount: float) -> None:
    assert amount_of(kind, quantity, WEIGHTS) == amount


def history(*rows: tuple[int, float, float, bool]) -> Events:
    """Events by item, amount, age in days and whether the kind is one of buying."""
    made = np.zeros(len(rows), EVENT)
    for name, column in zip(
        ("item", "amount", "time", "bought"), zip(*rows, strict=True), strict=True
    ):
        made[name] = column if name != "time" else -np.array(column) * MICROS_A_DAY
    return made


def test_ratings_are_sums_after_decay() -> None:
    events = history((5, 1.0, 0.0, True), (5, 1.0, 60.0, True), (2, 0.1, 0.0, False))
    pairs = pairs_of_events(np.zeros(3, int), events, np.zeros(1, int), WEIGHING, 9)
    assert pairs.items.tolist() == [2, 5]
    assert pairs.ratings == pytest.approx([0.1, 1.5])
    assert pairs.repeats == pytest.approx([0.1, 1 + 0.5 ** (60 / 120)])
    assert pairs.is_bought.tolist() == [False, True]
    assert pairs.bought().items.tolist() == [5]


def test_what_was_taken_back_is_no_pair_and_what_decayed_is() -> None:
    events = history(
        (1, 1.0, 5.0, True), (1, -1.0, 0.0, True), (2, 1.0, 1e5, True), (-1, 1, 0, True)
    )
    pairs = pairs_of_events(np.zeros(4, int), events, np.zeros(1, int), WEIGHING, 9)
    assert pairs.items.tolist() == [2]
    assert pairs.ratings == pytest.approx([1e-6])


def test_users_of_a_block_are_apart() -> None:
    events = history((1, 1.0, 0.0, True), (1, 1.0, 10.0, True))
    newest = np.array([0, -10 * MICROS_A_DAY])
    pairs = pairs_of_events(np.array([0, 1]), events, newest, WEIGHING, 9)
    assert pairs.rows.tolist() == [0, 1]
    assert pairs.ratings.tolist() == [1.0, 1.0]
    matrix = pairs.matrix(pairs.ratings, (3, 9))
    assert matrix.toarray().sum(axis=1).tolist() == [1.0, 1.0, 0.0]
