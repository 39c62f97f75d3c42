"""Interactions -> ALS factors, by Spark MLlib at any size or by the local engine in memory.

Both give the same `Factors`. For ratings ALS learns what mean and biases leave over
(`recgraph.biases`), and the factors are ``n_factors + 2`` wide.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from recgraph import biases
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.engines import local
from recgraph.errors import NoInteractionsError
from recgraph.model import Floats, Matrix
from recgraph.ports import Product
from recgraph.spark import transforms
from recgraph.spark.ids import dense_ids
from recgraph.spark.scratch import materialize
from recgraph.transforms import Fitted, transformed

_CHECKPOINT_INTERVAL = 10
"""Sweeps between checkpoints: without them a fit of 15 or more overflows the stack of the JVM."""
_NO_CHECKPOINTS = -1


class Indexed(NamedTuple):
    """Interactions with dense ids; all three frames are materialized."""

    interactions: DataFrame
    """user_index, item_index, the four ratings, n_events, is_bought, last_at; sorted: fits repeat
    exactly."""
    users: DataFrame
    """user_id, user_index."""
    items: DataFrame
    """item_id, item_index."""
    n_users: int
    n_items: int
    n_interactions: int
    n_cold: int = 0
    """The last so many items have no interaction (`recgraph.spark.catalogue`)."""
    products: Sequence[Product] = ()
    """What is known of each item, by index, on the driver; empty when it was not looked up."""
    vectors: Matrix | None = None
    """What is said of each item in reviews, by index: `recgraph.spark.features.vectors_of`."""


class Factors(NamedTuple):
    """What ALS found."""

    users: DataFrame
    """index, factors: a row a user."""
    items: Floats
    """float32 ``(n_items, n_factors)`` on the driver: 4 * n_items * n_factors bytes."""
    transform: Fitted = Fitted("count")
    """What the ratings were made into first."""


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
        .drop(C.USER_ID, C.ITEM_ID)
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

    The local engine and explicit feedback hold all interactions on the driver, 12 bytes each.

    References
    ----------
    Hu, Koren and Volinsky (2008), Collaborative filtering for implicit feedback datasets;
    Zhou et al. (2008), ALS-WR, for the penalty that grows with the number of ratings.
    """
    if settings.feedback == "explicit":
        return _fit_explicit(indexed, settings)
    transform = transforms.fit(indexed.interactions, indexed.n_items, settings)
    if settings.engine == "spark":
        rated = transforms.transformed(indexed.interactions, transform)
        return _fit_by_spark(rated, indexed, settings)._replace(transform=transform)
    found = local.fit_implicit(
        transformed(_collected(indexed), transform),
        n_factors=settings.n_factors,
        regularization=settings.local_regularization,
        exponent=settings.local_exponent,
        alpha=settings.alpha,
        n_iterations=settings.n_iterations,
        seed=settings.seed,
    )
    return _distributed(found.users, found.items, indexed)._replace(transform=transform)


def _fit_explicit(indexed: Indexed, settings: Settings) -> Factors:
    """Factors that predict ratings: mean and biases, and ALS on the rest."""
    ratings = _collected(indexed)
    found = biases.fit_biases(ratings, damping=settings.bias_damping)
    rest = biases.residuals(ratings, found)
    if settings.engine == "local":
        users, items = local.fit_explicit(
            rest,
            n_factors=settings.n_factors,
            regularization=settings.regularization,
            n_iterations=settings.n_iterations,
            seed=settings.seed,
        )
    else:
        fitted = _fit_by_spark(_as_frame(rest, indexed), indexed, settings)
        users = _factor_matrix(fitted.users, indexed.n_users, C.INDEX, C.FACTORS)
        items = fitted.items
    return _distributed(*biases.joined(users, items, found), indexed)


def _fit_by_spark(ratings: DataFrame, indexed: Indexed, settings: Settings) -> Factors:
    """MLlib's factors of user_index, item_index, rating."""
    als = new_als(ratings, settings, is_implicit=settings.feedback == "implicit")
    model = als.fit(ratings)
    users = materialize(
        model.userFactors.select(F.col("id").alias(C.INDEX), F.col("features").alias(C.FACTORS))
    )
    return Factors(users, _factor_matrix(model.itemFactors, indexed.n_items, "id", "features"))


def new_als(ratings: DataFrame, settings: Settings, *, is_implicit: bool) -> ALS:
    """MLlib's ALS of user_index, item_index, rating, not yet fitted."""
    # Ten blocks, the default, cost a small machine twice the time of one block a core.
    n_blocks = ratings.sparkSession.sparkContext.defaultParallelism
    is_short = settings.n_iterations <= _CHECKPOINT_INTERVAL
    return ALS(
        rank=settings.n_factors,
        maxIter=settings.n_iterations,
        regParam=settings.regularization,
        alpha=settings.alpha,
        implicitPrefs=is_implicit,
        seed=settings.seed,
        numUserBlocks=n_blocks,
        numItemBlocks=n_blocks,
        checkpointInterval=_NO_CHECKPOINTS if is_short else _CHECKPOINT_INTERVAL,
        coldStartStrategy="drop",
        userCol=C.USER_INDEX,
        itemCol=C.ITEM_INDEX,
        ratingCol=C.RATING,
    )


def _collected(indexed: Indexed) -> Matrix:
    """The ratings on the driver, float32 ``(n_users, n_items)``."""
    table = indexed.interactions.select(C.USER_INDEX, C.ITEM_INDEX, C.RATING).toArrow()
    users, items, ratings = (column.to_numpy() for column in table.columns)
    order = np.lexsort((items, users))
    counts = np.bincount(users, minlength=indexed.n_users)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    shape = (indexed.n_users, indexed.n_items)
    return sparse.csr_matrix((ratings[order], items[order], indptr), shape=shape)


def _as_frame(ratings: Matrix, indexed: Indexed) -> DataFrame:
    """A matrix as a materialized frame of user_index, item_index, rating."""
    users = np.repeat(np.arange(indexed.n_users, dtype=np.int32), np.diff(ratings.indptr))
    columns = {C.USER_INDEX: users, C.ITEM_INDEX: ratings.indices, C.RATING: ratings.data}
    spark = indexed.interactions.sparkSession
    return materialize(spark.createDataFrame(pa.table(columns)).repartition(C.USER_INDEX))


def _distributed(users: Floats, items: Floats, indexed: Indexed) -> Factors:
    """Factors of this process as those of Spark are."""
    flat = pa.array(users.ravel(), pa.float32())
    rows = pa.FixedSizeListArray.from_arrays(flat, users.shape[1]).cast(pa.list_(pa.float32()))
    table = pa.table({C.INDEX: pa.array(np.arange(len(users)), pa.int32()), C.FACTORS: rows})
    return Factors(materialize(indexed.interactions.sparkSession.createDataFrame(table)), items)


def _factor_matrix(frame: DataFrame, n_rows: int, index: str, factors: str) -> Floats:
    """The factors of a frame as one array, row i for index i."""
    table = frame.select(index, factors).toArrow()
    flat = table.column(factors).combine_chunks().flatten().to_numpy()
    matrix = np.zeros((n_rows, len(flat) // max(1, len(table))), np.float32)
    matrix[table.column(index).to_numpy()] = flat.reshape(len(table), -1)
    return matrix
