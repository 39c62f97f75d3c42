"""Names of vertices that have room: none covers another name or a vertex."""

import pytest

from dashboards.labels import Drawn, crowded


def at(
    vertex: str, x: float, y: float, *, label: str = "Bananas, 40 lb", centre: bool = False
) -> Drawn:
    return Drawn(vertex, label, x, y, 18, centre)


def test_names_far_apart_all_have_room() -> None:
    assert crowded([at("i:1", 0, 0), at("i:2", 200, 0), at("i:3", 0, 60)]) == set()


def test_of_two_names_that_meet_the_first_is_shown() -> None:
    assert crowded([at("i:1", 0, 0), at("i:2", 70, 5)]) == {"i:2"}
    assert crowded([at("i:2", 70, 5), at("i:1", 0, 0)]) == {"i:1"}


def test_a_name_may_not_cover_a_vertex() -> None:
    assert crowded([at("i:1", 0, 0), at("i:2", 0, 24)]) == {"i:1"}


def test_a_centre_always_has_its_name() -> None:
    beside = [at("u:1", 20, 0, centre=True), at("u:2", 30, 0, centre=True), at("i:1", 0, 0)]
    assert crowded(beside) == {"i:1"}


@pytest.mark.parametrize(
    ("label", "has_room"), [("Tea", True), ("Prepared Food: Side Dishes", False)]
)
def test_a_short_name_needs_less_room(label: str, has_room: bool) -> None:
    beside = crowded([at("i:1", 0, 0, label="Tea"), at("i:2", 60, 0, label=label)])
    assert (beside == set()) is has_room


def test_nothing_drawn_has_no_names() -> None:
    assert crowded([]) == set()
