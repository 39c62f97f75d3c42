"""Attributes of products -> TF-IDF -> the items that each item resembles.

``similar`` has the contract of the walk's neighbours: row j says where a step from item j leads. So
a user's first steps (`recgraph.walk.user_steps`) times ``similar`` is what the user's purchases say
of each item by its attributes, also of an item that nobody has bought yet: a *cold* one.

Rows lead to sold items only. A cold item is found the other way round, as one that its own
strongest neighbours lead to: among hundreds of sold items that look the same it would be lost.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from recgraph.columns import Columns as C
from recgraph.model import Matrix
from recgraph.ports import Product
from recgraph.walk import Steps

Bools = NDArray[np.bool_]

_WHOLE = (C.TITLE, C.DEPARTMENT, C.BRAND, C.CATEGORY)
"""Attributes that are a term as a whole: ``category=frozen ice`` is not ``frozen`` and ``ice``."""
_WORDS = (C.TITLE, C.CATEGORY)
"""Attributes whose words are terms as well."""
_WORD = re.compile(r"\w+")
_MAX_SHARE = 0.01
"""A term of a larger share of the items says little, and its pairs would fill the memory."""
_FEW_ITEMS = 1000
"""With fewer items each term counts, however common."""


def terms_of(product: Product) -> list[str]:
    """The terms of a product: its attributes as a whole, and the words of its text."""
    text = {name: (getattr(product, name) or "").casefold() for name in _WHOLE}
    whole = [f"{name}={value}" for name, value in text.items() if value]
    return whole + [word for name in _WORDS for word in _WORD.findall(text[name])]


def cold_items(catalogue: Mapping[str, Product], sold: Iterable[str], max_items: int) -> list[str]:
    """Products that nobody has bought and of which something is known: those last loaded."""
    known = set(sold)
    cold = [each for each, product in catalogue.items() if each not in known and terms_of(product)]
    return sorted(cold[max(0, len(cold) - max_items) :])


def features(products: Sequence[Product]) -> Matrix:
    """TF-IDF of each product, float32 ``(n_items, n_terms)``.

    A row has length 1, or is empty where nothing that tells items apart is known.

    References
    ----------
    Manning, Raghavan and Schütze (2008), Introduction to information retrieval, chapter 6.
    """
    terms = [terms_of(product) for product in products]
    if not any(terms):
        return sparse.csr_matrix((len(terms), 0), dtype=np.float32)
    max_df = 1.0 if len(terms) < _FEW_ITEMS else _MAX_SHARE
    vectorizer = TfidfVectorizer(analyzer=list, max_df=max_df, sublinear_tf=True, dtype=np.float32)
    return vectorizer.fit_transform(terms).tocsr()


def beside(features: Matrix, others: Matrix) -> Matrix:
    """Both as one matrix of the same items; rows have length 1 again, or are empty.

    What only one of the two knows of an item counts whole; where both know it, each counts half.
    """
    both = sparse.hstack([features, _without_common(others)], format="csr", dtype=np.float32)
    return normalize(both)


def _without_common(features: Matrix) -> Matrix:
    """The features without those that too many items have."""
    n_items = features.shape[0]
    if n_items < _FEW_ITEMS:
        return features
    is_rare = np.bincount(features.indices, minlength=features.shape[1]) <= _MAX_SHARE * n_items
    return features @ sparse.diags(is_rare.astype(np.float32))


def item_steps(features: Matrix, is_cold: Bools, *, only_cold: bool) -> Steps:
    """Item -> its terms -> the sold items that have them, for `recgraph.walk.strongest`.

    Parameters
    ----------
    is_cold
        Items that nobody has bought, ``(n_items,)``.
    only_cold
        Leave out the neighbours of sold items, which is most of the work.
    """
    rows = _of_rows(features, is_cold) if only_cold else features
    return Steps(rows, _of_rows(features, ~is_cold).T.tocsr())


def similar(rows: Matrix, is_cold: Bools) -> Matrix:
    """The neighbours of every item and, for each cold one, the way to it from its neighbours.

    Parameters
    ----------
    rows
        The strongest sold neighbours of each item, ``(n_items, n_items)``.
    """
    return (rows + _of_rows(rows, is_cold).T).tocsr().astype(np.float32)


def weighed(similar: Matrix, is_cold: Bools, *, between_sold: float) -> Matrix:
    """``similar`` with the entries between two sold items times a number; those of 0 are gone."""
    between = _of_rows(similar, ~is_cold) @ sparse.diags((~is_cold).astype(np.float32))
    result = (similar + (between_sold - 1) * between).tocsr().astype(np.float32)
    result.eliminate_zeros()
    return result


def _of_rows(matrix: Matrix, is_in: Bools) -> Matrix:
    """The matrix with the other rows empty."""
    kept = (sparse.diags(is_in.astype(np.float32)) @ matrix).tocsr()
    kept.eliminate_zeros()
    return kept
