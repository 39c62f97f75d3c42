"""The job of sampling reviews: the table of reviews -> a Parquet file, and proof that it is true.

The proof reads the file that was written, as it would read one that was made elsewhere.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset as pads
from pyspark.sql import DataFrame, SparkSession

from recgraph import proof, sampling
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.jobs.source import read_reviews, require_reviews
from recgraph.proof import Report
from recgraph.sampling import STRATUM_NAMES
from recgraph.spark import reviews as spark_reviews
from recgraph.spark import sampling as spark_sampling
from recgraph.spark.scratch import materialize
from recgraph.stages import Stages


class Wanted(NamedTuple):
    """Which sample."""

    fraction: float | None
    """Share of the products of each stratum."""
    n_reviews: int | None
    """Reviews, about; in place of the fraction."""
    seed: int


def check_arguments(
    settings: Settings, wanted: Wanted, *, output: Path | None = None, check: Path | None = None
) -> None:
    """Return if a sample can be made, or proved; asked before Spark is started for nothing.

    Raises
    ------
    InputError
        The fraction cannot be used, the output is there already, or the file to be checked has no
        reviews.
    NoInteractionsError
        There are no reviews.
    """
    require_reviews(settings)
    if wanted.fraction is not None:
        sampling.check_fraction(wanted.fraction)
    if output is not None and output.exists():
        message = f"{output} is there already. Remove it, or name another --output."
        raise InputError(message)
    if check is not None:
        _check_sample(check)


def sample(
    spark: SparkSession, settings: Settings, wanted: Wanted, output: Path, stages: Stages
) -> None:
    """Write a sample of whole products, stratum by stratum."""
    with stages("sample", "choosing products"):
        reviews = read_reviews(spark, settings)
        products = materialize(spark_sampling.products_of(reviews))
        sizes = spark_sampling.products_by_stratum(products)
        design = sampling.allocated(sizes, _fraction(products, wanted))
        chosen = spark_sampling.sample_of(
            reviews.select(*spark_reviews.REVIEW_SCHEMA.names), products, design, wanted.seed
        )
    with stages("write", f"writing {output}"):
        unfinished = output.with_name(f".{output.name}.{datetime.now(UTC):%H%M%S%f}")
        try:
            chosen.write.parquet(str(unfinished.absolute()))
            unfinished.replace(output)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def prove(
    spark: SparkSession,
    settings: Settings,
    path: Path,
    stages: Stages,
    *,
    seed: int,
    tolerance: float,
) -> Report:
    """Compare the sample in a file with the table of reviews.

    Raises
    ------
    InputError
        The file has no product of the table, or too few of them, or rows that are no reviews.
    """
    with stages("compare", "comparing the sample with the whole"):
        reviews = read_reviews(spark, settings)
        here = spark.read.parquet(str(path.absolute()))
        _check_complete(here, path)
        is_stratified = C.WEIGHT in here.columns
        products = materialize(spark_sampling.products_of(reviews, is_stratified=is_stratified))
        design = spark_sampling.design_of(here, products)
        if not design.n_chosen.sum():
            message = f"{path} has no product of {settings.reviews_dir}: nothing to compare."
            raise InputError(message)
        sampling.check_fraction(design.n_chosen.sum() / design.n_products.sum())
        sampled = spark_sampling.counted(reviews, products, here, design, seed)
    with stages("prove", f"drawing {proof.N_REPLICATES} other samples"):
        names = STRATUM_NAMES if is_stratified else ("all products", *STRATUM_NAMES[1:])
        return proof.compare(*sampled, names=names, seed=seed, tolerance=tolerance)


def _check_complete(here: DataFrame, path: Path) -> None:
    bad = here.where(spark_sampling.is_incomplete()).count()
    if bad:
        message = (
            f"{path} has {bad:,} rows without an id, a time or a rating from 1 to 5; expected "
            "reviews as `recgraph reviews sample --output` writes them. Leave those rows out."
        )
        raise InputError(message)


def _fraction(products: DataFrame, wanted: Wanted) -> float:
    if wanted.fraction is not None:
        return wanted.fraction
    total = int(products.groupBy().sum(C.N_REVIEWS).collect()[0][0])
    return min((wanted.n_reviews or total) / max(total, 1), 1.0)


def _check_sample(path: Path) -> None:
    if not path.exists():
        message = f"there is no file {path}. Expected reviews as Parquet."
        raise InputError(message)
    try:
        found = pads.dataset(path, format="parquet").schema.names
    except (pa.ArrowInvalid, OSError) as error:
        message = f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}"
        raise InputError(message) from None
    if missing := [name for name in spark_sampling.NEEDED if name not in found]:
        message = (
            f"{path} has no column {', '.join(missing)}; expected reviews with "
            f"{', '.join(spark_sampling.NEEDED)}."
        )
        raise InputError(message)
