"""The job of exploring reviews: their table -> one small file, for the page Reviews."""

from pyspark.sql import SparkSession

from recgraph.config import Settings
from recgraph.exploration import Exploration, write_exploration
from recgraph.jobs.source import no_reviews, read_products, read_reviews
from recgraph.spark import exploration as spark_exploration
from recgraph.spark import reviews as spark_reviews
from recgraph.stages import Stages


def explore(
    spark: SparkSession, settings: Settings, stages: Stages, *, max_texts: int
) -> Exploration:
    """Write what the reviews say together, and return it.

    Raises
    ------
    NoInteractionsError
        The table has no review.
    """
    with stages("explore", "looking at all reviews"):
        reviews = read_reviews(spark, settings)
        if reviews.isEmpty():
            raise no_reviews(spark_reviews.tables_in(settings.reviews_dir).lines)
        catalogue = read_products(spark, settings)
        found = spark_exploration.explore(reviews, catalogue, max_texts=max_texts)
    write_exploration(settings.exploration_path, found)
    return found
