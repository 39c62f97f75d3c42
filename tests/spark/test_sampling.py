"""A sample has whole products, the same ones for the same seed; a biased file is found out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recgraph import proof, sampling
from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.jobs import sampling as job
from recgraph.proof import Report
from recgraph.sampling import STRATUM_NAMES, Ints, bin_of
from recgraph.spark import reviews as spark_reviews
from recgraph.spark import sampling as spark_sampling
from recgraph.stages import Stages

SEED = 7


def review_table(n_products: int = 2500) -> pa.Table:
    """Products with a long tail of reviews, each with a rating and a year of its own."""
    random = np.random.default_rng(SEED)
    sizes = np.minimum(np.ceil(random.pareto(1.0, n_products)), 300).astype(int)
    item = np.repeat(np.arange(n_products), sizes)
    n = len(item)
    stars = random.choice([1.0, 3.0, 5.0, 5.0], n_products)[item]
    own = random.integers(1, 6, n).astype(float)
    days = random.integers(0, 700, n_products)[item] + random.integers(0, 3000, n)
    start = datetime(2008, 1, 1, tzinfo=UTC)
    columns = {
        "review_id": [f"r{each}" for each in range(n)],
        "user_id": [f"u{each}" for each in random.zipf(1.5, n) % 4000],
        "item_id": [f"i{each}" for each in item],
        "rating": np.where(random.random(n) < 0.5, stars, own),
        "title": ["a title"] * n,
        "text": ["x" * int(each) for each in random.lognormal(3, 1, n)],
        "reviewed_at": [start + timedelta(days=int(each)) for each in days],
        "helpful_votes": [0] * n,
        "verified": [True] * n,
        "variant": pa.nulls(n, pa.string()),
        "source_format": ["2018"] * n,
        "file_id": ["f"] * n,
        "file": ["f"] * n,
        "line": np.arange(1, n + 1),
        "loaded_at": [start] * n,
    }
    return pa.table(columns)


@pytest.fixture(scope="module")
def whole(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data whose table of reviews is this one."""
    folder = tmp_path_factory.mktemp("whole")
    tables = spark_reviews.tables_in(folder / "reviews")
    spark_reviews.create_table(spark, tables)
    pq.write_table(review_table(), folder / "all.parquet", coerce_timestamps="us")
    rows = spark.read.parquet(str(folder / "all.parquet"))
    rows.write.format("delta").mode("append").save(str(tables.lines))
    return folder


@pytest.fixture
def here(settings: Settings, whole: Path) -> Settings:
    return settings.model_copy(update={"data_dir": whole})


def prove(spark: SparkSession, here: Settings, path: Path) -> Report:
    return job.prove(spark, here, path, Stages(), seed=0, tolerance=0.2)


def test_a_sample_has_whole_products_and_is_faithful(
    spark: SparkSession, here: Settings, tmp_path: Path
) -> None:
    output = tmp_path / "sample.parquet"
    job.sample(spark, here, job.Wanted(0.3, None, SEED), output, Stages())
    table = pq.read_table(output)
    everything = review_table().to_pandas()
    sizes = everything.groupby("item_id").size()
    taken = table.to_pandas().groupby("item_id").size()
    assert (sizes[taken.index] == taken).all()
    found = prove(spark, here, output)
    assert found.verdict == "faithful"
    assert found.n_sample_reviews == len(table)
    for each in found.strata:
        assert each.n_chosen == max(round(0.3 * each.n_products), 1)
        assert each.weight == pytest.approx(each.n_products / each.n_chosen)
    (rating,) = (each for each in found.distributions if each.variable == "rating")
    shares = everything["rating"].value_counts(normalize=True).sort_index()
    assert rating.whole == pytest.approx(shares.tolist())

    # the same seed, the same products, however the table is laid out
    reviews = spark.read.parquet(str(here.data_dir / "all.parquet")).repartition(7)
    products = spark_sampling.products_of(reviews)
    design = sampling.allocated(spark_sampling.products_by_stratum(products), 0.3)
    again = spark_sampling.sample_of(reviews, products, design, SEED)
    ids = {row[0] for row in again.select("review_id").collect()}
    assert ids == set(table.column("review_id").to_pylist())


