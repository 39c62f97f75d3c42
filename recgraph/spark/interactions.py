"""The event table -> (user, item, rating).

Duplicates are removed here, when events are aggregated: a watermark would lose late ones.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.repeats import AGAIN_DAYS, MISSED
from recgraph.weighing import (
    BOUGHT_KINDS,
    DIGITS,
    MICROS_A_DAY,
    Weighing,
    weighing_from_settings,
)

_CONTENT = (C.USER_ID, C.PRODUCT_ID, C.QUANTITY, C.RATING, C.KIND, C.OCCURRED_AT)
_RATINGS = (C.RATING, C.RECENT_RATING, C.REPEAT_RATING, C.EARLY_RATING)


class EventCounts(NamedTuple):
    """What an event table holds."""

    events: int
    duplicates: int
    conflicts: int


def distinct_events(events: DataFrame) -> DataFrame:
    """Each event identity once, the first ingested copy, with how many copies there were.

    Columns: ``event_id``, those of the event's content, ``n_copies`` and ``n_conflicts`` (copies
    whose content differs from the first one's).
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
        .select(
            C.EVENT_ID,
            "event.*",
            "n_copies",
            (F.col("n_copies") - F.col("event.n")).alias("n_conflicts"),
        )
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
    """One row for each (user, item): four ratings, n_events, is_bought, last_at.

    ``rating`` is what ALS and the walk's first steps get. Beside it stand ``recent_rating``, for
    the last step of the walk: how lately the user found the item; ``repeat_rating``, for what is
    bought again: the sum with a half-life of its own, as `recgraph.repeats.strengths` has it; and
    ``early_rating``, what purchases and returns give of that sum from before the last
    `recgraph.repeats.AGAIN_DAYS`. ``last_at`` is the last purchase, where there is one, else the
    last event: a view or a return ends no silence, and nobody comes back by it.

    Implicit feedback: the rating is the sum of the weights of the events' kinds, each halved for
    every half-life that it is older than the newest event; a return takes back what a purchase
    gave. Quantities mix pieces with grams, so they are no measure of liking: only their sign
    counts, for a negative one is a return. A pair that comes to nothing without the decay is no
    interaction; one that only decayed to nothing stays one, so that what was bought once is known
    for bought. Explicit feedback: the rating given last; events without a rating say nothing.
    """
    named = events.withColumnRenamed(C.PRODUCT_ID, C.ITEM_ID)
    if weighing.feedback == "explicit":
        rated = named.where(F.col(C.RATING).isNotNull())
        rating = F.max_by(C.RATING, F.struct(C.OCCURRED_AT, C.RATING))
        return _by_pair(rated, dict.fromkeys(_RATINGS, rating), F.count("*"))
    amount = amount_of_event(weighing)
    bought = F.round(F.sum(F.when(_is_sale(), amount).otherwise(0.0)), DIGITS)
    net = F.round(F.sum(amount), DIGITS)
    last = F.max(F.when(is_purchase(amount), F.col(C.OCCURRED_AT)))
    return _by_pair(named, _ratings(amount, weighing, _newest(events)), bought, net, last)


def _ratings(amount: Column, weighing: Weighing, newest: datetime | None) -> Mapping[str, Column]:
    """Each rating of a pair by its column, before the float: 0 or more, that of ALS above 0."""

    def decayed(amount: Column, half_life_days: float | None, least: float = 0.0) -> Column:
        total = F.round(F.sum(amount * _decay(newest, half_life_days)), DIGITS)
        return F.greatest(total, F.lit(least))

    half_life = weighing.repeat_half_life_days
    is_early = _is_sale() & (_age_in_days(newest) >= AGAIN_DAYS)
    early = F.when(is_early, amount).otherwise(0.0)
    silent = F.min(F.when(is_purchase(amount), _age_in_days(newest)))
    found = decayed(amount, None)
    if weighing.walk_half_life_days is not None:
        found = _share_of_first(amount, newest, weighing.walk_half_life_days)
    return {
        C.RATING: decayed(amount, weighing.half_life_days, least=10.0**-DIGITS),
        C.RECENT_RATING: found,
        C.REPEAT_RATING: _strength(decayed(amount, half_life), silent, half_life),
        C.EARLY_RATING: decayed(early, half_life),
    }


