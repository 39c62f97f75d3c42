"""Errors of predictions, a row a user and predictor -> RMSE and MAE with their intervals.

A rating can be predicted for users and items that training has never seen: what is not known has
no bias and no taste. In data as sparse as reviews these are most pairs of a test by time.
"""

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.evaluation import ALS, BIASES, CONSTANT, Scale
from recgraph.generations import ErrorMetrics
from recgraph.intervals import UserSums, interval_of_users, root
from recgraph.metrics import Interval
from recgraph.spark.blend import Model

PREDICTED = ("user", "recommender", "n_pairs", "n_known", "squared", "absolute")
"""Columns of errors: whose, who predicts, pairs of the user, those of them that training knows, and
the sums of the squared and of the absolute errors."""


def error_metrics(errors: DataFrame) -> list[ErrorMetrics]:
    """RMSE and MAE of each predictor over the pairs of all users.

    A user may have a row for the pairs that training knows and one for the others.
    """
    sums_of_user = (F.sum(name).alias(name) for name in PREDICTED[2:])
    by_user = errors.groupBy("user", "recommender").agg(*sums_of_user)
    n = F.col("n_pairs").cast("double")
    sums = {"pairs": n, "known": F.col("n_known"), "pairs_2": n * n}
    for name in ("squared", "absolute"):
        value = F.col(name)
        sums |= {name: value, f"{name}_pairs": n * value, f"{name}_2": value * value}
    rows = (
        by_user.groupBy("recommender")
        .agg(F.count("*").alias("users"), *(F.sum(each).alias(name) for name, each in sums.items()))
        .where("pairs > 0")
        .orderBy("recommender")
    )
    return [_metrics_of(row) for row in rows.collect()]


def _metrics_of(row: Row) -> ErrorMetrics:
    squared, absolute = _interval(row, "squared"), _interval(row, "absolute")
    around = None if squared is None else root(squared)
    return ErrorMetrics(
        predictor=row["recommender"],
        n_pairs=int(row["pairs"]),
        rmse=(row["squared"] / row["pairs"]) ** 0.5,
        mae=row["absolute"] / row["pairs"],
        n_known=row["known"],
        rmse_low=around and around.low,
        rmse_high=around and around.high,
        mae_low=absolute and absolute.low,
        mae_high=absolute and absolute.high,
    )


def _interval(row: Row, name: str) -> Interval | None:
    return interval_of_users(
        UserSums(
            n_users=row["users"],
            counts=row["pairs"],
            values=row[name],
            squared_counts=row["pairs_2"],
            products=row[f"{name}_pairs"],
            squared_values=row[f"{name}_2"],
        )
    )


def errors_of_unknown(model: Model, test: DataFrame, scale: Scale) -> DataFrame:
    """Errors on the pairs whose user or item is not in training: `PREDICTED`.

    Parameters
    ----------
    test
        user_id, item_id, rating of the test period.
    """
    known = F.col(C.USER_INDEX).cast("string")
    user = F.coalesce(known, F.concat(F.lit("unknown "), C.USER_ID))
    pairs = test.join(_user_bases(model), C.USER_ID, "left").join(
        _item_biases(model), C.ITEM_ID, "left"
    )
    base = F.coalesce("user_base", F.lit(scale.mean)) + F.coalesce("item_bias", F.lit(0.0))
    clipped = F.least(F.greatest(base, F.lit(scale.lowest)), F.lit(scale.highest))
    predictions = {ALS: clipped, BIASES: clipped, CONSTANT: F.lit(scale.mean)}
    unknown = pairs.where("user_base is null or item_bias is null")
    return _errors(unknown.withColumn("user", user), predictions)


def _errors(pairs: DataFrame, predictions: dict[str, Column]) -> DataFrame:
    each = [
        F.struct(F.lit(name).alias("recommender"), (predicted - F.col(C.RATING)).alias("error"))
        for name, predicted in predictions.items()
    ]
    errors = pairs.select("user", F.explode(F.array(*each)).alias("each"))
    error = F.col("each.error")
    return (
        errors.groupBy("user", "each.recommender")
        .agg(
            F.count("*").alias("n_pairs"),
            F.sum(error * error).alias("squared"),
            F.sum(F.abs(error)).alias("absolute"),
        )
        .withColumn("n_known", F.lit(0).cast("long"))
        .select(*PREDICTED)
    )


def _user_bases(model: Model) -> DataFrame:
    """user_id, user_index and ``user_base``: mean and user's bias, the last of its factors."""
    factors = model.factors.users.select(
        F.col(C.INDEX).alias(C.USER_INDEX), F.element_at(C.FACTORS, -1).alias("user_base")
    )
    return model.indexed.users.join(factors, C.USER_INDEX).select(
        C.USER_ID, C.USER_INDEX, "user_base"
    )


def _item_biases(model: Model) -> DataFrame:
    """item_id and ``item_bias``, the last but one of its joined factors."""
    biases = model.factors.items[:, -2].astype(np.float64)
    rows = pa.table({C.ITEM_INDEX: np.arange(len(biases), dtype=np.int32), "item_bias": biases})
    items = model.indexed.items
    frame = items.sparkSession.createDataFrame(rows)
    return items.join(frame, C.ITEM_INDEX).select(C.ITEM_ID, "item_bias")
