"""The job of exploring reviews: their table -> one small file, for the page Reviews."""

from pyspark.sql import SparkSession

from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.exploration import Exploration, write_exploration
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
    tables = spark_reviews.tables_in(settings.reviews_dir)
    with stages("explore", "looking at all reviews"):
        reviews = spark_reviews.read_reviews(spark, tables)
        if reviews.isEmpty():
            message = (
                f"there are no reviews in {tables.lines}. Take some in: `recgraph reviews load "
                "FILE`."
            )
            raise NoInteractionsError(message)
        path = settings.catalogue_path
        catalogue = spark.read.parquet(str(path)) if path.exists() else None
        found = spark_exploration.explore(reviews, catalogue, max_texts=max_texts)
    write_exploration(settings.exploration_path, found)
    return found
