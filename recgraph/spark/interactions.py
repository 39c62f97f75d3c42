"""The event table -> (user, item, rating).

Duplicates are removed here, when events are aggregated: a watermark would lose late ones.
"""

from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.config import Settings

_CONTENT = (C.USER_ID, C.PRODUCT_ID, C.QUANTITY, C.RATING, C.KIND, C.OCCURRED_AT)
_BOUGHT_KINDS = ("purchase", "rating")
_DIGITS = 6
"""Digits of a rating: beyond them the order of addition would show."""


class Weighing(NamedTuple):
    """How events become ratings; the fields are settings of the same names."""

    feedback: str
    kind_weights: dict[str, float]
    half_life_days: float | None


def weighing_from_settings(settings: Settings) -> Weighing:
    """The weighing that the settings describe."""
    return Weighing(settings.feedback, settings.kind_weights, settings.half_life_days)


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


def interactions_from_events(events: DataFrame, weighing: Weighing) -> DataFrame:
    """One row for each (user, item): rating, n_events, is_bought, last_at.

    Implicit feedback: the rating is the sum of the weights of the events' kinds, each halved for
    every half-life that it is older than the newest event, with the sign of its quantity: a return
    takes back what a purchase gave. Quantities themselves mix pieces with grams, so they are no
    measure of liking. A pair whose rating is not positive is no interaction. Explicit feedback:
    the rating the user gave last; events without a rating say nothing.
    """
    named = events.withColumnRenamed(C.PRODUCT_ID, C.ITEM_ID)
    if weighing.feedback == "explicit":
        rating = F.max_by(C.RATING, F.struct(C.OCCURRED_AT, C.RATING))
        return _by_pair(named.where(F.col(C.RATING).isNotNull()), rating)
    rating = F.round(F.sum(F.signum(C.QUANTITY) * _weight(events, weighing)), _DIGITS)
    return _by_pair(named, rating).where(F.col(C.RATING) > 0)


def _weight(events: DataFrame, weighing: Weighing) -> Column:
    """What one event counts; a kind that the weighing does not name counts nothing."""
    pairs = [F.lit(each) for pair in weighing.kind_weights.items() for each in pair]
    weight = F.coalesce(F.create_map(*pairs)[F.col(C.KIND)], F.lit(0.0))
    if weighing.half_life_days is None:
        return weight
    newest = events.agg(F.max(C.OCCURRED_AT).alias("newest")).first()
    assert newest is not None  # an aggregate without groups has one row
    age_s = F.unix_micros(F.lit(newest["newest"])) - F.unix_micros(C.OCCURRED_AT)
    return weight * F.pow(F.lit(0.5), age_s / (weighing.half_life_days * 86_400_000_000))


def _by_pair(events: DataFrame, rating: Column) -> DataFrame:
    is_purchase = F.col(C.KIND).isin(*_BOUGHT_KINDS) & (F.col(C.QUANTITY) > 0)
    return events.groupBy(C.USER_ID, C.ITEM_ID).agg(
        rating.cast("float").alias(C.RATING),
        F.count("*").cast("int").alias(C.N_EVENTS),
        F.bool_or(is_purchase).alias(C.IS_BOUGHT),
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
