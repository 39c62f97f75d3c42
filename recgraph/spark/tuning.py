"""Events before the test period -> arrays on the driver, for a search of settings in memory.

Events come aggregated by user, item and day: 22 bytes a row on the driver. Above `MAX_INTERACTIONS`
a seeded sample of the users is taken, so that memory stays bounded whatever the event table holds.
"""

from datetime import datetime
from typing import NamedTuple

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.dataset import Rows
from recgraph.model import Matrix
from recgraph.spark.held_out import held_out_period
from recgraph.spark.interactions import (
    amount_of_event,
    interactions_from_events,
    is_purchase,
    training_interactions,
)
from recgraph.spark.model import Indexed, index_interactions
from recgraph.spark.scratch import materialize
from recgraph.weighing import weighing_from_settings

MAX_INTERACTIONS = 5_000_000
"""Interactions that a search looks at, at most: about 1.5 GB on the driver."""
_BUCKETS = 10_000
"""Shares of users that a sample can have."""


class Parted(NamedTuple):
    """Events before a moment, and from it on."""

    before: DataFrame
    after: DataFrame
    cut_at: datetime
    """As Spark gives it: naive UTC."""


class Gathered(NamedTuple):
    """What a search works on."""

    train: Rows
    """What was done before the validation period, a row a user, item and day."""
    test: Matrix
    """Entries where a user bought an item in the validation period, ``(n_users, n_items)``."""
    n_interactions: int
    """Of the training part, of the users that were sampled."""
    share: float
    """Share of the users that were sampled."""


def part(events: DataFrame, settings: Settings) -> Parted | None:
    """The events parted before their test period; None when all share one moment."""
    period = held_out_period(events, settings)
    if period is None:
        return None
    is_after = F.col(C.OCCURRED_AT) >= F.lit(period.start)
    return Parted(events.where(~is_after), events.where(is_after), period.start)


def gather(events: Parted, settings: Settings) -> Gathered:
    """The events on the driver, those before the cut to learn from, the others to be foretold.

    Raises
    ------
    NoInteractionsError
        There are none before the cut.
    """
    pairs = materialize(training_interactions(events.before, settings))
    pairs, share = _sampled(pairs, settings.seed)
    indexed = index_interactions(pairs)
    days = _days(events.before, pairs, indexed, settings)
    test = interactions_from_events(events.after, weighing_from_settings(settings))
    return Gathered(days, _entries(test, indexed), indexed.n_interactions, share)


def gather_ratings(events: DataFrame, settings: Settings) -> tuple[Rows, tuple[int, int], float]:
    """The ratings on the driver, a row a pair, how many users and items, and the share of users.

    Raises
    ------
    NoInteractionsError
        There are none.
    """
    pairs, share = _sampled(materialize(training_interactions(events, settings)), settings.seed)
    indexed = index_interactions(pairs)
    seconds = F.unix_seconds(C.LAST_AT)
    table = indexed.interactions.select(C.USER_INDEX, C.ITEM_INDEX, C.RATING, seconds).toArrow()
    columns = (column.to_numpy() for column in table.columns)
    return Rows(*columns), (indexed.n_users, indexed.n_items), share


def _sampled(pairs: DataFrame, seed: int) -> tuple[DataFrame, float]:
    """The interactions of so many seeded users that a search can hold them, and their share."""
    n_pairs = pairs.count()
    share = min(1.0, MAX_INTERACTIONS / max(1, n_pairs))
    if share == 1:
        return pairs, share
    bucket = F.pmod(F.xxhash64(F.lit(seed), C.USER_ID), F.lit(_BUCKETS))
    return pairs.where(bucket < round(share * _BUCKETS)), share


def _days(events: DataFrame, pairs: DataFrame, indexed: Indexed, settings: Settings) -> Rows:
    """What each event counts before decay, added up by user, item and day."""
    amount = amount_of_event(weighing_from_settings(settings))
    kept = pairs.select(C.USER_ID, C.ITEM_ID, C.IS_BOUGHT)
    days = (
        events.withColumnRenamed(C.PRODUCT_ID, C.ITEM_ID)
        .groupBy(C.USER_ID, C.ITEM_ID, F.to_date(C.OCCURRED_AT))
        .agg(
            F.sum(amount).cast("float").alias("amount"),
            F.max(C.OCCURRED_AT).alias("at"),
            F.max(is_purchase(amount)).alias("is_purchase"),
        )
        .join(kept, [C.USER_ID, C.ITEM_ID])
        .join(indexed.users, C.USER_ID)
        .join(indexed.items, C.ITEM_ID)
    )
    table = days.select(
        C.USER_INDEX, C.ITEM_INDEX, "amount", F.unix_seconds("at"), C.IS_BOUGHT, "is_purchase"
    ).toArrow()
    columns = [column.to_numpy() for column in table.columns]
    # In one order, whatever the order of the partitions: so a seed gives the same search.
    order = np.lexsort((columns[3], columns[1], columns[0]))
    return Rows(*(column[order] for column in columns))


def _entries(test: DataFrame, indexed: Indexed) -> Matrix:
    """Who bought what, of the users and items that are known."""
    known = test.where(C.IS_BOUGHT).join(indexed.users, C.USER_ID).join(indexed.items, C.ITEM_ID)
    table = known.select(C.USER_INDEX, C.ITEM_INDEX).toArrow()
    users, items = (column.to_numpy() for column in table.columns)
    shape = indexed.n_users, indexed.n_items
    ones = np.ones(len(users), np.float32)
    return sparse.csr_matrix((ones, (users, items)), shape=shape)
