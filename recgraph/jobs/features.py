"""The job of describing products by their reviews: fit the pipeline, and use it in a training."""

from datetime import datetime

import msgspec
from pyspark.sql import DataFrame, SparkSession

from recgraph.config import Settings
from recgraph.jobs.source import read_products, read_reviews
from recgraph.spark import features as spark_features
from recgraph.spark.model import Indexed
from recgraph.spark.scratch import materialize
from recgraph.stages import Stages


class Described(msgspec.Struct, frozen=True):
    """What a pipeline was fitted to, and what it gives."""

    path: str
    products: int
    features: int
    """Length of a vector; most of it is 0."""
    stages: list[str]


def fit_features(spark: SparkSession, settings: Settings, stages: Stages) -> Described:
    """Fit the pipeline to all products with reviews, and save it for the next trainings."""
    with stages("describe", "gathering the words of each product"):
        products = materialize(_described(spark, settings))
    with stages("fit", "fitting the pipeline"):
        fitted = spark_features.fit_features(products)
        spark_features.write_features(fitted, settings.features_path)
        first = fitted.transform(products).select(spark_features.FEATURES).first()
    return Described(
        path=str(settings.features_path),
        products=products.count(),
        features=0 if first is None else first[0].size,
        stages=[type(stage).__name__ for stage in fitted.stages],
    )


def with_reviews(
    indexed: Indexed, settings: Settings, *, before: datetime | None = None
) -> Indexed:
    """The same with what is said of each item, where a training is on reviews and they are fitted.

    Parameters
    ----------
    before
        What was written from then on is not looked at: a test period is not known before it.
    """
    spark = indexed.interactions.sparkSession
    if settings.train_on != "reviews":
        return indexed
    fitted = spark_features.read_features(settings.features_path)
    if fitted is None:
        return indexed
    products = fitted.transform(_described(spark, settings, before))
    vectors = spark_features.vectors_of(products, indexed.items, indexed.n_items)
    return indexed._replace(vectors=vectors)


def _described(
    spark: SparkSession, settings: Settings, before: datetime | None = None
) -> DataFrame:
    catalogue = read_products(spark, settings)
    return spark_features.described(read_reviews(spark, settings), catalogue, before=before)
