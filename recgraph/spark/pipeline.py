"""Reviews -> predicted ratings, as one Spark ML pipeline: ids to indices, ALS, prediction.

`recgraph train` predicts better, from biases and ALS on the rest (`recgraph.spark.model`); this is
the whole of it as one object, to be saved, loaded elsewhere and asked with nothing but Spark.
"""

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import StringIndexer
from pyspark.sql import DataFrame

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.spark.model import new_als

PREDICTION = "prediction"
"""Column of the predicted ratings."""
_REGULARIZATION = 0.1
"""As MLlib has it, where the setting leaves it open."""


def fit_ratings(ratings: DataFrame, settings: Settings) -> PipelineModel:
    """The pipeline, fitted to user_id, item_id, rating: it adds `PREDICTION` to user_id, item_id.

    A user or an item that is not in the ratings has no prediction: its rows are left out. The
    labels of the ids are held on the driver.
    """
    penalty = settings.regularization or _REGULARIZATION
    als = new_als(ratings, settings, regularization=penalty, is_implicit=False)
    indexers = [
        StringIndexer(inputCol=column, outputCol=index, handleInvalid="skip")
        for column, index in ((C.USER_ID, C.USER_INDEX), (C.ITEM_ID, C.ITEM_INDEX))
    ]
    return Pipeline(stages=[*indexers, als]).fit(ratings)
