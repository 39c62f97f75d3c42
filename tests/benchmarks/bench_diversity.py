"""What variety costs on Complete Journey: caps, discounts and cold products; prints a table.

``python -m tests.benchmarks.bench_diversity [FILE]``. A model is fitted on everything but the last
28 days, with the settings of the environment; it and what was bought afterwards are kept in FILE,
so that a second run with the same FILE fits nothing. Each row is the same model under another rule,
measured on first-time purchases of the same users: nDCG@10, and how the lists spread.
"""

import pickle
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy import sparse

from recgraph import blend, catalogue, content, evaluation, jobs, lists, metrics, sources, walk
from recgraph.blend import Coefficients
from recgraph.config import Settings, load_settings
from recgraph.model import Floats, Matrix, Ragged
from recgraph.ports import Product
from recgraph.spark import blend as spark_blend
from recgraph.spark.interactions import interactions_from_events, training_interactions
from recgraph.spark.model import index_interactions
from recgraph.stages import Stages
from recgraph.weighing import weighing_from_settings

K = 10
TEST_DAYS = 28
USERS_A_BLOCK = 250


class Case(NamedTuple):
    """A fitted model, and what its users bought afterwards."""

    products: list[Product]
    n_cold: int
    users: pa.RecordBatch
    """Rows of `Model.users` of those who bought something afterwards."""
    test: Matrix
    """``(n_users, n_items)``."""
    side: spark_blend.Side
    popularity: Floats


class Variant(NamedTuple):
    """One row of the table."""

    name: str
    cap: int | None = None
    discount: float = 0.0
    cold_weight: float = 0.0


VARIANTS = (
    Variant("as it is"),
    *(Variant(f"at most {cap} of a category", cap=cap) for cap in (5, 3, 2, 1)),
    *(Variant(f"popularity discount {d}", discount=d) for d in (0.05, 0.1, 0.2, 0.4)),
    Variant("at most 3, discount 0.1", cap=3, discount=0.1),
    *(Variant(f"cold products, weight {w}", cold_weight=w) for w in (0.02, 0.05, 0.1, 0.5)),
)


def events_of(spark: SparkSession) -> tuple[DataFrame, DataFrame]:
    """Purchases before and after the cut."""
    table = spark.read.parquet(str(sources.complete_journey_file("transactions"))).select(
        F.col("household_id").cast("string").alias("user_id"),
        F.col("product_id").cast("string").alias("product_id"),
        F.col("quantity").cast("double").alias("quantity"),
        F.lit(None).cast("double").alias("rating"),
        F.lit("purchase").alias("kind"),
        F.col("transaction_timestamp").cast("timestamp").alias("occurred_at"),
    )
    last = table.agg(F.max("occurred_at")).first()[0]
    is_test = F.col("occurred_at") >= F.lit(last - timedelta(days=TEST_DAYS))
    return table.where(~is_test), table.where(is_test)


def fit(settings: Settings) -> Case:
    """The model of what was bought before the cut, without cold items: these are added here."""
    products = products_of_catalogue()
    with jobs.open_spark(settings, Stages()) as spark:
        before, after = events_of(spark)
        indexed = index_interactions(training_interactions(before, settings))
        model = spark_blend.fit(indexed, settings)
        test = interactions_from_events(after, weighing_from_settings(settings))
        users = model.users.orderBy("index").toArrow().combine_chunks()
        found = {
            side: getattr(indexed, f"{side}s").orderBy(f"{side}_index").toPandas()[f"{side}_id"]
            for side in ("user", "item")
        }
        bought = test.where("is_bought").select("user_id", "item_id").toPandas()
        (batch,) = users.to_batches()
        return case_of(model.side, batch, found, bought, products, model.buyers.ever)


def case_of(
    side: spark_blend.Side,
    batch: pa.RecordBatch,
    found: dict[str, pd.Series],
    bought: pd.DataFrame,
    products: dict[str, Product],
    popularity: Floats,
) -> Case:
    """The case, with all cold products that the settings allow.

    Parameters
    ----------
    batch
        Rows of `Model.users` of all users.
    found
        The ids of each ``user`` and ``item``, by index.
    bought
        user_id, item_id: what was bought afterwards.
    """
    cold = content.cold_items(products, found["item"], load_settings().max_cold_items)
    ids = [*found["item"], *cold]
    of_items = [products.get(each) or Product(each) for each in ids]
    users = bought["user_id"].map({each: n for n, each in enumerate(found["user"])})
    items = bought["item_id"].map({each: n for n, each in enumerate(ids)})
    known = users.notna() & items.notna()
    places = users[known].astype(int), items[known].astype(int)
    test = sparse.csr_matrix((np.ones(known.sum()), places), shape=(len(found["user"]), len(ids)))
    asked = np.flatnonzero(np.diff(test.indptr))
    return Case(
        of_items,
        len(cold),
        batch.take(pa.array(asked)),
        test[asked],
        with_cold(side, of_items, len(cold)),
        np.pad(popularity, (0, len(cold))),
    )


