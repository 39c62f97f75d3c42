"""The blend: parts sum to the score, and weights count whatever the size of a signal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recgraph import blend
from recgraph.blend import Coefficients, Items, Users

N_USERS, N_ITEMS = 6, 9
ON = Coefficients(als=1.5, walk=0.7, repeat=2.0, content=0.3)


def signals(seed: int = 1) -> tuple[Users, Items]:
    rng = np.random.default_rng(seed)

    def some(n_rows: int) -> sparse.csr_matrix:
        return sparse.random(
            n_rows, N_ITEMS, density=0.4, format="csr", dtype=np.float32, random_state=rng
        )

    users, items = (rng.normal(size=(n, 4)).astype(np.float32) for n in (N_USERS, N_ITEMS))
    of_users = Users(users, steps=some(N_USERS), repeats=some(N_USERS))
    again = rng.random(N_ITEMS).astype(np.float32)
    return of_users, Items(items, neighbours=some(N_ITEMS), similar=some(N_ITEMS), again=again)


def dense(users: Users, items: Items) -> dict[str, np.ndarray]:
    """Each signal by its definition."""
    steps = users.steps.toarray()
    return {
        "als": users.factors @ items.factors.T,
        "walk": steps @ items.neighbours.toarray(),
        "repeat": users.repeats.toarray() + (users.repeats.toarray() > 0) * items.again,
        "content": steps @ items.similar.toarray(),
    }


def test_score_is_the_weighted_sum_of_the_signals() -> None:
    users, items = signals()
    parts = dense(users, items)
    expected = sum(getattr(ON, name) * part for name, part in parts.items())
    found = blend.score(users, items, ON).whole()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@given(
    st.integers(0, 1000),
    st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=4, max_size=4),
    st.integers(1, N_ITEMS + 2),
)
def test_parts_add_up_to_the_score_of_every_listed_item(
    seed: int, values: list[float], k: int
) -> None:
    users, items = signals(seed)
    coefficients = Coefficients(*values)
    top = blend.score(users, items, coefficients).top_k(k)
    parts = blend.signals(users, items, coefficients).parts_at(top.items)
    assert set(parts) == {name for name in blend.PARTS if getattr(coefficients, name)}
    total = sum(parts.values(), np.zeros(top.items.shape, np.float32))
    is_there = top.items >= 0
    np.testing.assert_allclose(total[is_there], top.scores[is_there], rtol=1e-5, atol=1e-5)
    assert (total[~is_there] == 0).all()


def test_each_part_is_its_signal_times_its_coefficient() -> None:
    users, items = signals()
    lists = np.array([[0, 3, -1]] * N_USERS)
    parts = blend.signals(users, items, ON).parts_at(lists)
    for name, signal in dense(users, items).items():
        expected = getattr(ON, name) * signal[:, [0, 3]]
        np.testing.assert_allclose(parts[name][:, :2], expected, rtol=1e-5, atol=1e-6)
        assert (parts[name][:, 2] == 0).all()


def test_a_signal_that_is_not_there_is_silent() -> None:
    users, items = signals()
    bare = Users(users.factors), Items(items.factors)
    np.testing.assert_array_equal(
        blend.score(*bare, ON).whole(), blend.score(*bare, Coefficients(als=ON.als)).whole()
    )
    parts = blend.signals(*bare, ON).parts_at(np.zeros((N_USERS, 1), np.int64))
    assert (parts["walk"] == 0).all()


def test_coefficients_bring_each_signal_to_its_weight() -> None:
    users, items = signals()
    weights = Coefficients(als=1.0, walk=0.6, repeat=3.0, content=0.0)
    found = blend.coefficients_from_weights(weights, users, items)
    for name, signal in dense(users, items).items():
        size = np.sqrt(np.mean((getattr(found, name) * signal) ** 2))
        assert size == pytest.approx(getattr(weights, name), rel=1e-5)


def test_coefficients_do_not_depend_on_the_scale_of_a_signal() -> None:
    users, items = signals()
    weights = Coefficients(als=1.0, walk=0.6, repeat=3.0)
    larger = items._replace(factors=items.factors * 100, neighbours=items.neighbours * 0.01)
    one, other = (
        blend.score(users, each, blend.coefficients_from_weights(weights, users, each)).whole()
        for each in (items, larger)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_silent_signal_keeps_its_weight_as_coefficient() -> None:
    users, items = signals()
    silent = users._replace(
        factors=np.zeros_like(users.factors), steps=sparse.csr_matrix((N_USERS, N_ITEMS))
    )
    weights = Coefficients(als=1.0, walk=0.6)
    assert blend.coefficients_from_weights(weights, silent, items) == weights


def test_source_of_names_the_parts_that_are_on() -> None:
    assert blend.source_of(ON) == "als+walk+repeat+content"
    assert blend.source_of(Coefficients(als=0.0, walk=1.0)) == "walk"


@given(st.integers(0, 1000), st.floats(0.05, 1.0))
def test_a_discount_multiplies_scores_and_parts_alike(seed: int, exponent: float) -> None:
    users, items = signals(seed)
    n_buyers = np.random.default_rng(seed).integers(0, 50, N_ITEMS).astype(np.float32)
    discount = blend.popularity_discount(n_buyers, exponent)
    np.testing.assert_allclose(discount, (1 + n_buyers) ** -exponent, rtol=1e-5)
    plain, found = (blend.signals(users, items._replace(discount=d), ON) for d in (None, discount))
    np.testing.assert_allclose(found.scores().whole(), plain.scores().whole() * discount, rtol=1e-5)
    everything = np.tile(np.arange(N_ITEMS), (N_USERS, 1))
    total = sum(found.parts_at(everything).values())
    np.testing.assert_allclose(total, found.scores().whole(), rtol=1e-4, atol=1e-5)


def test_no_discount_is_none() -> None:
    assert blend.popularity_discount(np.ones(3, np.float32), 0.0) is None


def test_only_switches_the_other_parts_off() -> None:
    assert blend.only(ON, ["walk"]) == Coefficients(als=0.0, walk=0.7)
