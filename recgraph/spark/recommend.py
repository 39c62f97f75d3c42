"""Factors -> top-N lists for every user, and the evaluation of such lists, in blocks of users.

Each Spark task scores a block of users against all items with one matrix product, in NumPy, and
holds no more than ``max_score_block_mb`` of scores at once. The item factors are broadcast:
every Python worker holds 4 * n_items * n_factors bytes of them.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph import evaluation
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.evaluation import Block
from recgraph.generations import ErrorMetrics, RankingMetrics
from recgraph.model import Floats, Ragged, mask, score_users, top_k
from recgraph.spark.model import Factors, Indexed
from recgraph.spark.scratch import materialize

_SEEN, _SEEN_RATINGS = "seen_items", "seen_ratings"
_TEST, _TEST_RATINGS = "test_items", "test_ratings"

_LISTS = "user_index int, item_index int, rank int, score float"
_EVALUATED = (
    "task string, recommender string, k int, ndcg double, recall double, items array<int>, "
    "n_pairs long, squared double, absolute double"
)


def recommend_top_k(factors: Factors, indexed: Indexed, settings: Settings) -> DataFrame:
    """The k best items of every user: user_index, item_index, rank from 1, score.

    With ``settings.exclude_seen`` the items that users bought are left out of their lists; one
    that a user only viewed may be recommended. Who bought nearly everything gets a shorter list.
    """
    # A mask needs neither ratings nor order, which `_lists_by_user` would sort for.
    items = F.collect_list(C.ITEM_INDEX).alias(_SEEN)
    seen = _bought(indexed).groupBy(F.col(C.USER_INDEX).alias(C.INDEX)).agg(items)
    users = factors.users.join(seen, C.INDEX, "left").withColumn(_SEEN, _or_empty(_SEEN, "int"))
    n_rows = _rows_per_block(indexed.n_items, settings)
    k, exclude_seen = settings.k, settings.exclude_seen
    item_factors = indexed.interactions.sparkSession.sparkContext.broadcast(factors.items)

    def recommend(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in _blocks(batches, n_rows):
            scores = score_users(_matrix(batch, C.FACTORS), item_factors.value)
            if exclude_seen:
                mask(scores, _ragged(batch, _SEEN))
            yield _list_rows(batch.column(C.INDEX).to_numpy(), *top_k(scores, k))

    return materialize(users.mapInArrow(recommend, _LISTS))


def _list_rows(users: Any, items: Any, scores: Floats) -> pa.RecordBatch:
    rows, positions = np.nonzero(items >= 0)
    columns = {
        C.USER_INDEX: pa.array(users[rows], pa.int32()),
        C.ITEM_INDEX: pa.array(items[rows, positions], pa.int32()),
        C.RANK: pa.array(positions + 1, pa.int32()),
        C.SCORE: pa.array(scores[rows, positions], pa.float32()),
    }
    return pa.RecordBatch.from_pydict(columns)


def evaluate(
    factors: Factors, train: Indexed, test: DataFrame, settings: Settings
) -> tuple[list[RankingMetrics], list[ErrorMetrics]]:
    """How the model and the baselines did on the test period.

    Parameters
    ----------
    factors, train
        The evaluation model and what it was trained on.
    test
        user_id, item_id, rating, is_bought of the test period; only what was bought counts. Users
        and items that ``train`` does not know are left out: nobody can recommend to or of them.
    """
    known = test.where(C.IS_BOUGHT).join(train.users, C.USER_ID).join(train.items, C.ITEM_ID)
    users = _with_lists(
        factors.users,
        _lists_by_user(known, _TEST, _TEST_RATINGS),
        _TEST,
        _TEST_RATINGS,
        how="inner",
    )
    seen = _lists_by_user(_bought(train), _SEEN, _SEEN_RATINGS)
    users = _with_lists(users, seen, _SEEN, _SEEN_RATINGS)
    rows = materialize(users.mapInArrow(_evaluator(factors, train, settings), _EVALUATED))
    return _ranking_metrics(rows, train.n_items), _error_metrics(rows)


def _evaluator(
    factors: Factors, train: Indexed, settings: Settings
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    popularity, mean_rating = _popularity(train), _mean_rating(train)
    context = train.interactions.sparkSession.sparkContext
    broadcast = context.broadcast(evaluation.Items(factors.items, popularity))
    n_rows = _rows_per_block(train.n_items, settings)
    k, seed, is_explicit = settings.k, settings.seed, settings.feedback == "explicit"

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = broadcast.value
        for batch in _blocks(batches, n_rows):
            block = _test_block(batch)
            for ranked in evaluation.rank_block(block, items, k=k):
                yield _ranked_rows(ranked, k)
            if is_explicit:
                errors = evaluation.predict_explicit(block, items, mean_rating=mean_rating)
            else:
                errors = evaluation.predict_implicit(block, items, seed=seed)
            yield _error_rows(errors)

    return run


def _test_block(batch: pa.RecordBatch) -> Block:
    return Block(
        users=batch.column(C.INDEX).to_numpy(),
        factors=_matrix(batch, C.FACTORS),
        seen=_ragged(batch, _SEEN),
        seen_ratings=batch.column(_SEEN_RATINGS).flatten().to_numpy(),
        test=_ragged(batch, _TEST),
        test_ratings=batch.column(_TEST_RATINGS).flatten().to_numpy(),
    )


def _ranked_rows(ranked: evaluation.Ranked, k: int) -> pa.RecordBatch:
    n = len(ranked.ndcg)
    return _evaluated_batch(
        n,
        task=[ranked.task] * n,
        recommender=[ranked.recommender] * n,
        k=[k] * n,
        ndcg=ranked.ndcg,
        recall=ranked.recall,
        items=[row[row >= 0].astype(np.int32) for row in ranked.lists],
    )


def _error_rows(errors: list[evaluation.Errors]) -> pa.RecordBatch:
    return _evaluated_batch(
        len(errors),
        recommender=[each.predictor for each in errors],
        n_pairs=[len(each.errors) for each in errors],
        squared=[float(np.square(each.errors).sum()) for each in errors],
        absolute=[float(np.abs(each.errors).sum()) for each in errors],
    )


_EVALUATED_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("recommender", pa.string()),
        ("k", pa.int32()),
        ("ndcg", pa.float64()),
        ("recall", pa.float64()),
        ("items", pa.list_(pa.int32())),
        ("n_pairs", pa.int64()),
        ("squared", pa.float64()),
        ("absolute", pa.float64()),
    ]
)


def _evaluated_batch(n_rows: int, **columns: Any) -> pa.RecordBatch:
    """A batch of the evaluation's schema; columns that are not given are null."""
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(n_rows, field.type)
        for field in _EVALUATED_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_EVALUATED_SCHEMA)


