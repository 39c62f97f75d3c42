"""Counts of a sample of products, and of the whole -> how they differ, and whether by chance alone.

The reviews of one product are alike, so reviews are no independent draws: a test that takes them
for such rejects true samples. So what separates a sample from the whole is compared with what
separates other samples of the same design from it (`recgraph.sampling.replicates`): no form of any
distribution goes into that.

References
----------
Westfall and Young (1993), Resampling-based multiple testing: the smallest of several p-values as
one statistic.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from scipy import stats

from recgraph.sampling import (
    LENGTH,
    PER_PRODUCT,
    PER_USER,
    PRODUCT_RATING,
    RATING,
    YEAR,
    Array,
    Counts,
    Design,
    labels_of,
    replicates,
    shares_of,
)

Verdict = Literal["faithful", "not faithful", "too small"]

LEVEL = 0.01
"""Of the true samples so many fail, as a share, all checks together."""
TOLERANCE = 0.1
"""A sample that may be further off than this by chance is too small to be called faithful."""
N_REPLICATES = 1999
"""Other samples that are drawn."""


class Check(msgspec.Struct, frozen=True):
    """One way in which the sample might differ from the whole."""

    variable: str
    statistic: Literal["total variation", "chi-square", "Kolmogorov-Smirnov", "share complete"]
    value: float
    bound: float
    """The largest (of *share complete* the least) value that passes."""
    p_value: float | None
    """Share of true samples that are as far off in this alone."""
    passed: bool
    naive_p_value: float | None = None
    """What a test says that takes reviews for independent: shown because it is wrong."""


class Distribution(msgspec.Struct, frozen=True):
    """The shares of one variable; lists ``(n_bins,)``."""

    variable: str
    labels: list[str]
    whole: list[float]
    sample: list[float]
    low: list[float]
    """2.5 % of the true samples are below."""
    high: list[float]
    """2.5 % of the true samples are above."""


class Stratum(msgspec.Struct, frozen=True):
    """The products with so many reviews."""

    name: str
    n_products: int
    n_chosen: int
    weight: float
    """Products of the whole that one of the sample stands for."""


class Report(msgspec.Struct, frozen=True):
    """What a comparison of a sample with the whole found."""

    verdict: Verdict
    sentence: str
    n_reviews: int
    n_sample_reviews: int
    n_unknown_products: int
    """Products of the sample that the whole does not have."""
    p_value: float
    """Share of true samples whose worst check is as bad; below the level, it fails."""
    level: float
    tolerance: float
    n_replicates: int
    checks: list[Check]
    distributions: list[Distribution]
    strata: list[Stratum]


class Found(NamedTuple):
    """What a sample holds, as far as it takes no counts of the whole."""

    counts: Mapping[str, Array]
    """Variable -> weighed counts ``(n_bins,)``."""
    n_reviews: int
    n_products: int
    n_incomplete: int
    """Products with more or fewer reviews than in the whole."""
    n_unknown: int


def total_variation(shares: Array, whole: Array) -> Array:
    """Half the sum of the differences, 0 to 1: so large a share would have to be moved."""
    return np.asarray(np.abs(shares - whole).sum(axis=-1) / 2)


def kolmogorov_smirnov(shares: Array, whole: Array) -> Array:
    """The largest difference between the shares of all that is at most so large, 0 to 1."""
    return np.asarray(np.abs((shares - whole).cumsum(axis=-1)).max(axis=-1))


def chi_square(shares: Array, whole: Array, n: int) -> Array:
    """Pearson's statistic of ``n`` reviews; bins that the whole leaves empty do not count."""
    kept = whole > 0
    return np.asarray(n * ((shares - whole)[..., kept] ** 2 / whole[kept]).sum(axis=-1))


def compare(
    found: Found,
    counts: Counts,
    design: Design,
    *,
    names: Sequence[str],
    seed: int = 0,
    n_replicates: int = N_REPLICATES,
    tolerance: float = TOLERANCE,
    level: float = LEVEL,
) -> Report:
    """How a sample differs from the whole, beside how true samples do.

    Parameters
    ----------
    counts
        Of the whole, by group.
    names
        Of the strata.
    tolerance
        What may be off by more than this through chance is too small to be called faithful.
    level
        Of the true samples so many fail.
    """
    whole = {name: shares_of(sum(each.sum(axis=0) for each in counts[name])) for name in counts}
    sample = {name: shares_of(_fitted(found.counts[name], whole[name])) for name in counts}
    others = replicates(counts, design, n_replicates, seed)
    checks, p_value = _checks(sample, whole, others, found.n_reviews, level)
    checks.append(_complete(found))
    n_reviews = int(sum(each.sum() for each in counts[RATING]))
    verdict, sentence = _verdict(checks, found, tolerance)
    return Report(
        verdict=verdict,
        sentence=sentence,
        n_reviews=n_reviews,
        n_sample_reviews=found.n_reviews,
        n_unknown_products=found.n_unknown,
        p_value=p_value,
        level=level,
        tolerance=tolerance,
        n_replicates=n_replicates,
        checks=checks,
        distributions=[_distribution(name, whole, sample, others) for name in counts],
        strata=[
            Stratum(name, int(n), int(chosen), float(weight))
            for name, n, chosen, weight in zip(names, *design, design.weights, strict=True)
            if n
        ],
    )