def test_a_biased_file_is_not_faithful(spark: SparkSession, here: Settings, tmp_path: Path) -> None:
    table = review_table().to_pandas()
    means = table.groupby("item_id")["rating"].mean()
    random = np.random.default_rng(1)
    liked = means.index[random.random(len(means)) < 0.1 + 0.15 * (means - 1)]
    path = tmp_path / "biased.parquet"
    table[table["item_id"].isin(liked)].to_parquet(path)
    found = prove(spark, here, path)
    assert found.verdict == "not faithful"
    assert "product_rating" in {check.variable for check in found.checks if not check.passed}

    torn = table[random.random(len(table)) < 0.5]
    torn.to_parquet(tmp_path / "torn.parquet")
    found = prove(spark, here, tmp_path / "torn.parquet")
    assert found.verdict == "not faithful"
    assert not found.checks[-1].passed


def test_rows_that_are_no_reviews_are_counted(
    spark: SparkSession, here: Settings, tmp_path: Path
) -> None:
    table = review_table().to_pandas()
    table.loc[:2, "rating"] = None
    table.loc[3, "rating"] = 9.0
    table.to_parquet(tmp_path / "holes.parquet")
    with pytest.raises(InputError, match="has 4 rows without an id, a time or a rating"):
        prove(spark, here, tmp_path / "holes.parquet")


def test_counts_by_group_are_the_whole(spark: SparkSession, here: Settings) -> None:
    reviews = spark_reviews.read_reviews(spark, spark_reviews.tables_in(here.reviews_dir))
    products = spark_sampling.products_of(reviews)
    sizes = spark_sampling.products_by_stratum(products)
    design = sampling.allocated(sizes, 0.1)
    sample = spark_sampling.sample_of(reviews, products, design, SEED)
    found = spark_sampling.counted(reviews, products, sample, design, seed=1)
    for name, strata in found.counts.items():
        is_of_products = name in (sampling.PER_PRODUCT, sampling.PRODUCT_RATING)
        n_things = sizes.sum() if is_of_products else reviews.count()
        assert sum(each.sum() for each in strata) == n_things
        assert [len(each) for each in strata] == design.n_groups.tolist()
    # Reviews of one product are in one group: with a group for each product it is told apart.
    table = review_table().to_pandas()
    of_stratum = table.groupby("item_id").size().loc[lambda n: (n >= 10) & (n < 100)]
    groups = found.counts[sampling.RATING][2].sum(axis=1)
    assert sorted(groups.tolist()) == sorted(of_stratum.tolist())
    assert proof.compare(*found, names=STRATUM_NAMES).n_reviews == len(table)


def test_bins_are_those_of_the_core(spark: SparkSession) -> None:
    numbers = [*range(300), *(2**power + step for power in range(9, 31) for step in (-1, 0, 1))]
    frame = spark.createDataFrame([(each,) for each in numbers], "n long")
    rows = frame.select(spark_sampling._log_bin(F.col("n"))).collect()
    expected: Ints = bin_of(np.array(numbers))
    assert [row[0] for row in rows] == expected.tolist()


def test_what_cannot_be_proved_is_named(here: Settings, tmp_path: Path) -> None:
    other = tmp_path / "no reviews.parquet"
    pq.write_table(pa.table({"id": [1]}), other)
    text = tmp_path / "text.parquet"
    text.write_text("a,b\n1,2\n")
    wanted = job.Wanted(0.1, None, 0)
    for path, said in {
        other: "has no column user_id",
        tmp_path / "nothing.parquet": "there is no file",
        text: "cannot be read as Parquet",
    }.items():
        with pytest.raises(InputError, match=said):
            job.check_arguments(here, wanted, check=path)
    with pytest.raises(InputError, match="is there already"):
        job.check_arguments(here, wanted, output=text)