def _ranking_metrics(rows: DataFrame, n_items: int) -> list[RankingMetrics]:
    ranked = rows.where("task is not null")
    by = ("task", "recommender", "k")
    covered = (
        ranked.select(*by, F.explode("items").alias("item"))
        .groupBy(*by)
        .agg(F.count_distinct("item").alias("covered"))
    )
    means = ranked.groupBy(*by).agg(
        F.count("*").cast("int").alias("n_users"),
        F.avg("ndcg").alias("ndcg"),
        F.avg("recall").alias("recall"),
    )
    found = [row.asDict() for row in means.join(covered, list(by)).orderBy(*by).collect()]
    return [RankingMetrics(coverage=row.pop("covered") / n_items, **row) for row in found]


def _error_metrics(rows: DataFrame) -> list[ErrorMetrics]:
    sums = (
        rows.where("task is null")
        .groupBy("recommender")
        .agg(F.sum("n_pairs").alias("n"), F.sum("squared").alias("s"), F.sum("absolute").alias("a"))
        .where("n > 0")
        .orderBy("recommender")
    )
    return [
        ErrorMetrics(
            row["recommender"], row["n"], float(row["s"] / row["n"]) ** 0.5, row["a"] / row["n"]
        )
        for row in sums.collect()
    ]


def _popularity(train: Indexed) -> Floats:
    """Users who have each item, float32 ``(n_items,)``."""
    counts = _bought(train).groupBy(C.ITEM_INDEX).count().toArrow()
    popularity = np.zeros(train.n_items, np.float32)
    popularity[counts.column(C.ITEM_INDEX).to_numpy()] = counts.column("count").to_numpy()
    return popularity


def _mean_rating(train: Indexed) -> float:
    row = train.interactions.agg(F.avg(C.RATING).alias("mean")).first()
    assert row is not None  # an aggregate without groups has one row
    return float(row["mean"])


def _bought(indexed: Indexed) -> DataFrame:
    """The interactions that are purchases, or ratings, and not only views."""
    return indexed.interactions.where(C.IS_BOUGHT)


def _lists_by_user(pairs: DataFrame, items: str, ratings: str) -> DataFrame:
    """One row a user: index, its items ascending, their ratings in the same order."""
    pair = F.struct(C.ITEM_INDEX, C.RATING)
    grouped = pairs.groupBy(C.USER_INDEX).agg(F.sort_array(F.collect_list(pair)).alias("pairs"))
    return grouped.select(
        F.col(C.USER_INDEX).alias(C.INDEX),
        F.col(f"pairs.{C.ITEM_INDEX}").alias(items),
        F.col(f"pairs.{C.RATING}").alias(ratings),
    )


def _with_lists(
    users: DataFrame, lists: DataFrame, items: str, ratings: str, how: str = "left"
) -> DataFrame:
    """The users with their lists; empty ones where a user has none."""
    joined = users.join(lists, C.INDEX, how)
    return joined.withColumns(
        {items: _or_empty(items, "int"), ratings: _or_empty(ratings, "float")}
    )


def _or_empty(column: str, element: str) -> Column:
    """The lists of a column, empty where it is null."""
    return F.coalesce(column, F.array().cast(f"array<{element}>"))


def _rows_per_block(n_items: int, settings: Settings) -> int:
    return int(max(1, settings.max_score_block_mb * 2**20 // (4 * n_items)))


def _blocks(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def _matrix(batch: pa.RecordBatch, column: str) -> Floats:
    """A list column of equal lengths as one float32 array."""
    flat = batch.column(column).flatten().to_numpy(zero_copy_only=False)
    matrix: Floats = flat.astype(np.float32, copy=False).reshape(batch.num_rows, -1)
    return matrix


def _ragged(batch: pa.RecordBatch, column: str) -> Ragged:
    lists = batch.column(column)
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    return Ragged(np.concatenate(([0], np.cumsum(lengths))), lists.flatten().to_numpy())
