"""Content: terms, TF-IDF, neighbours among what is sold, and the way to a cold item."""

import numpy as np
import pytest
from scipy import sparse

from recgraph import content, walk
from recgraph.ports import Product

MILK, OAT, SOAP, NEW_MILK, BARE = PRODUCTS = [
    Product("milk", title="Whole Milk, 1 gal", department="Dairy", category="Fluid Milk"),
    Product("oat", title="Oat Milk", department="Dairy", category="Fluid Milk"),
    Product("soap", title="Bar Soap", department="Drug", category="Hand Soap"),
    Product("new milk", title="Skim Milk", department="Dairy", category="Fluid Milk"),
    Product("bare"),
]
IS_COLD = np.array([False, False, False, True, True])


def neighbours(*, only_cold: bool) -> np.ndarray:
    steps = content.item_steps(content.features(PRODUCTS), IS_COLD, only_cold=only_cold)
    return content.similar(walk.item_neighbours(steps, 2), IS_COLD).toarray()


def test_terms_keep_text_of_several_words_whole_beside_its_words() -> None:
    terms = content.terms_of(Product("x", title="Ice Cream", brand="Café Noir"))
    assert terms == ["title=ice cream", "brand=café noir", "ice", "cream"]
    assert content.terms_of(BARE) == []


def test_features_have_length_one_or_none() -> None:
    found = content.features(PRODUCTS)
    assert found.dtype == np.float32
    lengths = np.linalg.norm(found.toarray(), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 0], rtol=1e-6)


def test_features_of_nothing_known_are_empty() -> None:
    assert content.features([BARE, Product("y")]).shape == (2, 0)
    assert content.features([]).shape == (0, 0)


def test_rarer_terms_tell_more() -> None:
    titles = ["oat milk", "oat soap", "milk soap", "milk jug"]  # oat is rarer than milk
    found = content.features([Product(title, title=title) for title in titles])
    likeness = (found @ found.T).toarray()
    assert likeness[0, 1] > likeness[0, 2] > 0


def test_a_cold_item_is_reached_from_what_it_resembles_and_back() -> None:
    found = neighbours(only_cold=True)
    assert found[0, 3] == found[3, 0] > 0
    assert found[1, 3] == found[3, 1] > 0
    assert not found[2].any()  # soap is like no milk
    assert not found[4].any()  # nothing is known of it
    assert not found[:3, :3].any()  # sold items were left out


def test_sold_items_lead_to_sold_ones_by_their_likeness() -> None:
    found = neighbours(only_cold=False)
    expected = content.features(PRODUCTS)
    likeness = (expected @ expected.T).toarray()
    assert found[0, 1] == pytest.approx(likeness[0, 1])
    assert found[3, 0] == pytest.approx(likeness[3, 0])
    assert (np.diag(found) == 0).all()


def test_weighed_touches_only_what_lies_between_sold_items() -> None:
    found = sparse.csr_matrix(neighbours(only_cold=False))
    half = content.weighed(found, IS_COLD, between_sold=0.5).toarray()
    np.testing.assert_allclose(half[:3, :3], found[:3, :3].toarray() / 2)
    np.testing.assert_array_equal(half[3:], found[3:].toarray())
    np.testing.assert_array_equal(half[:, 3:], found[:, 3:].toarray())
    without = content.weighed(found, IS_COLD, between_sold=0)
    assert without.nnz == (neighbours(only_cold=True) != 0).sum()


def test_cold_items_are_those_last_loaded_of_which_something_is_known() -> None:
    catalogue = {each.item_id: each for each in PRODUCTS}
    assert content.cold_items(catalogue, ["milk"], 10) == ["new milk", "oat", "soap"]
    assert content.cold_items(catalogue, ["milk"], 2) == ["new milk", "soap"]
    assert content.cold_items(catalogue, ["milk"], 0) == []


def test_what_is_said_stands_beside_what_is_known() -> None:
    known = content.features(PRODUCTS)
    said = sparse.csr_matrix(np.eye(5, 7, dtype=np.float32))
    found = content.beside(known, said)
    assert found.shape == (5, known.shape[1] + 7)
    np.testing.assert_allclose(np.linalg.norm(found.toarray(), axis=1), 1, rtol=1e-6)
    halves = (found[:4].multiply(found[:4])).toarray()
    np.testing.assert_allclose(halves[:, known.shape[1] :].sum(axis=1), 0.5, rtol=1e-5)
    assert found[4, known.shape[1] + 4] == 1  # of it only what is said is known


def test_what_is_said_of_too_many_makes_nobody_alike() -> None:
    n_items = 2000
    rare = sparse.identity(n_items, dtype=np.float32, format="csr")
    common = sparse.csr_matrix(np.ones((n_items, 1), np.float32))
    nothing = sparse.csr_matrix((n_items, 0), dtype=np.float32)
    found = content.beside(nothing, sparse.hstack([common, rare], format="csr"))
    assert (found[1] @ found[2].T).nnz == 0
    assert found[1, 2] == 1
