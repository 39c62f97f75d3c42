"""The job of a pipeline that predicts ratings: the table of reviews -> a folder for Spark."""

from pathlib import Path

import msgspec
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import SparkSession

from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.jobs.source import read_source
from recgraph.spark.interactions import training_interactions
from recgraph.spark.pipeline import fit_ratings
from recgraph.spark.scratch import materialize
from recgraph.stages import Stages


class Saved(msgspec.Struct, frozen=True):
    """What a pipeline was fitted to, and where it is."""

    path: str
    ratings: int
    users: int
    items: int
    stages: list[str]


def check_folder(path: Path) -> None:
    """Return if a pipeline can be saved there; asked before Spark is started for nothing.

    Raises
    ------
    InputError
        Something is there already.
    """
    if path.exists():
        message = f"{path} is there already. Remove it, or name another folder."
        raise InputError(message)


def save_pipeline(spark: SparkSession, settings: Settings, path: Path, stages: Stages) -> Saved:
    """Fit ids, ALS and prediction to the last rating of each pair, and save them as one.

    Raises
    ------
    NoInteractionsError
        There are no reviews.
    """
    with stages("read", "reading reviews"):
        events = read_source(spark, settings).events
        ratings = training_interactions(events, settings).select(C.USER_ID, C.ITEM_ID, C.RATING)
        ratings = materialize(ratings)
    with stages("fit", "fitting the pipeline"):
        fitted = fit_ratings(ratings, settings)
    with stages("write", f"writing {path}"):
        fitted.save(str(path.absolute()))
    als = fitted.stages[-1]
    assert isinstance(als, ALSModel)
    return Saved(
        path=str(path),
        ratings=ratings.count(),
        users=als.userFactors.count(),
        items=als.itemFactors.count(),
        stages=[type(stage).__name__ for stage in fitted.stages],
    )
