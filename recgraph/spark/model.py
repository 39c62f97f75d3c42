"""Interactions -> ALS factors, with Spark MLlib."""

from typing import NamedTuple

import numpy as np
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.model import Floats
from recgraph.spark.ids import dense_ids
from recgraph.spark.scratch import materialize

_CHECKPOINT_INTERVAL = 10
"""Sweeps between checkpoints: without them a fit of 15 or more overflows the stack of the JVM."""
_NO_CHECKPOINTS = -1


class Indexed(NamedTuple):
    """Interactions with dense ids; all three frames are materialized."""

    interactions: DataFrame
    """user_index, item_index, rating, n_events, is_bought, last_at; sorted: fits repeat exactly."""
    users: DataFrame
    """user_id, user_index."""
    items: DataFrame
    """item_id, item_index."""
    n_users: int
    n_items: int
    n_interactions: int


class Factors(NamedTuple):
    """What ALS found."""

    users: DataFrame
    """index, factors: a row a user."""
    items: Floats
    """float32 ``(n_items, n_factors)`` on the driver: 4 * n_items * n_factors bytes."""


def index_interactions(interactions: DataFrame) -> Indexed:
    """The interactions with dense user and item indices.

    Raises
    ------
    NoInteractionsError
        There are none.
    """
    users = materialize(dense_ids(interactions, C.USER_ID, C.USER_INDEX))
    items = materialize(dense_ids(interactions, C.ITEM_ID, C.ITEM_INDEX))
    indexed = materialize(
        interactions.join(users, C.USER_ID)
        .join(items, C.ITEM_ID)
        .select(C.USER_INDEX, C.ITEM_INDEX, C.RATING, C.N_EVENTS, C.IS_BOUGHT, C.LAST_AT)
        .repartition(C.USER_INDEX)
        .sortWithinPartitions(C.USER_INDEX, C.ITEM_INDEX)
    )
    n_interactions = indexed.count()
    if n_interactions == 0:
        message = (
            "no interaction is left to train on. Are there events (`recgraph status`), more "
            "purchases than returns, and do RECGRAPH_MIN_USER_ITEMS and RECGRAPH_MIN_ITEM_USERS "
            "leave any? With RECGRAPH_FEEDBACK=explicit the events need a rating."
        )
        raise NoInteractionsError(message)
    return Indexed(indexed, users, items, users.count(), items.count(), n_interactions)


def fit_als(indexed: Indexed, settings: Settings) -> Factors:
    """The factors of users and items, after ``settings.n_iterations`` sweeps.

    References
    ----------
    Hu, Koren and Volinsky (2008), Collaborative filtering for implicit feedback datasets;
    Zhou et al. (2008), ALS-WR, for the penalty that grows with the number of ratings.
    """
    # Ten blocks, the default, cost a small machine twice the time of one block a core.
    n_blocks = indexed.interactions.sparkSession.sparkContext.defaultParallelism
    is_short = settings.n_iterations <= _CHECKPOINT_INTERVAL
    als = ALS(
        rank=settings.n_factors,
        maxIter=settings.n_iterations,
        regParam=settings.regularization,
        alpha=settings.alpha,
        implicitPrefs=settings.feedback == "implicit",
        seed=settings.seed,
        numUserBlocks=n_blocks,
        numItemBlocks=n_blocks,
        checkpointInterval=_NO_CHECKPOINTS if is_short else _CHECKPOINT_INTERVAL,
        coldStartStrategy="drop",
        userCol=C.USER_INDEX,
        itemCol=C.ITEM_INDEX,
        ratingCol=C.RATING,
    )
    model = als.fit(indexed.interactions)
    users = materialize(
        model.userFactors.select(F.col("id").alias(C.INDEX), F.col("features").alias(C.FACTORS))
    )
    return Factors(users, _factor_matrix(model.itemFactors, indexed.n_items, settings.n_factors))


def _factor_matrix(frame: DataFrame, n_rows: int, n_factors: int) -> Floats:
    """The factors of a frame (id, features) as one array, row i for id i."""
    table = frame.toArrow()
    matrix = np.zeros((n_rows, n_factors), np.float32)
    features = table.column("features").combine_chunks().flatten().to_numpy()
    matrix[table.column("id").to_numpy()] = features.reshape(-1, n_factors)
    return matrix
