"""How many products of each stratum -> which design of a sample; and other samples of that design.

What is drawn are products, whole: stratum by stratum, by how many reviews they have. For other
samples of the same design the products are dealt at random into groups, and groups are drawn: each
such sample is a simple random one of each stratum. Only counts by group come here, never reviews:
their number does not grow with the reviews.

References
----------
Wolter (2007), Introduction to variance estimation, chapter 2 (random groups).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recgraph.errors import InputError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

STRATA = (1, 2, 10, 100)
"""The least number of reviews of a product in each stratum."""
STRATUM_NAMES = ("1 review", "2 to 9", "10 to 99", "100 and more")

RATING, LENGTH, YEAR, PER_USER = "rating", "review_length", "year", "reviews_per_user"
"""What is known of a review; the number of reviews is that of its author in the whole."""
PER_PRODUCT, PRODUCT_RATING = "reviews_per_product", "product_rating"
"""What is known of a product, which counts once however many reviews it has; the mean rating."""
VARIABLES = (RATING, PRODUCT_RATING, LENGTH, YEAR, PER_USER, PER_PRODUCT)
"""In the order in which a report has them."""
LEAST_FRACTION = 1e-4
"""A smaller share of the products would need more groups than a driver should hold."""
_MAX_GROUPS = 1000
_AT_ONCE = 500
"""Samples that are drawn in one piece: 8 bytes for each and each group."""
STEPS = 4
"""Bins of a number between one and twice as much, and of a mean rating between two stars."""
NUDGE = 1e-9
"""Lifts a logarithm that is a whole number, but for its last digits, over it."""
FIRST_YEAR = 1970
"""The year of the bin 0."""


class Design(NamedTuple):
    """How many products of each stratum there are, and are drawn; arrays ``(n_strata,)``."""

    n_products: Ints
    n_chosen: Ints

    @property
    def weights(self) -> Array:
        """Products of the whole that one of the sample stands for; 0 where none is drawn."""
        return self.n_products / np.maximum(self.n_chosen, 1) * (self.n_chosen > 0)

    @property
    def n_groups(self) -> Ints:
        """Groups that each stratum is dealt into, so that whole groups make up a sample."""
        few = np.minimum(self.n_products, _MAX_GROUPS)
        chosen = np.maximum(few * self.n_chosen // np.maximum(self.n_products, 1), 1)
        # A group of one product each where there are few; else chosen / n_groups is the fraction.
        even = np.rint(chosen * self.n_products / np.maximum(self.n_chosen, 1)).astype(np.int64)
        many = np.minimum(np.maximum(even, 1), self.n_products)
        return np.where(self.n_products <= _MAX_GROUPS, self.n_products, many)

    @property
    def n_groups_chosen(self) -> Ints:
        """Groups that make up one sample."""
        share = self.n_chosen / np.maximum(self.n_products, 1)
        return np.maximum(np.rint(share * self.n_groups), self.n_chosen > 0).astype(np.int64)


Counts = Mapping[str, Sequence[Array]]
"""Variable -> for each stratum, counts ``(n_groups, n_bins)``; bins by `bin_of` and its like."""


def check_fraction(fraction: float) -> None:
    """Return if so large a share of the products can be drawn and be proved faithful.

    Raises
    ------
    InputError
        It is not above 0 and at most 1, or too small.
    """
    if not LEAST_FRACTION <= fraction <= 1:
        message = f"the fraction is {fraction:g}; expected {LEAST_FRACTION:g} to 1."
        raise InputError(message)


def allocated(n_products: Ints, fraction: float) -> Design:
    """The same fraction of each stratum, and at least one product of one that is not empty.

    Raises as `check_fraction` does.
    """
    check_fraction(fraction)
    least = np.minimum(n_products, 1)
    return Design(n_products, np.maximum(np.rint(fraction * n_products).astype(np.int64), least))


def bin_of(numbers: Any) -> Ints:
    """The bin of each number: 0 of 0, then four from each power of two to the next."""
    logarithms = np.log2(np.maximum(numbers, 1))
    return np.where(np.asarray(numbers) < 1, 0, 1 + np.floor(STEPS * logarithms + NUDGE)).astype(
        np.int64
    )


def labels_of(variable: str, n_bins: int) -> list[str]:
    """The name of each bin: a rating, a year, or the least number in it."""
    if variable == RATING:
        return [str(1 + each) for each in range(n_bins)]
    if variable == PRODUCT_RATING:
        return [f"{1 + each / STEPS:g}" for each in range(n_bins)]
    if variable == YEAR:
        return [str(FIRST_YEAR + each) for each in range(n_bins)]
    return ["0", *(str(int(np.ceil(2 ** (each / STEPS)))) for each in range(n_bins - 1))]


def replicates(counts: Counts, design: Design, n: int, seed: int) -> dict[str, Array]:
    """The shares in so many other samples of this design: variable -> ``(n, n_bins)``."""
    random = np.random.default_rng(seed)
    blocks = [
        _drawn(counts, design, min(_AT_ONCE, n - start), random) for start in range(0, n, _AT_ONCE)
    ]
    return {name: shares_of(np.concatenate([each[name] for each in blocks])) for name in counts}


def _drawn(counts: Counts, design: Design, n: int, random: np.random.Generator) -> dict[str, Array]:
    """The weighed counts of so many samples: groups drawn without putting them back."""
    sums = {name: np.zeros((n, strata[0].shape[1])) for name, strata in counts.items()}
    many = zip(design.n_groups, design.n_groups_chosen, strict=True)
    for stratum, (n_groups, n_chosen) in enumerate(many):
        if not n_chosen:
            continue
        places = random.random((n, n_groups))
        last = np.partition(places, n_chosen - 1, axis=1)[:, [n_chosen - 1]]
        drawn = (places <= last) * (n_groups / n_chosen)
        for name, strata in counts.items():
            sums[name] += drawn @ strata[stratum]
    return sums


def shares_of(counts: Array) -> Array:
    """The counts of each row as shares, all 0 where there is nothing."""
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-300))
