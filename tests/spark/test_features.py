"""Pipelines that are saved and loaded do the same; what is said of products makes them alike."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pyspark.ml import PipelineModel
from pyspark.sql import DataFrame, SparkSession

from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.items import read_items
from recgraph.jobs import features as job
from recgraph.jobs import pipeline as pipeline_job
from recgraph.jobs import reviews as loading
from recgraph.jobs import training
from recgraph.spark import features, pipeline
from recgraph.spark import reviews as spark_reviews
from recgraph.stages import Stages
from tests.review_files import encoded, line_2018, write_lines

TEXTS = {
    "tea": "A fine green tea, the leaves smell of spring.",
    "more tea": "Green tea whose leaves smell fresh.",
    "drill": "The drill is strong; the battery lasts for all the screws.",
    "saw": "This saw has a strong battery, like the drill.",
}


@pytest.fixture
def on_reviews(spark: SparkSession, small: Settings, tmp_path: Path) -> Settings:
    """Settings of a training on reviews, and the table of them."""
    lines = [
        encoded(
            line_2018(
                reviewerID=f"user {user}",
                asin=item,
                overall=float(1 + (user + place) % 5),
                reviewText=text if user % 2 else text.upper(),
                unixReviewTime=10**9 + (user * 7 + place) * 86_400,
            )
        )
        for user in range(12)
        for place, (item, text) in enumerate(TEXTS.items())
        if (user + place) % 3
    ]
    path = write_lines(tmp_path / "reviews.json", lines)
    loading.load_files(spark, small, [path], Stages())
    changed = {"train_on": "reviews", "feedback": "explicit", "test_share": 0.2}
    return small.model_copy(update=changed)


def alikeness(vectors: DataFrame, items: DataFrame) -> np.ndarray:
    found = features.vectors_of(vectors, items, len(TEXTS))
    return np.asarray((found @ found.T).todense())


def test_a_saved_pipeline_makes_the_same_vectors(
    spark: SparkSession, on_reviews: Settings, tmp_path: Path
) -> None:
    made = job.fit_features(spark, on_reviews, Stages())
    assert made.products == len(TEXTS)
    assert {"IDFModel", "VectorAssembler"} <= set(made.stages)
    loaded = features.read_features(on_reviews.features_path)
    assert loaded is not None
    products = job._described(spark, on_reviews)
    items = spark.createDataFrame(list(enumerate(TEXTS)), "item_index int, item_id string")
    alike = alikeness(loaded.transform(products), items)
    np.testing.assert_allclose(np.diag(alike), 1, rtol=1e-6)
    tea, more_tea, drill, saw = range(4)
    assert alike[tea, more_tea] > alike[tea, drill]
    assert alike[drill, saw] > alike[saw, more_tea]
    again = features.fit_features(products)
    np.testing.assert_allclose(alikeness(again.transform(products), items), alike, rtol=1e-6)


def test_prices_brands_and_categories_are_in_the_vectors(
    spark: SparkSession, on_reviews: Settings
) -> None:
    rows = [
        ("tea", "Leaf", "Tea", 3.0),
        ("more tea", "Leaf", "Tea", None),
        ("drill", None, "Tools", 90.0),
        ("unsold", "Leaf", "Tea", 1.0),
    ]
    catalogue = "item_id string, brand string, category string, price double"
    spark.createDataFrame(rows, catalogue).write.parquet(str(on_reviews.catalogue_path))
    made = job.fit_features(spark, on_reviews, Stages())
    kinds = {"ImputerModel", "Bucketizer", "StringIndexerModel", "OneHotEncoderModel"}
    assert kinds <= set(made.stages)
    reviews = spark_reviews.read_reviews(spark, spark_reviews.tables_in(on_reviews.reviews_dir))
    without = features.described(reviews, None)
    assert without.columns == ["item_id", "text", "brand", "category", "price"]
    early = features.described(reviews, None, before=datetime(2001, 9, 9, 12, tzinfo=UTC))
    assert early.count() < without.count()


def test_similar_products_of_a_training_are_those_of_which_the_same_is_said(
    spark: SparkSession, on_reviews: Settings
) -> None:
    job.fit_features(spark, on_reviews, Stages())
    made = training.train(spark, on_reviews, Stages())
    folder = on_reviews.generations_dir / made.id
    rows = spark.read.parquet(str(folder / "items")).select("item_id", "similar").collect()
    nearest = {row["item_id"]: row["similar"][0]["item_id"] for row in rows}
    assert nearest == {"tea": "more tea", "more tea": "tea", "drill": "saw", "saw": "drill"}
    assert set(read_items(folder).ids.to_pylist()) == set(TEXTS)


def test_a_saved_pipeline_predicts_the_same(
    spark: SparkSession, small: Settings, tmp_path: Path
) -> None:
    stars = [
        (f"user {user}", f"item {item}", 5.0 if (user + item) % 2 else 1.0)
        for user in range(20)
        for item in range(20)
        if (user * 3 + item) % 7
    ]
    ratings = spark.createDataFrame(stars, "user_id string, item_id string, rating float")
    fitted = pipeline.fit_ratings(ratings, small)
    path = str(tmp_path / "ratings")
    fitted.save(path)
    loaded = PipelineModel.load(path)
    asked = spark.createDataFrame(
        [("user 0", "item 0"), ("user 0", "item 7"), ("user 0", "no item"), ("nobody", "item 1")],
        "user_id string, item_id string",
    )
    before, after = (
        {row["item_id"]: row["prediction"] for row in each.transform(asked).collect()}
        for each in (fitted, loaded)
    )
    assert before == after
    assert set(before) == {"item 0", "item 7"}
    assert before["item 0"] < 2 < 4 < before["item 7"]


def test_the_reviews_become_one_saved_pipeline(
    spark: SparkSession, on_reviews: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "ratings-model"
    saved = pipeline_job.save_pipeline(spark, on_reviews, folder, Stages())
    reviews = spark_reviews.read_reviews(spark, spark_reviews.tables_in(on_reviews.reviews_dir))
    pairs = reviews.select("user_id", "item_id").distinct()
    users, items = (pairs.select(name).distinct().count() for name in pairs.columns)
    assert (saved.ratings, saved.users, saved.items) == (pairs.count(), users, items)
    assert saved.stages == ["StringIndexerModel", "StringIndexerModel", "ALSModel"]
    found = PipelineModel.load(str(folder)).transform(pairs)
    assert found.where("prediction is not null").count() == saved.ratings
    with pytest.raises(InputError, match="is there already"):
        pipeline_job.check_folder(folder)
