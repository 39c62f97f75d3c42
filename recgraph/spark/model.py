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
from recgraph.model import Floats, Matrix, offsets_of
from recgraph.ports import Product
from recgraph.spark import transforms
from recgraph.spark.biases import USER_BASE, take_biases
from recgraph.spark.ids import dense_ids
from recgraph.spark.scratch import batches_of, materialize
from recgraph.transforms import Fitted, transformed

_CHECKPOINT_INTERVAL = 10
"""Sweeps between checkpoints: without them a fit of 15 or more overflows the stack of the JVM."""
_NO_CHECKPOINTS = -1
_PENALTY_OF_PURCHASES = 0.03
"""Where the setting leaves it open (docs/settings.md)."""
_BLOCK_BYTES, _BLOCK_RATINGS = 128 * 2**20, 5_000_000
"""Factors and ratings in one block of ALS, about: a task holds a block, and sends what another
needs of it in one piece, for which Java has 2 GiB."""


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
    mean_rating: float | None = None
    """Explicit feedback: the mean, which whoever folds in a user's ratings takes off them first."""
    regularization: float | None = None
    """The penalty of ALS-WR that was taken; None by the local engine for purchases."""


def index_interactions(interactions: DataFrame) -> Indexed:
    """The interactions with dense user and item indices.

    Raises
    ------
    NoInteractionsError
        There are none.
    """
    interactions = materialize(interactions)  # asked three times, and dear to find
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

    The local engine holds all interactions on the driver, 12 bytes each; Spark the items' factors.

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
    if settings.engine == "spark":
        return _fit_explicit_by_spark(indexed, settings)
    ratings, regularization = _collected(indexed), regularization_of(indexed, settings)
    found = biases.fit_biases(ratings, damping=settings.bias_damping)
    users, items = local.fit_explicit(
        biases.residuals(ratings, found),
        n_factors=settings.n_factors,
        regularization=regularization,
        n_iterations=settings.n_iterations,
        seed=settings.seed,
    )
    factors = _distributed(*biases.joined(users, items, found), indexed)
    return factors._replace(mean_rating=found.mean, regularization=regularization)


def _fit_explicit_by_spark(indexed: Indexed, settings: Settings) -> Factors:
    rest = take_biases(indexed.interactions, indexed.n_items, damping=settings.bias_damping)
    fitted = _fit_by_spark(rest.residuals, indexed, settings)
    joined = F.concat(C.FACTORS, F.array(F.lit(1.0).cast("float"), USER_BASE)).alias(C.FACTORS)
    users = materialize(fitted.users.join(rest.user_bases, C.INDEX).select(C.INDEX, joined))
    items = biases.joined_items(fitted.items, rest.item_biases.astype(np.float32))
    return fitted._replace(users=users, items=items, mean_rating=rest.mean)


def _fit_by_spark(ratings: DataFrame, indexed: Indexed, settings: Settings) -> Factors:
    """MLlib's factors of user_index, item_index, rating."""
    regularization = regularization_of(indexed, settings)
    is_implicit = settings.feedback == "implicit"
    als = new_als(ratings, settings, regularization=regularization, is_implicit=is_implicit)
    n_blocks = max(als.getNumUserBlocks(), _least_blocks(indexed, settings))
    model = als.setNumBlocks(n_blocks).fit(ratings)
    users = materialize(
        model.userFactors.select(F.col("id").alias(C.INDEX), F.col("features").alias(C.FACTORS))
    )
    items = _factor_matrix(model.itemFactors, indexed.n_items, "id", "features")
    return Factors(users, items, regularization=regularization)


def _least_blocks(indexed: Indexed, settings: Settings) -> int:
    """Blocks of ALS that a task has the memory for."""
    factor_bytes = 4 * settings.n_factors * max(indexed.n_users, indexed.n_items)
    return max(factor_bytes // _BLOCK_BYTES, indexed.n_interactions // _BLOCK_RATINGS) + 1


def regularization_of(indexed: Indexed, settings: Settings) -> float:
    """The penalty of ALS-WR: the setting, or what becomes the interactions."""
    if settings.feedback == "implicit":
        return penalty_of_purchases(settings)
    if settings.regularization is not None:
        return settings.regularization
    n_rated = indexed.n_items - indexed.n_cold
    return biases.regularization_for(indexed.n_interactions, indexed.n_users, n_rated)


def penalty_of_purchases(settings: Settings) -> float:
    """The penalty of ALS-WR for implicit feedback: the setting, or the default."""
    return settings.regularization or _PENALTY_OF_PURCHASES


def new_als(
    ratings: DataFrame, settings: Settings, *, regularization: float, is_implicit: bool
) -> ALS:
    """MLlib's ALS of user_index, item_index, rating, not yet fitted."""
    # Ten blocks, the default, cost a small machine twice the time of one block a core.
    n_blocks = ratings.sparkSession.sparkContext.defaultParallelism
    is_short = settings.n_iterations <= _CHECKPOINT_INTERVAL
    return ALS(
        rank=settings.n_factors,
        maxIter=settings.n_iterations,
        regParam=regularization,
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
    indptr = offsets_of(counts)
    shape = (indexed.n_users, indexed.n_items)
    return sparse.csr_matrix((ratings[order], items[order], indptr), shape=shape)


def _distributed(users: Floats, items: Floats, indexed: Indexed) -> Factors:
    """Factors of this process as those of Spark are."""
    flat = pa.array(users.ravel(), pa.float32())
    rows = pa.FixedSizeListArray.from_arrays(flat, users.shape[1]).cast(pa.list_(pa.float32()))
    table = pa.table({C.INDEX: pa.array(np.arange(len(users)), pa.int32()), C.FACTORS: rows})
    return Factors(materialize(indexed.interactions.sparkSession.createDataFrame(table)), items)


def _factor_matrix(frame: DataFrame, n_rows: int, index: str, factors: str) -> Floats:
    """The factors of a frame as one array, row i for index i."""
    matrix = np.zeros((n_rows, 0), np.float32)
    for batch in batches_of(materialize(frame.select(index, factors))):
        flat = batch.column(factors).flatten().to_numpy()
        if batch.num_rows and not matrix.size:
            matrix = np.zeros((n_rows, len(flat) // batch.num_rows), np.float32)
        matrix[batch.column(index).to_numpy()] = flat.reshape(batch.num_rows, -1)
    return matrix
