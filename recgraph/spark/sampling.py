"""Reviews -> a sample of whole products, and what a sample and the whole hold, counted by groups.

What comes to the driver are counts by stratum, group and bin; reviews and products stay in Spark.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.proof import Found
from recgraph.reviews import HIGHEST, LOWEST
from recgraph.sampling import (
    FIRST_YEAR,
    LENGTH,
    NUDGE,
    PER_PRODUCT,
    PER_USER,
    PRODUCT_RATING,
    RATING,
    STEPS,
    STRATA,
    VARIABLES,
    YEAR,
    Array,
    Counts,
    Design,
    Ints,
)
from recgraph.spark.scratch import materialize

_VARIABLE, _BIN, _N, _N_OF_USER, _N_HERE = "variable", "bin", "n", "n_of_user", "n_here"
NEEDED = (C.USER_ID, C.ITEM_ID, C.RATING, C.TEXT, C.REVIEWED_AT)
"""Columns of a review that a proof looks at."""


class Sampled(NamedTuple):
    """A sample as it lies in a file, beside the whole."""

    found: Found
    counts: Counts
    design: Design


def is_incomplete() -> Column:
    """Whether a row of a sample lacks what every review has, as `recgraph.reviews` lets it in."""
    must = (C.USER_ID, C.ITEM_ID, C.RATING, C.REVIEWED_AT)
    lacks = reduce(lambda one, other: one | other, (F.col(name).isNull() for name in must))
    return lacks | ~F.col(C.RATING).between(LOWEST, HIGHEST)


def products_of(reviews: DataFrame, *, is_stratified: bool = True) -> DataFrame:
    """The products: item_id, n_reviews, mean_rating, stratum (from 0; all 0 without strata)."""
    products = reviews.groupBy(C.ITEM_ID).agg(
        F.count("*").alias(C.N_REVIEWS), F.avg(C.RATING).alias(C.MEAN_RATING)
    )
    stratum = reduce(
        lambda found, least: found + (F.col(C.N_REVIEWS) >= least).cast("int"),
        STRATA[1:],
        F.lit(0),
    )
    return products.withColumn(C.STRATUM, stratum if is_stratified else F.lit(0))


def products_by_stratum(products: DataFrame, n_strata: int = len(STRATA)) -> Ints:
    """How many products each stratum has, ``(n_strata,)``."""
    rows = products.groupBy(C.STRATUM).count().collect()
    sizes = np.zeros(n_strata, np.int64)
    for row in rows:
        sizes[row[C.STRATUM]] = row["count"]
    return sizes


def sample_of(reviews: DataFrame, products: DataFrame, design: Design, seed: int) -> DataFrame:
    """All reviews of the chosen products, with ``weight``: so many of the whole each stands for.

    Chosen are those of each stratum whose hash is smallest: the same ones for the same seed,
    wherever it runs and however the table is laid out.
    """
    order = Window.partitionBy(C.STRATUM).orderBy(F.xxhash64(F.lit(seed), C.ITEM_ID), C.ITEM_ID)
    chosen = products.withColumn(C.RANK, F.row_number().over(order)).where(
        F.col(C.RANK) <= _by_stratum(design.n_chosen)
    )
    weighed = chosen.select(C.ITEM_ID, _by_stratum(design.weights).alias(C.WEIGHT))
    return reviews.join(weighed, C.ITEM_ID)


def design_of(sample: DataFrame, products: DataFrame) -> Design:
    """How many products of each stratum a sample has."""
    n_strata = len(STRATA)
    chosen = products.join(sample.select(C.ITEM_ID).distinct(), C.ITEM_ID, "left_semi")
    return Design(products_by_stratum(products, n_strata), products_by_stratum(chosen, n_strata))


def counted(
    reviews: DataFrame, products: DataFrame, sample: DataFrame, design: Design, seed: int
) -> Sampled:
    """What the whole and a sample hold, by bins.

    Parameters
    ----------
    sample
        Rows with the columns `NEEDED`; ``weight`` counts where it is there.
    seed
        Of the groups that the whole is dealt into.
    """
    users = materialize(reviews.groupBy(C.USER_ID).agg(F.count("*").alias(_N_OF_USER)))
    dealt = materialize(_dealt(products, design, seed))
    keys = (C.STRATUM, C.GROUP)
    whole = _binned(reviews.join(dealt, C.ITEM_ID), users, keys).collect()
    whole += _binned_products(dealt, keys).collect()
    found, rows = _found(sample, products, users)
    n_bins, n_here = _n_bins(whole), _n_bins(rows)
    counts = {name: _by_group(whole, name, n_bins[name], design.n_groups) for name in VARIABLES}
    sums = {name: _sums(rows, name, max(n_bins[name], n_here.get(name, 0))) for name in VARIABLES}
    return Sampled(found._replace(counts=sums), counts, design)


def _dealt(products: DataFrame, design: Design, seed: int) -> DataFrame:
    """The products with ``group``: those of a stratum dealt out like cards."""
    order = Window.partitionBy(C.STRATUM).orderBy(
        F.xxhash64(F.lit("groups"), F.lit(seed), C.ITEM_ID), C.ITEM_ID
    )
    place = F.row_number().over(order)
    return products.withColumn(C.GROUP, (place % _by_stratum(design.n_groups)).cast("int"))


def _found(sample: DataFrame, products: DataFrame, users: DataFrame) -> tuple[Found, list[Row]]:
    """What is known of a sample without its counts, and the rows of these."""
    weight = F.col(C.WEIGHT) if C.WEIGHT in sample.columns else F.lit(1.0)
    sample = sample.select(*NEEDED, weight.alias(C.WEIGHT))
    theirs = sample.groupBy(C.ITEM_ID, C.WEIGHT).agg(
        F.count("*").alias(_N_HERE), F.avg(C.RATING).alias(C.MEAN_RATING)
    )
    whole = products.select(C.ITEM_ID, C.N_REVIEWS)
    theirs = materialize(theirs.join(whole, C.ITEM_ID, "left"))
    is_unknown = F.col(C.N_REVIEWS).isNull()
    sums = theirs.agg(
        F.coalesce(F.sum(_N_HERE), F.lit(0)).alias("n_reviews"),
        F.count("*").alias("n_products"),
        F.count_if(is_unknown).alias("n_unknown"),
        F.count_if(F.col(_N_HERE) != F.col(C.N_REVIEWS)).alias("n_incomplete"),
    ).first()
    assert sums is not None  # an aggregate without keys has one row
    rows = _binned(sample, users, (), F.sum(C.WEIGHT)).collect()
    # A product counts as large as the sample has it: torn ones are found by that.
    here = theirs.withColumn(C.N_REVIEWS, F.col(_N_HERE))
    rows += _binned_products(here, (), F.sum(C.WEIGHT)).collect()
    return Found(counts={}, **sums.asDict()), rows


def _binned(
    reviews: DataFrame, users: DataFrame, keys: Sequence[str], count: Column | None = None
) -> DataFrame:
    """The keys, ``variable``, ``bin``, and ``n``: how many reviews, or the sum of weights."""
    bins = {
        RATING: F.round(C.RATING).cast("int") - 1,
        LENGTH: _log_bin(F.length(F.coalesce(C.TEXT, F.lit("")))),
        YEAR: F.year(C.REVIEWED_AT) - FIRST_YEAR,
        PER_USER: _log_bin(F.coalesce(_N_OF_USER, F.lit(0))),
    }
    joined = reviews.join(users, C.USER_ID, "left")
    return _counts_of(joined, bins, keys, count)


def _binned_products(
    products: DataFrame, keys: Sequence[str], count: Column | None = None
) -> DataFrame:
    """The same of products: by how many reviews they have, and by their mean rating."""
    bins = {
        PER_PRODUCT: _log_bin(F.col(C.N_REVIEWS)),
        PRODUCT_RATING: F.round(STEPS * (F.col(C.MEAN_RATING) - 1)).cast("int"),
    }
    return _counts_of(products, bins, keys, count)


def _counts_of(
    rows: DataFrame, bins: Mapping[str, Column], keys: Sequence[str], count: Column | None
) -> DataFrame:
    """The rows of each bin of each variable, counted or weighed."""
    each = F.array(
        *(F.struct(F.lit(name).alias(_VARIABLE), bin.alias(_BIN)) for name, bin in bins.items())
    )
    weight = [C.WEIGHT] if C.WEIGHT in rows.columns else []
    exploded = rows.select(*keys, *weight, F.explode(each).alias("each"))
    return exploded.groupBy(*keys, f"each.{_VARIABLE}", f"each.{_BIN}").agg(
        (F.count("*") if count is None else count).alias(_N)
    )


def _log_bin(number: Column) -> Column:
    """As `recgraph.sampling.bin_of`."""
    bins = 1 + F.floor(STEPS * F.log2(number.cast("double")) + NUDGE)
    return F.when(number < 1, 0).otherwise(bins).cast("int")


def _by_stratum(values: Ints | Array) -> Column:
    """The value of a row's stratum."""
    return F.element_at(F.array(*map(F.lit, values.tolist())), F.col(C.STRATUM) + 1)


def _n_bins(rows: Sequence[Row]) -> Mapping[str, int]:
    """Variable -> bins up to the last one that something is in."""
    last: dict[str, int] = {}
    for row in rows:
        last[row[_VARIABLE]] = max(last.get(row[_VARIABLE], 0), row[_BIN] + 1)
    return last


def _by_group(rows: Sequence[Row], variable: str, n_bins: int, n_groups: Ints) -> list[Array]:
    found = [np.zeros((n, n_bins)) for n in n_groups.tolist()]
    for row in rows:
        if row[_VARIABLE] == variable:
            found[row[C.STRATUM]][row[C.GROUP], row[_BIN]] = row[_N]
    return found


def _sums(rows: Sequence[Row], variable: str, n_bins: int) -> Array:
    found = np.zeros(n_bins)
    for row in rows:
        if row[_VARIABLE] == variable:
            found[row[_BIN]] = row[_N]
    return found