def products_of_catalogue() -> dict[str, Product]:
    """The catalogue of Complete Journey."""
    columns = {name: name for name in Product.__struct_fields__}
    return catalogue.read_products(sources.COMPLETE_JOURNEY, columns, max_id_length=256)[0]


def with_cold(side: spark_blend.Side, products: list[Product], n_cold: int) -> spark_blend.Side:
    """The item side with cold items behind: no factors, no walk, but content."""
    n_items = len(products)
    is_cold = np.arange(n_items) >= n_items - n_cold
    features = content.features(products)
    steps = content.item_steps(features, is_cold, only_cold=True)
    similar = content.similar(walk.item_neighbours(steps, 50), is_cold)
    near = side.items.neighbours.copy()
    near.resize(n_items, n_items)
    factors = np.pad(side.items.factors, ((0, n_cold), (0, 0)))
    items = blend.Items(factors, near, similar)
    return side._replace(items=items, item_sums=np.pad(side.item_sums, (0, n_cold)))


def blocks_of(case: Case) -> Iterator[tuple[blend.Users, Ragged, Matrix]]:
    """Users, what each has seen and bought afterwards, block by block."""
    for start in range(0, case.users.num_rows, USERS_A_BLOCK):
        users = spark_blend.users_of(case.users.slice(start, USERS_A_BLOCK), case.side)
        seen = Ragged.of(users.repeats)
        yield users, seen, case.test[start : start + USERS_A_BLOCK]


def measure(case: Case) -> None:
    """Print the table."""
    n_items = len(case.products)
    first = next(blocks_of(case))[0]
    sized = blend.coefficients_from_weights(Coefficients(content=1.0), first, case.side.items)
    categories = lists.codes_of([each.category for each in case.products]).items
    places = {each.name: np.zeros(n_items, np.int64) for each in VARIANTS}
    ndcg: dict[str, list[np.ndarray]] = {each.name: [] for each in VARIANTS}
    for users, seen, test in blocks_of(case):
        bought = Ragged.of(test)
        new = evaluation.without(bought, seen, n_items=n_items)
        n_relevant = np.diff(new.offsets)
        asked = n_relevant > 0
        for each in VARIANTS:
            counts = case.side.coefficients._replace(
                repeat=0.0, content=each.cold_weight * sized.content
            )
            discount = blend.popularity_discount(case.popularity, each.discount)
            scores = blend.score(users, case.side.items._replace(discount=discount), counts)
            rules = lists.Rules(K, categories, each.cap)
            top = lists.choose(scores._replace(left_out=users.repeats), rules).items[asked]
            hit = metrics.hits(top, new_of(new, asked), n_items=n_items)
            ndcg[each.name].append(metrics.ranking_by_user(hit, n_relevant[asked]).ndcg)
            places[each.name] += np.bincount(top[top >= 0], minlength=n_items)
    typer.echo("| rule | nDCG@10 | change | items shown | coverage | Gini | cold places |")
    typer.echo("|---|---|---|---|---|---|---|")
    base = float(np.mean(np.concatenate(ndcg[VARIANTS[0].name])))
    for each in VARIANTS:
        mean, counts = float(np.mean(np.concatenate(ndcg[each.name]))), places[each.name]
        cold = counts[n_items - case.n_cold :].sum() / counts.sum()
        typer.echo(
            f"| {each.name} | {mean:.4f} | {mean / base - 1:+.1%} | {(counts > 0).sum():,} "
            f"| {metrics.coverage(counts):.1%} | {metrics.gini(counts):.4f} | {cold:.1%} |"
        )


def new_of(rows: Ragged, asked: np.ndarray) -> Ragged:
    """Some of the rows."""
    counts = np.diff(rows.offsets)
    kept = np.repeat(asked, counts)
    return Ragged(np.concatenate(([0], np.cumsum(counts[asked]))), rows.items[kept])


def main(path: Path) -> None:
    """Fit, unless the file holds the fit, and measure."""
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            case = fit(load_settings(data_dir=Path(folder), driver_memory="3g", max_cold_items=0))
        path.write_bytes(pickle.dumps(case))
    measure(pickle.loads(path.read_bytes()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "case.pkl")