def _fitted(counts: Array, whole: Array) -> Array:
    """Counts with the bins of the whole; what it does not know comes into its last bin."""
    if len(counts) <= len(whole):
        return np.pad(counts, (0, len(whole) - len(counts)))
    return np.append(counts[: len(whole) - 1], counts[len(whole) - 1 :].sum())


def _statistics(shares: Mapping[str, Array], whole: Mapping[str, Array], n: int) -> dict[Any, Any]:
    """(variable, statistic) -> a value, or one for each row of the shares."""
    found: dict[Any, Any] = {
        (RATING, "chi-square"): chi_square(shares[RATING], whole[RATING], n),
    }
    for name in (RATING, YEAR):
        found[name, "total variation"] = total_variation(shares[name], whole[name])
    for name in (LENGTH, PER_USER, PER_PRODUCT, PRODUCT_RATING):
        found[name, "Kolmogorov-Smirnov"] = kolmogorov_smirnov(shares[name], whole[name])
    return found


def _checks(
    sample: Mapping[str, Array],
    whole: Mapping[str, Array],
    others: Mapping[str, Array],
    n_reviews: int,
    level: float,
) -> tuple[list[Check], float]:
    """All checks, and the p-value of them together.

    The smallest p-value of all checks is itself compared with that of the true samples: so the
    level holds for all together, however they hang together.
    """
    values = _statistics(sample, whole, n_reviews)
    theirs = _statistics(others, whole, n_reviews)
    table = np.array([np.append(values[each], theirs[each]) for each in values]).round(12)
    # How many of a row are at least as large as each, itself included: p-values, exact by design.
    p_values = stats.rankdata(-table, method="max", axis=1) / table.shape[1]
    worst = p_values.min(axis=0)
    critical = _critical(worst, level)
    checks = [
        Check(
            variable,
            statistic,
            value=float(row[0]),
            bound=float(row[p > critical].max(initial=0.0)),
            p_value=float(p[0]),
            passed=bool(p[0] > critical),
            naive_p_value=_naive(variable, statistic, float(row[0]), whole),
        )
        for (variable, statistic), row, p in zip(values, table, p_values, strict=True)
    ]
    return checks, float((worst <= worst[0]).mean())


def _critical(worst: Array, level: float) -> float:
    """The largest p-value that at most ``level`` of all samples fall to; 0 where none may fail."""
    ranks = stats.rankdata(worst, method="max")
    return float(worst[ranks <= level * len(worst)].max(initial=0.0))


def _naive(variable: str, statistic: str, value: float, whole: Mapping[str, Array]) -> float | None:
    if statistic != "chi-square":
        return None
    n_bins = np.count_nonzero(whole[variable])
    return float(stats.chi2.sf(value, max(n_bins - 1, 1)))


def _complete(found: Found) -> Check:
    share = 1 - found.n_incomplete / max(found.n_products, 1)
    return Check("reviews of a product", "share complete", share, 1.0, None, passed=share == 1)


def _verdict(checks: Sequence[Check], found: Found, tolerance: float) -> tuple[Verdict, str]:
    failed = [f"{each.variable} ({each.statistic})" for each in checks if not each.passed]
    if found.n_unknown:
        failed.append(f"{found.n_unknown:,} products that the whole does not have")
    if failed:
        return "not faithful", f"Not faithful: {', '.join(failed).replace('_', ' ')}."
    wide = max(
        (each for each in checks if each.statistic in ("total variation", "Kolmogorov-Smirnov")),
        key=lambda each: each.bound,
    )
    if wide.bound > tolerance:
        what = wide.variable.replace("_", " ")
        return "too small", (
            f"Too small to tell: no check failed, but a true sample of this size may be off by "
            f"{wide.bound:.2f} ({what}), more than {tolerance:g}. Take a larger fraction."
        )
    return "faithful", (
        f"Faithful: no check failed, and each would notice what is off by more than "
        f"{wide.bound:.3f}."
    )


def _distribution(
    name: str,
    whole: Mapping[str, Array],
    sample: Mapping[str, Array],
    others: Mapping[str, Array],
) -> Distribution:
    """The bins from the first to the last that something falls into."""
    filled = np.flatnonzero(whole[name] + sample[name])
    kept = slice(filled.min(initial=len(whole[name])), filled.max(initial=-1) + 1)
    low, high = np.percentile(others[name], [2.5, 97.5], axis=0)
    columns = [each[kept].tolist() for each in (whole[name], sample[name], low, high)]
    return Distribution(name, labels_of(name, len(whole[name]))[kept], *columns)
