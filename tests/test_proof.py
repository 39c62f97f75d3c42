"""True samples pass as often as is said, biased ones fail, and what is too small is called so."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from recgraph import proof
from recgraph.errors import InputError
from recgraph.proof import Found, compare, kolmogorov_smirnov, total_variation
from recgraph.sampling import (
    LENGTH,
    PER_PRODUCT,
    PER_USER,
    PRODUCT_RATING,
    RATING,
    STRATA,
    STRATUM_NAMES,
    YEAR,
    Array,
    Design,
    Ints,
    allocated,
    bin_of,
    labels_of,
    replicates,
    shares_of,
)

N_BINS = {RATING: 5, LENGTH: 60, YEAR: 60, PER_USER: 40, PER_PRODUCT: 60, PRODUCT_RATING: 17}


class Whole(NamedTuple):
    """Products with a long tail, each with ratings, lengths and years of its own."""

    strata: Ints
    """``(n_products,)``"""
    by_product: dict[str, Array]
    """Variable -> ``(n_products, n_bins)``."""

    def drawn(self, chosen: Ints, weights: Array) -> Found:
        """What these products would be as a sample."""
        n = self.by_product[RATING][chosen].sum()
        counts = {
            name: weights[self.strata[chosen]] @ each[chosen]
            for name, each in self.by_product.items()
        }
        return Found(counts, int(n), len(chosen), n_incomplete=0, n_unknown=0)

    def design(self, fraction: float) -> Design:
        return allocated(np.bincount(self.strata, minlength=len(STRATA)), fraction)

    def counts(self, design: Design, seed: int) -> dict[str, list[Array]]:
        """What Spark counts: by stratum and group."""
        random = np.random.default_rng(seed)
        found: dict[str, list[Array]] = {name: [] for name in N_BINS}
        for stratum, n_groups in enumerate(design.n_groups):
            members = random.permutation(np.flatnonzero(self.strata == stratum))
            for name, each in self.by_product.items():
                sums = np.zeros((n_groups, N_BINS[name]))
                np.add.at(sums, np.arange(len(members)) % n_groups, each[members])
                found[name].append(sums)
        return found

    def true_sample(self, design: Design, random: np.random.Generator) -> Ints:
        return np.concatenate(
            [
                random.permutation(np.flatnonzero(self.strata == stratum))[:n]
                for stratum, n in enumerate(design.n_chosen)
            ]
        )


@pytest.fixture(scope="module")
def whole() -> Whole:
    random = np.random.default_rng(3)
    n_products = 4000
    sizes = np.minimum(np.ceil(random.pareto(0.9, n_products)), 2000).astype(int)
    by_product = {name: np.zeros((n_products, n)) for name, n in N_BINS.items()}
    for product, size in enumerate(sizes):
        taste = random.dirichlet([0.2, 0.1, 0.2, 0.5, 1.5])
        by_product[RATING][product] = random.multinomial(size, taste)
        lengths = random.lognormal(random.normal(5, 0.7), 1, size)
        years = np.minimum(30 + random.poisson(random.uniform(2, 15), size), 59)
        active = random.zipf(2.0, size)
        for name, bins in {
            LENGTH: np.minimum(bin_of(lengths), 59),
            YEAR: years,
            PER_USER: np.minimum(bin_of(active), 39),
        }.items():
            by_product[name][product] = np.bincount(bins, minlength=N_BINS[name])
    each = np.arange(n_products)
    by_product[PER_PRODUCT][each, bin_of(sizes)] = 1
    means = by_product[RATING] @ np.arange(5) / sizes
    by_product[PRODUCT_RATING][each, np.rint(4 * means).astype(int)] = 1
    strata = np.searchsorted(STRATA, sizes, side="right") - 1
    return Whole(strata, by_product)


def test_true_samples_pass_at_the_stated_rate(whole: Whole) -> None:
    design = whole.design(0.1)
    random = np.random.default_rng(11)
    counts = whole.counts(design, seed=1)
    others = replicates(counts, design, 1999, seed=2)
    shares = {name: shares_of(each.sum(axis=0)) for name, each in whole.by_product.items()}
    passed, naive = [], []
    for _ in range(400):
        found = whole.drawn(whole.true_sample(design, random), design.weights)
        sample = {name: shares_of(each) for name, each in found.counts.items()}
        checks, _ = proof._checks(sample, shares, others, found.n_reviews, level=0.05)
        passed.append(all(check.passed for check in checks))
        naive += [c.naive_p_value for c in checks if c.naive_p_value is not None]
    assert 0.915 <= np.mean(passed) <= 0.985  # 0.95, and three times what 400 samples let it vary
    # Reviews of one product are alike: a test that forgets it turns true samples away.
    assert len(naive) == 400
    assert np.mean(np.array(naive) > 0.05) < 0.5


def _well_rated(whole: Whole, random: np.random.Generator) -> Array:
    means = whole.by_product[RATING] @ np.arange(1, 6) / whole.by_product[RATING].sum(axis=1)
    return means + random.normal(0, 0.3, len(means))


def _long_ago(whole: Whole, random: np.random.Generator) -> Array:
    del random
    return -(whole.by_product[YEAR] @ np.arange(60)) / whole.by_product[YEAR].sum(axis=1)


def _long_texts(whole: Whole, random: np.random.Generator) -> Array:
    means = whole.by_product[LENGTH] @ np.arange(60) / whole.by_product[LENGTH].sum(axis=1)
    return means + random.normal(0, 5, len(means))


@pytest.mark.parametrize(
    ("preferred", "variable"),
    [(_well_rated, RATING), (_long_ago, YEAR), (_long_texts, LENGTH)],
)
def test_a_biased_sample_fails(
    whole: Whole, preferred: Callable[[Whole, np.random.Generator], Array], variable: str
) -> None:
    design = whole.design(0.1)
    order = np.argsort(-preferred(whole, np.random.default_rng(5)))
    chosen = np.concatenate(
        [order[whole.strata[order] == stratum][:n] for stratum, n in enumerate(design.n_chosen)]
    )
    found = whole.drawn(chosen, design.weights)
    report = compare(found, whole.counts(design, 1), design, names=STRATUM_NAMES)
    assert report.verdict == "not faithful"
    assert variable in {check.variable for check in report.checks if not check.passed}
    assert report.p_value < 0.05


def test_a_sample_of_popular_products_fails(whole: Whole) -> None:
    n_products = len(whole.strata)
    everything = whole._replace(strata=np.zeros(n_products, np.int64))
    design = Design(np.array([n_products]), np.array([400]))
    popular = np.argsort(-whole.by_product[RATING].sum(axis=1))[:400]
    found = everything.drawn(popular, design.weights)
    report = compare(found, everything.counts(design, 1), design, names=["all"])
    assert report.verdict == "not faithful"
    assert PER_PRODUCT in {check.variable for check in report.checks if not check.passed}


def test_a_handful_of_products_is_too_small_to_tell(whole: Whole) -> None:
    design = whole.design(0.001)
    chosen = whole.true_sample(design, np.random.default_rng(2))
    found = whole.drawn(chosen, design.weights)
    report = compare(found, whole.counts(design, 1), design, names=STRATUM_NAMES)
    assert report.verdict == "too small"
    assert "larger fraction" in report.sentence


def test_the_whole_is_faithful_to_itself(whole: Whole) -> None:
    design = whole.design(1.0)
    found = whole.drawn(np.arange(len(whole.strata)), design.weights)
    report = compare(found, whole.counts(design, 1), design, names=STRATUM_NAMES)
    assert report.verdict == "faithful"
    assert all(check.value in (0, 1) for check in report.checks)


@pytest.mark.parametrize("what", ["n_incomplete", "n_unknown"])
def test_a_sample_with_torn_or_foreign_products_fails(whole: Whole, what: str) -> None:
    design = whole.design(0.3)
    chosen = whole.true_sample(design, np.random.default_rng(2))
    found = whole.drawn(chosen, design.weights)._replace(**{what: 1})
    report = compare(found, whole.counts(design, 1), design, names=STRATUM_NAMES)
    assert report.verdict == "not faithful"


def test_each_stratum_gives_its_share_and_at_least_one() -> None:
    design = allocated(np.array([1000, 300, 4, 0]), 0.01)
    assert design.n_chosen.tolist() == [10, 3, 1, 0]
    assert design.weights.tolist() == [100, 100, 4, 0]


@pytest.mark.parametrize("fraction", [0.0003, 0.01, 0.0123, 0.3, 0.77, 1.0])
@pytest.mark.parametrize("n_products", [1, 37, 1000, 1001, 250_000, 15_000_000])
def test_groups_make_up_samples_of_the_right_size(n_products: int, fraction: float) -> None:
    design = allocated(np.array([n_products]), fraction)
    drawn = design.n_groups_chosen[0] * n_products / design.n_groups[0]
    assert abs(drawn - design.n_chosen[0]) <= max(0.01 * design.n_chosen[0], 1)
    assert design.n_groups[0] <= 10_000


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.01, 1e-6, float("nan")])
def test_a_fraction_that_is_none_is_named(fraction: float) -> None:
    with pytest.raises(InputError, match=r"expected 0\.0001 to 1"):
        allocated(np.array([10]), fraction)


def test_distances_are_those_of_the_textbook() -> None:
    whole = np.array([0.5, 0.3, 0.2])
    shares = np.array([0.3, 0.3, 0.4])
    assert total_variation(shares, whole) == pytest.approx(0.2)
    assert kolmogorov_smirnov(shares, whole) == pytest.approx(0.2)
    assert kolmogorov_smirnov(np.array([0.4, 0.4, 0.2]), whole) == pytest.approx(0.1)


def test_bins_are_even_on_a_logarithmic_scale() -> None:
    assert bin_of(np.array([0, 1, 2, 3, 4, 1024])).tolist() == [0, 1, 5, 7, 9, 41]
    labels = labels_of(LENGTH, 42)
    assert [labels[each] for each in (0, 1, 5, 7, 9, 41)] == ["0", "1", "2", "3", "4", "1024"]
