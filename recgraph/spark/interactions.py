"""The event table -> (user, item, rating).

Duplicates are removed here, when events are aggregated: a watermark would lose late ones.
"""

from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C

_CONTENT = (C.USER_ID, C.PRODUCT_ID, C.QUANTITY, C.RATING, C.OCCURRED_AT)


class EventCounts(NamedTuple):
    """What an event table holds."""

    events: int
    duplicates: int
    conflicts: int


def distinct_events(events: DataFrame) -> DataFrame:
    """Each event identity once, the first ingested copy, with how many copies there were.

    Columns: those of the event's content, ``n_copies`` and ``n_conflicts`` (copies whose content
    differs from the first one's).
    """
    first = F.min(F.struct(C.INGESTED_AT, C.PARTITION, C.OFFSET))
    copies = (
        events.repartition(C.EVENT_ID)
        .groupBy(C.EVENT_ID, *_CONTENT)
        .agg(first.alias("first"), F.count("*").alias("n"))
    )
    return (
        copies.groupBy(C.EVENT_ID)
        .agg(
            F.min_by(F.struct(*_CONTENT, "n"), "first").alias("event"),
            F.sum("n").alias("n_copies"),
        )
        .select("event.*", "n_copies", (F.col("n_copies") - F.col("event.n")).alias("n_conflicts"))
        .drop("n")
    )


def count_events(distinct: DataFrame) -> EventCounts:
    """How many events `distinct_events` kept, and what it left out."""
    row = distinct.agg(
        F.count("*").alias("events"),
        F.coalesce(F.sum("n_copies") - F.count("*"), F.lit(0)).alias("duplicates"),
        F.coalesce(F.sum("n_conflicts"), F.lit(0)).alias("conflicts"),
    ).first()
    assert row is not None  # an aggregate without groups has one row
    return EventCounts(row["events"], row["duplicates"], row["conflicts"])


def interactions_from_events(events: DataFrame, *, feedback: str) -> DataFrame:
    """One row for each (user, item): rating, n_events, last_at.

    Implicit feedback: the rating counts purchases, less returns (a quantity below 0 is a return,
    of 0 nothing); quantities themselves mix pieces with grams, so they are no measure of liking.
    A user who returned as often as bought has no interaction. Explicit feedback: the rating the
    user gave last; events without a rating say nothing.
    """
    named = events.withColumnRenamed(C.PRODUCT_ID, C.ITEM_ID)
    if feedback == "explicit":
        rating = F.max_by(C.RATING, F.struct(C.OCCURRED_AT, C.RATING))
        return _by_pair(named.where(F.col(C.RATING).isNotNull()), rating)
    return _by_pair(named, F.sum(F.signum(C.QUANTITY))).where(F.col(C.RATING) > 0)


def _by_pair(events: DataFrame, rating: Column) -> DataFrame:
    return events.groupBy(C.USER_ID, C.ITEM_ID).agg(
        rating.cast("float").alias(C.RATING),
        F.count("*").cast("int").alias(C.N_EVENTS),
        F.max(C.OCCURRED_AT).alias(C.LAST_AT),
    )


def drop_rare(interactions: DataFrame, *, min_user_items: int, min_item_users: int) -> DataFrame:
    """The interactions of users and items that have at least so many, counted once each."""
    kept = interactions
    for column, least in ((C.ITEM_ID, min_item_users), (C.USER_ID, min_user_items)):
        if least > 1:
            enough = kept.groupBy(column).count().where(F.col("count") >= least)
            kept = kept.join(enough.select(column), column, "left_semi")
    return kept
