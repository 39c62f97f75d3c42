"""Our lists against MLlib's, on the same data in one run; prints a ratio.

``python -m tests.benchmarks.bench_spark [N_EVENTS]`` (all of Complete Journey by default). The
order alternates from round to round, so that a machine that slows down slows both.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import typer
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recgraph import jobs, sources
from recgraph.config import Settings, load_settings
from recgraph.spark import blend
from recgraph.spark.model import index_interactions
from recgraph.spark.recommend import recommend_top_k
from recgraph.spark.scratch import materialize
from recgraph.stages import Stages

N_ROUNDS = 3


def pairs_of(spark: SparkSession, n_events: int | None) -> DataFrame:
    """Interactions of Complete Journey: purchases counted per household and product."""
    table = spark.read.parquet(str(sources.complete_journey_file("transactions")))
    if n_events is not None:
        table = table.orderBy("transaction_timestamp").limit(n_events)
    pairs = (
        table.where("quantity > 0")
        .groupBy(F.col("household_id").alias("user_id"), F.col("product_id").alias("item_id"))
        .agg(F.count("*").cast("float").alias("rating"), F.count("*").alias("n_events"))
    )
    names = ("recent_rating", "repeat_rating", "early_rating")
    ratings = [f"rating as {name}" for name in names]
    return pairs.selectExpr("*", *ratings, "true as is_bought", "current_timestamp() as last_at")


def mllib(pairs: DataFrame, settings: Settings, **blocks: int) -> ALSModel:
    """MLlib as its documentation shows it: same model, its own blocks unless given."""
    als = ALS(
        rank=settings.n_factors,
        maxIter=settings.n_iterations,
        regParam=settings.regularization,
        alpha=settings.alpha,
        implicitPrefs=True,
        seed=settings.seed,
        userCol="user_index",
        itemCol="item_index",
        ratingCol="rating",
        **blocks,
    )
    model = als.fit(pairs)
    model.userFactors.count()
    return model


def seconds(job: Callable[[], object]) -> float:
    """How long a job takes."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    """Print medians and the median of the ratios, pair by pair."""
    pairs = []
    for number in range(N_ROUNDS):
        order = [ours, theirs] if number % 2 == 0 else [theirs, ours]
        taken = [seconds(job) for job in order]
        pairs.append(taken if number % 2 == 0 else taken[::-1])
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(theirs_s / ours_s for ours_s, theirs_s in pairs)
    typer.echo(f"{name}: ours {a:.2f} s, MLlib {b:.2f} s, MLlib / ours {ratio:.2f}")


def main(n_events: int | None) -> None:
    """Run the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        # ALS alone, as in MLlib: the walk has no counterpart there.
        alone: dict[str, object] = {"n_factors": 32, "walk_weight": 0.0, "repeat_weight": 0.0}
        settings = load_settings(data_dir=Path(folder), driver_memory="4g", **alone)
        with jobs.open_spark(settings, Stages()) as spark:
            indexed = index_interactions(pairs_of(spark, n_events))
            sizes = (indexed.n_users, indexed.n_items, indexed.n_interactions)
            typer.echo("{:,} users, {:,} items, {:,} interactions".format(*sizes))
            ours, model = blend.fit(indexed, settings), mllib(indexed.interactions, settings)
            gathered = seconds(lambda: materialize(blend.with_bought(ours.factors.users, indexed)))
            typer.echo(f"gathering what each user bought: {gathered:.2f} s")
            compare(
                f"top {settings.k} for every user (ours leaves out what was bought)",
                lambda: recommend_top_k(ours, settings),
                lambda: (
                    model.recommendForAllUsers(settings.k)
                    .write.mode("overwrite")
                    .parquet(f"{folder}/mllib-lists")
                ),
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
