"""A model and the test period -> ranking metrics and errors, beside the baselines.

Spark tasks run `recgraph.evaluation` on blocks of test users. What comes to the driver is, for
each task and recommender, how often each item was recommended and each nDCG reached.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recgraph import evaluation, metrics
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.evaluation import Block, Items
from recgraph.generations import ErrorMetrics, RankingMetrics
from recgraph.lists import rules_of
from recgraph.model import Ints
from recgraph.spark.blend import RATINGS, SEEN, Model, Side, users_of
from recgraph.spark.blocks import (
    blocks,
    lists_by_user,
    ragged,
    rows_per_block,
    with_lists,
)
from recgraph.spark.model import Indexed
from recgraph.spark.predicted import PREDICTED, error_metrics, errors_of_unknown
from recgraph.spark.recommend import pool_of
from recgraph.spark.scratch import materialize

_TEST, _TEST_RATINGS = "test_items", "test_ratings"

_BY = ("task", "recommender")
_BY_USER = metrics.ByUser._fields
_EVALUATED = (
    f"task string, recommender string, {', '.join(f'{name} double' for name in _BY_USER)}, "
    "items array<int>, user string, n_pairs long, n_known long, squared double, absolute double"
)
_EVALUATED_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _BY),
        *((name, pa.float64()) for name in _BY_USER),
        ("items", pa.list_(pa.int32())),
        ("user", pa.string()),
        ("n_pairs", pa.int64()),
        ("n_known", pa.int64()),
        ("squared", pa.float64()),
        ("absolute", pa.float64()),
    ]
)
"""The same as Arrow has it: a row a user and recommender, or a user and predictor."""


def evaluate(
    model: Model, test: DataFrame, settings: Settings
) -> tuple[list[RankingMetrics], list[ErrorMetrics]]:
    """How the model, its parts and the baselines did on the test period.

    Parameters
    ----------
    model
        The evaluation model, trained on what was before.
    test
        user_id, item_id, rating, is_bought of the test period; only what was bought counts. Users
        and items that the model does not know are left out of the lists: nobody can recommend to
        or of them. What they are rated can be predicted all the same.
    """
    train = model.indexed
    known = test.where(C.IS_BOUGHT).join(train.users, C.USER_ID).join(train.items, C.ITEM_ID)
    relevant = materialize(lists_by_user(known, {C.ITEM_INDEX: _TEST, C.RATING: _TEST_RATINGS}))
    users = with_lists(model.users, relevant, how="inner")
    rules = rules_of(train.products, train.n_items, settings)._replace(hidden=None)
    pool = pool_of(model, settings)
    if pool is not None:
        rules = rules._replace(hidden=np.setdiff1d(np.arange(train.n_items), pool))
    ranked = _ranked_users(relevant, settings)
    items = Items(model.side.items, model.buyers.ever, model.buyers.lately, rules)
    scale = _scale(train)
    rows = materialize(
        users.mapInArrow(_evaluator(model, items, scale, ranked, settings), _EVALUATED)
    )
    errors = rows.where("task is null").select(*PREDICTED)
    if settings.feedback == "explicit":
        errors = errors.union(errors_of_unknown(model, test, scale))
    return _ranking_metrics(rows, items, train.n_users, settings), error_metrics(errors)


def _ranked_users(relevant: DataFrame, settings: Settings) -> Ints:
    """Indices of the users whose lists are measured: always the same, at most so many."""
    draw = F.xxhash64(C.INDEX, F.lit(settings.seed))
    drawn = relevant.select(C.INDEX).orderBy(draw).limit(settings.max_ranked_users)
    found: Ints = drawn.toArrow().column(C.INDEX).to_numpy()
    return found


def _scale(train: Indexed) -> evaluation.Scale:
    row = train.interactions.agg(F.avg(C.RATING), F.min(C.RATING), F.max(C.RATING)).first()
    assert row is not None  # an aggregate without groups has one row
    return evaluation.Scale(*map(float, row))


def _evaluator(
    model: Model, items: Items, scale: evaluation.Scale, ranked: Ints, settings: Settings
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    context = model.indexed.interactions.sparkSession.sparkContext
    broadcast = context.broadcast((items, model.side, ranked))
    n_rows = rows_per_block(model.indexed.n_items, model.side.coefficients, settings)
    k, seed, is_explicit = settings.k, settings.seed, settings.feedback == "explicit"

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items, side, ranked = broadcast.value
        asked = []
        for batch in batches:
            is_ranked = np.isin(batch.column(C.INDEX).to_numpy(), ranked)
            asked.append(batch.filter(pa.array(is_ranked)))
            block = _test_block(batch, side)
            if is_explicit:
                errors = evaluation.predict_explicit(block, items, scale)
            else:
                errors = evaluation.predict_implicit(block, items, seed=seed)
            yield _error_rows(errors, block.users)
        measured = evaluation.recommenders(side.coefficients)
        # Together: a pass over all items costs hardly more for a hundred users than for one.
        for some in blocks([pa.concat_batches(asked)] if asked else [], n_rows):
            block = _test_block(some, side)
            for lists in evaluation.rank_block(block, items, k=k, recommenders=measured):
                yield _ranked_rows(lists)

    return run


def _test_block(batch: pa.RecordBatch, side: Side) -> Block:
    return Block(
        users=batch.column(C.INDEX).to_numpy(),
        signals=users_of(batch, side),
        seen=ragged(batch, SEEN),
        seen_ratings=batch.column(RATINGS).flatten().to_numpy(),
        test=ragged(batch, _TEST),
        test_ratings=batch.column(_TEST_RATINGS).flatten().to_numpy(),
    )


def _ranked_rows(ranked: evaluation.Ranked) -> pa.RecordBatch:
    n = len(ranked.lists)
    return _evaluated_batch(
        n,
        task=[ranked.task] * n,
        recommender=[ranked.recommender] * n,
        items=[row[row >= 0].astype(np.int32) for row in ranked.lists],
        **metrics.ranking_by_user(ranked.hit, ranked.n_relevant)._asdict(),
    )


def _error_rows(errors: list[evaluation.Errors], users: Ints) -> pa.RecordBatch:
    """A row a user and predictor."""
    columns: dict[str, list[Any]] = {name: [] for name in PREDICTED}
    for each in errors:
        n_pairs = np.bincount(each.users, minlength=len(users))
        asked = n_pairs > 0
        columns["recommender"] += [each.predictor] * int(asked.sum())
        for name, of_pairs in (("squared", np.square(each.errors)), ("absolute", abs(each.errors))):
            columns[name] += np.bincount(each.users, of_pairs, len(users))[asked].tolist()
        columns["user"] += users[asked].astype(str).tolist()
        columns["n_pairs"] += n_pairs[asked].tolist()
        columns["n_known"] += n_pairs[asked].tolist()
    return _evaluated_batch(len(columns["recommender"]), **columns)


def _evaluated_batch(n_rows: int, **columns: Any) -> pa.RecordBatch:
    """A batch of the evaluation's schema; columns that are not given are null."""
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(n_rows, field.type)
        for field in _EVALUATED_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_EVALUATED_SCHEMA)


