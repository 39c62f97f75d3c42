"""Events -> the period at their end that is held out, to measure a model that has not seen it."""

from datetime import datetime
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.split import cut_time

_ACCURACY = 10_000
"""The share that is held out is right to one part in so many."""


class Period(NamedTuple):
    """The end of a history; times as Spark gives them: naive UTC."""

    start: datetime
    """What occurred from then on is held out."""
    last: datetime


def held_out_period(events: DataFrame, settings: Settings) -> Period | None:
    """The last days of sales, or the last share of reviews; None when all share one moment.

    Reviews span decades, and most of them are of the last years: no number of days fits them all.
    """
    at = F.col(C.OCCURRED_AT)
    is_by_share = settings.train_on == "reviews"
    share = F.percentile_approx(at, 1 - settings.test_share, _ACCURACY).alias("cut")
    ends = [F.min(at).alias("first"), F.max(at).alias("last")]
    row = events.agg(*ends, *([share] if is_by_share else [])).first()
    assert row is not None  # an aggregate without groups has one row
    if row["last"] is None:
        return None
    if is_by_share:
        return Period(row["cut"], row["last"]) if row["cut"] > row["first"] else None
    cut_at = cut_time(row["first"], row["last"], test_days=settings.test_days)
    return None if cut_at is None else Period(cut_at, row["last"])
