"""Interactions -> ratings as ALS is given them: `recgraph.transforms` on Spark, at any size."""

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.model import Floats
from recgraph.spark.scratch import materialize
from recgraph.transforms import BM25_B, BM25_K, Fitted

_ACCURACY = 1_000_000
"""Of the quantile: its rank is off by one part in so many."""


def fit(interactions: DataFrame, n_items: int, settings: Settings) -> Fitted:
    """The transform that the settings name, for these ratings: `recgraph.transforms.fit`."""
    if settings.transform == "cap":
        return Fitted("cap", cap=_cap(interactions, settings.rating_cap))
    if settings.transform == "bm25":
        return _fit_bm25(interactions, n_items)
    return Fitted(settings.transform)


def transformed(interactions: DataFrame, fitted: Fitted) -> DataFrame:
    """The interactions with their ratings as ALS is given them, in the same order."""
    if fitted.name == "bm25":
        return _bm25(interactions, fitted)
    rating = F.col(C.RATING)
    columns: dict[str, Column] = {
        "count": rating,
        "log": F.log1p(rating),
        "binary": F.least(rating, F.lit(1.0)),
        "cap": F.least(rating, F.lit(float(fitted.cap))),
    }
    return interactions.withColumn(C.RATING, columns[fitted.name].cast("float"))


def _cap(interactions: DataFrame, cap: float) -> float:
    if cap >= 1:
        return cap
    row = interactions.agg(F.percentile_approx(C.RATING, cap, _ACCURACY)).first()
    assert row is not None  # an aggregate without groups has one row
    return float(row[0])


def _fit_bm25(interactions: DataFrame, n_items: int) -> Fitted:
    counted = interactions.groupBy(C.ITEM_INDEX).count().toArrow()
    sums = interactions.agg(F.countDistinct(C.USER_INDEX), F.sum(C.RATING)).first()
    assert sums is not None  # an aggregate without groups has one row
    items = counted.column(C.ITEM_INDEX).to_numpy()
    n_having = np.ones(n_items)
    n_having[items] = counted.column("count").to_numpy()
    weights: Floats = np.log((sums[0] + 1) / n_having).astype(np.float32)
    return Fitted("bm25", item_weights=weights, mean_sum=sums[1] / sums[0])


def _bm25(interactions: DataFrame, fitted: Fitted) -> DataFrame:
    """As `recgraph.transforms` has the formula; sorted as before, so that fits repeat exactly."""
    assert fitted.item_weights is not None  # `fit` gave them
    items = pa.array(np.arange(len(fitted.item_weights)), pa.int32())
    table = pa.table({C.ITEM_INDEX: items, C.WEIGHT: fitted.item_weights})
    weights = interactions.sparkSession.createDataFrame(table)
    sums = interactions.groupBy(C.USER_INDEX).agg(F.sum(C.RATING).alias("sum"))
    share = F.col("sum") / fitted.mean_sum
    damping = BM25_K * (1 - BM25_B + BM25_B * share)
    rating = F.col(C.RATING) * (BM25_K + 1) / (F.col(C.RATING) + damping) * F.col(C.WEIGHT)
    joined = interactions.join(sums, C.USER_INDEX).join(weights, C.ITEM_INDEX)
    return materialize(
        joined.withColumn(C.RATING, rating.cast("float"))
        .select(*interactions.columns)
        .repartition(C.USER_INDEX)
        .sortWithinPartitions(C.USER_INDEX, C.ITEM_INDEX)
    )
