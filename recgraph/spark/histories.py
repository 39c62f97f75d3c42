"""Each user's events and each item's buyers -> the histories of a generation.

Spark sorts; the driver writes the rows as they come, a partition at a time.
"""

from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph import histories
from recgraph.columns import Columns as C
from recgraph.spark.blocks import bought
from recgraph.spark.interactions import amount_of_event
from recgraph.spark.model import Indexed
from recgraph.spark.scratch import batches_of, materialize
from recgraph.weighing import BOUGHT_KINDS, Weighing


def write_histories(
    generation: Path, events: DataFrame, indexed: Indexed, weighing: Weighing
) -> None:
    """Write the histories into the folder of a generation.

    Parameters
    ----------
    events
        Each identity once, of all users: also of those who are too rare for training.
    """
    folder = generation / histories.HISTORIES
    of_users = packed_events(events, indexed, weighing).orderBy(C.USER_ID, "time", "event")
    of_items = (
        bought(indexed).select(C.ITEM_INDEX, C.USER_INDEX).orderBy(C.ITEM_INDEX, C.USER_INDEX)
    )
    histories.write_histories(folder, batches_of(materialize(of_users)))
    histories.write_buyers(folder, batches_of(materialize(of_items)), indexed.n_items)


def packed_events(events: DataFrame, indexed: Indexed, weighing: Weighing) -> DataFrame:
    """user_id and the fields of `recgraph.weighing.EVENT`."""
    items = indexed.items.withColumnRenamed(C.ITEM_ID, C.PRODUCT_ID)
    letters = F.substring(F.md5(C.EVENT_ID), 1, histories.DIGEST_LETTERS)
    amount, is_bought = _counted(weighing)
    return events.join(items, C.PRODUCT_ID, "left").select(
        C.USER_ID,
        F.conv(letters, 16, 10).cast("long").alias("event"),
        F.unix_micros(C.OCCURRED_AT).alias("time"),
        amount.alias("amount"),
        F.coalesce(C.ITEM_INDEX, F.lit(-1)).alias("item"),
        is_bought.alias("bought"),
    )


def _counted(weighing: Weighing) -> tuple[Column, Column]:
    """``amount`` and ``bought`` of an event."""
    if weighing.feedback == "explicit":
        return F.coalesce(C.RATING, F.lit(0.0)), F.col(C.RATING).isNotNull()
    return amount_of_event(weighing), F.col(C.KIND).isin(*BOUGHT_KINDS)
