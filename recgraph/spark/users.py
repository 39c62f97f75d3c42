"""Events -> events in which nobody outweighs all others: a bot or a till is cut to its newest."""

from typing import NamedTuple

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from recgraph.columns import Columns as C

_MAX_NAMED = 100
"""Users with too many events that are named, those with most first."""


class Capped(NamedTuple):
    """Events with at most so many a user."""

    events: DataFrame
    users: dict[str, int]
    """Users who have more -> how many; the 100 with most."""


def cap_users(events: DataFrame, most: int) -> Capped:
    """The newest events of each user who has more than ``most``, and all of everybody else.

    Parameters
    ----------
    events
        Each event identity once.
    """
    above = events.groupBy(C.USER_ID).count().where(F.col("count") > most)
    named = above.orderBy(F.desc("count"), C.USER_ID).limit(_MAX_NAMED).collect()
    if not named:
        return Capped(events, {})
    newest = Window.partitionBy(C.USER_ID).orderBy(F.desc(C.OCCURRED_AT), C.EVENT_ID)
    ours = events.join(above.select(C.USER_ID), C.USER_ID, "left_semi")
    others = events.join(above.select(C.USER_ID), C.USER_ID, "left_anti")
    kept = ours.withColumn("place", F.row_number().over(newest)).where(F.col("place") <= most)
    users = {row[C.USER_ID]: row["count"] for row in named}
    return Capped(others.unionByName(kept.drop("place")), users)
