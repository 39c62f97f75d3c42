"""Reviews -> predicted ratings, as one Spark ML pipeline: ids to indices, ALS, prediction.

`recgraph train` predicts better, from biases and ALS on the rest (`recgraph.spark.model`); this is
the whole of it as one object, to be saved, loaded elsewhere and asked with nothing but Spark.
"""

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import StringIndexer
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.spark.model import CHECKPOINT_INTERVAL, NO_CHECKPOINTS

PREDICTION = "prediction"
"""Column of the predicted ratings."""


def fit_ratings(ratings: DataFrame, settings: Settings) -> PipelineModel:
    """The pipeline, fitted to user_id, item_id, rating: it adds `PREDICTION` to user_id, item_id.

    A user or an item that is not in the ratings has no prediction: its rows are left out. The
    labels of the ids are held on the driver.
    """
    n_blocks = ratings.sparkSession.sparkContext.defaultParallelism
    is_short = settings.n_iterations <= CHECKPOINT_INTERVAL
    als = ALS(
        rank=settings.n_factors,
        maxIter=settings.n_iterations,
        regParam=settings.regularization,
        seed=settings.seed,
        numUserBlocks=n_blocks,
        numItemBlocks=n_blocks,
        checkpointInterval=NO_CHECKPOINTS if is_short else CHECKPOINT_INTERVAL,
        coldStartStrategy="drop",
        userCol=C.USER_INDEX,
        itemCol=C.ITEM_INDEX,
        ratingCol=C.RATING,
    )
    indexers = [
        StringIndexer(inputCol=column, outputCol=index, handleInvalid="skip")
        for column, index in ((C.USER_ID, C.USER_INDEX), (C.ITEM_ID, C.ITEM_INDEX))
    ]
    return Pipeline(stages=[*indexers, als]).fit(ratings)