def _share_of_first(amount: Column, newest: datetime | None, half_life_days: float) -> Column:
    """The share of its weight that the first purchase still has; 0 where there is none."""
    first = F.min(F.when(is_purchase(amount), _decay(newest, half_life_days)))
    return F.coalesce(F.round(first, DIGITS), F.lit(0.0))


def _strength(sums: Column, silent: Column, half_life_days: float | None) -> Column:
    """The same as `recgraph.repeats.strengths`; without a purchase, the sums."""
    if half_life_days is None:
        return sums
    missed = sums * F.coalesce(silent, F.lit(0.0)) * (math.log(2) / half_life_days)
    return sums / F.sqrt(F.greatest(missed / MISSED, F.lit(1.0)))


def _is_sale() -> Column:
    """Whether an event says something of what is bought."""
    return F.col(C.KIND).isin(*BOUGHT_KINDS)


def is_purchase(amount: Column) -> Column:
    """Whether an event that counts so much is a purchase, and no view or return."""
    return _is_sale() & (amount > 0)


def amount_of_event(weighing: Weighing) -> Column:
    """What one event counts before decay: `recgraph.weighing.amount_of`."""
    return _direction() * _weight(weighing)


def _direction() -> Column:
    """What the quantity of an event says: 1 for it, -1 against it, 0 nothing.

    The weight of a return is negative already, whatever sign its quantity has.
    """
    sign = F.signum(C.QUANTITY)
    kind = F.col(C.KIND)
    return F.when(kind == "return", F.abs(sign)).when(kind == "purchase", sign).otherwise(1.0)


def _weight(weighing: Weighing) -> Column:
    """What one event counts; a kind that the weighing does not name counts nothing."""
    pairs = [F.lit(each) for pair in weighing.kind_weights.items() for each in pair]
    return F.coalesce(F.create_map(*pairs)[F.col(C.KIND)], F.lit(0.0))


def _newest(events: DataFrame) -> datetime | None:
    """When the newest event occurred."""
    row = events.agg(F.max(C.OCCURRED_AT).alias("newest")).first()
    assert row is not None  # an aggregate without groups has one row
    newest: datetime | None = row["newest"]
    return newest


def _decay(newest: datetime | None, half_life_days: float | None) -> Column:
    """The share of its weight that an event still has, 1 for the newest."""
    if half_life_days is None:
        return F.lit(1.0)
    return F.pow(F.lit(0.5), _age_in_days(newest) / half_life_days)


def _age_in_days(newest: datetime | None) -> Column:
    """How much older than the newest an event is."""
    age = F.unix_micros(F.lit(newest).cast("timestamp")) - F.unix_micros(C.OCCURRED_AT)
    return age / MICROS_A_DAY


def _by_pair(
    events: DataFrame,
    ratings: Mapping[str, Column],
    bought: Column,
    net: Column | None = None,
    last_bought: Column | None = None,
) -> DataFrame:
    """The events grouped by pair; pairs whose ``net`` is not positive are left out."""
    last = F.max(C.OCCURRED_AT)
    grouped = events.groupBy(C.USER_ID, C.ITEM_ID).agg(
        *(rating.cast("float").alias(name) for name, rating in ratings.items()),
        F.count("*").cast("int").alias(C.N_EVENTS),
        (bought > 0).alias(C.IS_BOUGHT),
        (last if last_bought is None else F.coalesce(last_bought, last)).alias(C.LAST_AT),
        (F.lit(1.0) if net is None else net).alias("net"),
    )
    return grouped.where("net > 0").drop("net")


def training_interactions(events: DataFrame, settings: Settings) -> DataFrame:
    """The interactions that a model is trained on: weighed, and without rare users and items."""
    return drop_rare(
        interactions_from_events(events, weighing_from_settings(settings)),
        min_user_items=settings.min_user_items,
        min_item_users=settings.min_item_users,
    )


def drop_rare(interactions: DataFrame, *, min_user_items: int, min_item_users: int) -> DataFrame:
    """The interactions of users and items that have at least so many, counted once each."""
    kept = interactions
    for column, least in ((C.ITEM_ID, min_item_users), (C.USER_ID, min_user_items)):
        if least > 1:
            enough = kept.groupBy(column).count().where(F.col("count") >= least)
            kept = kept.join(enough.select(column), column, "left_semi")
    return kept
