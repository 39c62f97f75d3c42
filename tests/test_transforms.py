"""What ALS is given of a rating: by hand, for some users alone, and from a file."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from recgraph import transforms
from recgraph.model import Matrix
from recgraph.transforms import Transform


@pytest.fixture
def ratings() -> Matrix:
    """Two users; item 0 is everybody's."""
    return sparse.csr_matrix(np.array([[4, 1, 0], [1, 0, 0.5]], np.float32))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("count", [4, 1, 1, 0.5]),
        ("log", np.log([5, 2, 2, 1.5])),
        ("binary", [1, 1, 1, 0.5]),
    ],
)
def test_each_rating_is_transformed_alone(
    name: Transform, expected: list[float], ratings: Matrix
) -> None:
    found = transforms.transformed(ratings, transforms.fit(ratings, name))
    assert found.data == pytest.approx(expected)
    assert ratings.data.tolist() == [4, 1, 1, 0.5], "what is given stays as it is"


@pytest.mark.parametrize(("cap", "expected"), [(2.0, [2, 1, 1, 0.5]), (0.5, [1, 1, 1, 0.5])])
def test_a_cap_is_a_number_or_below_one_a_quantile(
    cap: float, expected: list[float], ratings: Matrix
) -> None:
    fitted = transforms.fit(ratings, "cap", cap=cap)
    assert transforms.transformed(ratings, fitted).data == pytest.approx(expected)


def test_bm25_by_hand(ratings: Matrix) -> None:
    # Sums of the users: 5 and 1.5, mean 3.25; two users have item 0, one each of the others.
    k, b = transforms.BM25_K, transforms.BM25_B
    by_hand = [
        r * (k + 1) / (r + k * (1 - b + b * total / 3.25)) * np.log(3 / n)
        for r, total, n in ((4, 5, 2), (1, 5, 1), (1, 1.5, 2), (0.5, 1.5, 1))
    ]
    found = transforms.transformed(ratings, transforms.fit(ratings, "bm25"))
    assert found.data == pytest.approx(by_hand)


@pytest.mark.parametrize("name", ["count", "log", "binary", "cap", "bm25"])
def test_a_user_alone_is_transformed_as_among_all_also_from_a_file(
    name: Transform, ratings: Matrix, tmp_path: Path
) -> None:
    fitted = transforms.fit(ratings, name, cap=0.5)
    transforms.write_fitted(tmp_path / "transform.npz", fitted)
    again = transforms.read_fitted(tmp_path / "transform.npz", 3)
    alone = transforms.transformed(ratings[1], again)
    assert alone.toarray() == pytest.approx(transforms.transformed(ratings, fitted)[1].toarray())


def test_without_a_file_ratings_stay_as_they_are(tmp_path: Path) -> None:
    assert transforms.read_fitted(tmp_path / "none.npz", 3).name == "count"


@pytest.mark.parametrize("name", ["cap", "bm25"])
def test_no_ratings_are_no_error(name: Transform) -> None:
    nothing = sparse.csr_matrix((2, 3), dtype=np.float32)
    assert transforms.transformed(nothing, transforms.fit(nothing, name)).nnz == 0