def _ranking_metrics(
    rows: DataFrame, items: Items, n_users: int, settings: Settings
) -> list[RankingMetrics]:
    ranked = rows.where("task is not null")
    n, averages = F.count("*").cast("int"), (F.avg(name).alias(name) for name in _BY_USER)
    means = ranked.groupBy(*_BY).agg(n.alias("n_users"), *averages).orderBy(*_BY).collect()
    ndcg = _counted(ranked.select(*_BY, F.col("ndcg").alias("value")))
    places = _counted(ranked.select(*_BY, F.explode("items").alias("value")))
    return [
        RankingMetrics(
            k=settings.k,
            **row.asDict(),
            **_ndcg_interval(_of(ndcg, row), settings.seed),
            **metrics.list_metrics(
                _places(_of(places, row), items), items.popularity, n_users=n_users
            )._asdict(),
        )
        for row in means
    ]


def _counted(values: DataFrame) -> pd.DataFrame:
    """How often each value comes up, on the driver: task, recommender, value, count."""
    found: pd.DataFrame = values.groupBy(*_BY, "value").count().toArrow().to_pandas()
    return found


def _of(counted: pd.DataFrame, row: Row) -> pd.DataFrame:
    """The rows of one task and recommender; none where all its lists are empty."""
    is_same = (counted["task"] == row["task"]) & (counted["recommender"] == row["recommender"])
    found: pd.DataFrame = counted[is_same]
    return found


def _ndcg_interval(counted: pd.DataFrame, seed: int) -> dict[str, Any]:
    ndcg = np.repeat(counted["value"].to_numpy(np.float64), counted["count"].to_numpy())
    interval = metrics.bootstrap_interval(ndcg, seed=seed)
    return {"ndcg_low": interval.low, "ndcg_high": interval.high}


def _places(counted: pd.DataFrame, items: Items) -> Ints:
    """How often each item is recommended, int64 ``(n_items,)``."""
    counts = np.zeros(len(items.popularity), np.int64)
    counts[counted["value"]] = counted["count"]
    return counts
