"""What a training is made from: sale events, or reviews as events that carry a rating."""

from pathlib import Path
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession

from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.jobs import tables_of
from recgraph.spark import events as spark_events
from recgraph.spark import reviews as spark_reviews
from recgraph.spark.interactions import EventCounts, count_events, distinct_events
from recgraph.spark.scratch import materialize
from recgraph.spark.users import cap_users


class Source(NamedTuple):
    """The events that a training is made from."""

    events: DataFrame
    """Each event identity once."""
    counts: EventCounts
    version: int
    """Version of the table they are from."""
    seen: dict[str, dict[str, int]]
    """Topic id -> partition -> next offset; reviews are from no topic."""
    capped: dict[str, int]
    """Users with more events than ``max_user_events``, and how many they have."""


def require_source(settings: Settings) -> None:
    """Return where there is what is trained on; asked before Spark is started for nothing.

    Raises
    ------
    NoInteractionsError
        There is no such table.
    """
    if settings.train_on == "reviews":
        require_reviews(settings)
    elif not _is_table(settings.events_dir):
        message = (
            f"there are no events in {settings.events_dir}. Send some and take them in: `recgraph "
            "import FILE`, or `recgraph replay FILE` and then `recgraph ingest --once`."
        )
        raise NoInteractionsError(message)


def require_reviews(settings: Settings) -> None:
    """Return where there is a table of reviews; raises as `require_source`."""
    table = spark_reviews.tables_in(settings.reviews_dir).lines
    if not _is_table(table):
        raise no_reviews(table)


def no_reviews(table: Path) -> NoInteractionsError:
    """The error of a table of reviews that is not there, or empty."""
    message = f"there are no reviews in {table}. Take some in: `recgraph reviews load FILE`."
    return NoInteractionsError(message)


def _is_table(path: Path) -> bool:
    return (path / "_delta_log").exists()


def read_reviews(spark: SparkSession, settings: Settings) -> DataFrame:
    """Each review once, as `recgraph.spark.reviews.read_reviews`."""
    return spark_reviews.read_reviews(spark, spark_reviews.tables_in(settings.reviews_dir))


def read_products(spark: SparkSession, settings: Settings) -> DataFrame | None:
    """The catalogue as a frame; None where there is none."""
    path = settings.catalogue_path
    return spark.read.parquet(str(path)) if path.exists() else None


def read_source(spark: SparkSession, settings: Settings) -> Source:
    """The table as it is now; what comes in meanwhile is for the next training."""
    if settings.train_on == "reviews":
        return _read_reviews(spark, settings)
    tables = tables_of(settings)
    version = spark_events.table_version(spark, tables.events)
    table = spark_events.read_events(spark, tables, version)
    found = materialize(distinct_events(table))
    capped = cap_users(found, settings.max_user_events)
    seen = spark_events.seen_offsets(table)
    return Source(capped.events, count_events(found), version, seen, capped.users)


def _read_reviews(spark: SparkSession, settings: Settings) -> Source:
    tables = spark_reviews.tables_in(settings.reviews_dir)
    version = spark_events.table_version(spark, tables.lines)
    reviews = spark_reviews.read_reviews(spark, tables, version)
    n_copies = spark_reviews.read_copies(spark, tables, version).count()
    found = materialize(spark_reviews.events_from_reviews(reviews))
    capped = cap_users(found, settings.max_user_events)
    counts = EventCounts(found.count(), n_copies, 0)
    return Source(capped.events, counts, version, {}, capped.users)
