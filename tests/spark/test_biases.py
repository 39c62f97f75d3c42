"""Mean, biases and residuals by Spark are those of NumPy, however the ratings are parted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from scipy import sparse

from recgraph import biases, lines, reviews
from recgraph.config import Settings
from recgraph.spark.biases import Rest, take_biases
from tests.benchmarks.reviews_data import ratings_of, users_and_items
from tests.review_files import FASHION, GIFT_CARDS, need_amazon

DAMPING = 5.0


def indexed(
    users: Sequence[object], items: Sequence[object], ratings: Sequence[float]
) -> pd.DataFrame:
    """The last rating of each pair, by dense indices."""
    table = pd.DataFrame({"user": users, "item": items, "rating": np.asarray(ratings, np.float32)})
    table = table.drop_duplicates(["user", "item"], keep="last")
    codes = {
        f"{side}_index": pd.factorize(table[side])[0].astype(np.int32) for side in ("user", "item")
    }
    return pd.DataFrame({**codes, "rating": table["rating"].to_numpy()})


def generated(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    users, items = users_and_items(rng, n, n)
    return indexed(users, items, ratings_of(rng, users, items))


def of_file(path: Path, settings: Settings) -> pd.DataFrame:
    need_amazon()
    rules = reviews.rules_from_settings(settings)
    found = [
        reviews.parse_review(line, rules, now=pd.Timestamp.now("UTC").to_pydatetime())
        for block in lines.read_blocks(path, block_bytes=2**24)
        for line in lines.split_lines(block.data)
    ]
    each = [row for row in found if isinstance(row, reviews.Review)]
    return indexed(
        *([getattr(row, name) for row in each] for name in ("user_id", "item_id", "rating"))
    )


def by_spark(frame: DataFrame, ratings: pd.DataFrame) -> Rest:
    return take_biases(frame, int(ratings["item_index"].max()) + 1, damping=DAMPING)


def sorted_rows(frame: DataFrame) -> pd.DataFrame:
    return frame.toPandas().sort_values(frame.columns).reset_index(drop=True)


def check(spark: SparkSession, ratings: pd.DataFrame) -> None:
    values, places = ratings["rating"], (ratings["user_index"], ratings["item_index"])
    matrix = sparse.csr_matrix((values, places))
    expected = biases.fit_biases(matrix, damping=DAMPING)
    found = by_spark(spark.createDataFrame(pa.Table.from_pandas(ratings)).repartition(3), ratings)
    np.testing.assert_allclose(found.item_biases, expected.items, atol=1e-5)
    bases = sorted_rows(found.user_bases)
    assert bases["index"].tolist() == list(range(matrix.shape[0]))
    np.testing.assert_allclose(bases["user_base"], expected.mean + expected.users, atol=1e-5)
    left = sorted_rows(found.residuals)
    rest = biases.residuals(matrix, expected).tocoo()
    assert len(left) == rest.nnz
    found_rest = sparse.csr_matrix((left["rating"], (left["user_index"], left["item_index"])))
    assert abs(found_rest - rest.tocsr()).max() < 1e-5


def test_biases_of_generated_reviews_are_those_of_numpy(spark: SparkSession) -> None:
    check(spark, generated(20_000))


@pytest.mark.parametrize("path", [FASHION, GIFT_CARDS], ids=lambda path: path.name)
def test_biases_of_amazon_files_are_those_of_numpy(
    spark: SparkSession, settings: Settings, path: Path
) -> None:
    check(spark, of_file(path, settings))


def test_the_same_ratings_give_the_same_residuals_however_they_are_parted(
    spark: SparkSession,
) -> None:
    ratings = generated(2_000)
    frame = spark.createDataFrame(pa.Table.from_pandas(ratings))
    n_items = int(ratings["item_index"].max()) + 1
    one, other = (
        take_biases(frame.repartition(n), n_items, damping=DAMPING, n_iterations=2) for n in (1, 5)
    )
    np.testing.assert_array_equal(one.item_biases, other.item_biases)
    pd.testing.assert_frame_equal(sorted_rows(one.residuals), sorted_rows(other.residuals))
