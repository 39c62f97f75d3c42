"""Products with what is said of them -> one sparse vector each, by one Spark ML pipeline.

The vector holds the words of the reviews (hashed, TF-IDF, of length 1), and whether the product is
of this brand, this category and this fifth of the prices. All of it is at least 0, so that a
product of two vectors says how alike two products are.
"""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import (
    IDF,
    HashingTF,
    Imputer,
    Normalizer,
    OneHotEncoder,
    QuantileDiscretizer,
    RegexTokenizer,
    StopWordsRemover,
    StringIndexer,
    VectorAssembler,
)
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from scipy import sparse

from recgraph.columns import Columns as C
from recgraph.model import Matrix, offsets_of
from recgraph.spark.text import cleaned

FEATURES = "features"
"""Column of the vectors."""

_KINDS = (C.BRAND, C.CATEGORY)
_TYPES = {C.PRICE: "double"}
_MAX_REVIEWS = 200
"""Of a product with more reviews so many count, chosen by a hash: its text has an end."""
_N_HASHES = 2**14
"""Spark names each place of an assembled vector, and carries the names with every plan and task: a
sixteenfold took 1 GB."""
_N_PRICES = 5
_LEAST_LETTERS = 3
_MAX_TERMS = 100
"""Of each vector the largest values come to the driver: 8 bytes each, 1.2 kB a product."""


def described(
    reviews: DataFrame, catalogue: DataFrame | None, *, before: datetime | None = None
) -> DataFrame:
    """The products: item_id, text (the cleaned ones of its reviews), brand, category, price.

    Parameters
    ----------
    before
        Only reviews written earlier are looked at.
    """
    if before is not None:
        reviews = reviews.where(F.col(C.REVIEWED_AT) < F.lit(before))
    order = Window.partitionBy(C.ITEM_ID).orderBy(F.xxhash64(C.REVIEW_ID), C.REVIEW_ID)
    some = reviews.withColumn(C.RANK, F.row_number().over(order)).where(
        F.col(C.RANK) <= _MAX_REVIEWS
    )
    clean = cleaned(some).select(C.ITEM_ID, F.concat_ws(" ", C.CLEAN_TITLE, C.CLEAN_TEXT))
    texts = clean.toDF(C.ITEM_ID, C.TEXT).groupBy(C.ITEM_ID)
    products = texts.agg(F.array_join(F.collect_list(C.TEXT), " ").alias(C.TEXT))
    if catalogue is not None:
        known = [name for name in (*_KINDS, C.PRICE) if name in catalogue.columns]
        products = products.join(catalogue.select(C.ITEM_ID, *known), C.ITEM_ID, "left")
    missing = [name for name in (*_KINDS, C.PRICE) if name not in products.columns]
    nothing = {name: F.lit(None).cast(_TYPES.get(name, "string")) for name in missing}
    return products.withColumns(nothing)


def fit_features(products: DataFrame) -> PipelineModel:
    """The pipeline, fitted: it adds `FEATURES` to products as `described` has them.

    An attribute that no product has makes no part of the vector.
    """
    names = (*_KINDS, C.PRICE)
    counts = products.agg(*(F.count(name).alias(name) for name in names)).collect()[0]
    known = [name for name in names if counts[name]]
    stages = [*_words(), *(stage for name in known for stage in _kind(name))]
    parts = ["words", *(f"{name}_kind" for name in known)]
    assembler = VectorAssembler(inputCols=parts, outputCol=FEATURES)
    return Pipeline(stages=[*stages, assembler]).fit(products)


def write_features(fitted: PipelineModel, path: Path) -> None:
    """Save the pipeline, in place of an earlier one; a reader finds it whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    fitted.write().overwrite().save(str(unfinished))
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)


def read_features(path: Path) -> PipelineModel | None:
    """The pipeline that was saved; None where there is none."""
    return PipelineModel.load(str(path)) if path.exists() else None


def vectors_of(products: DataFrame, items: DataFrame, n_items: int) -> Matrix:
    """The vectors by item, float32 ``(n_items, n_features)`` of length 1; empty for other items.

    Parameters
    ----------
    products
        item_id and `FEATURES`.
    items
        item_id, item_index.
    """
    rows: list[Any] = [None] * n_items
    wanted = products.join(items, C.ITEM_ID).select(C.ITEM_INDEX, FEATURES)
    width = 0
    for index, vector in wanted.toLocalIterator():
        width = vector.size
        best = np.argsort(-vector.values, kind="stable")[:_MAX_TERMS]
        length = np.linalg.norm(vector.values[best]) or 1.0
        rows[index] = vector.indices[best], vector.values[best] / length
    nothing = np.empty(0, np.int32), np.empty(0)
    indices, values = zip(*(row or nothing for row in rows), strict=True)
    indptr = offsets_of([len(each) for each in indices])
    data = np.concatenate(values).astype(np.float32)
    return sparse.csr_matrix((data, np.concatenate(indices), indptr), shape=(n_items, width))


def _words() -> list[Any]:
    """From the text to ``words``, TF-IDF of length 1."""
    return [
        RegexTokenizer(
            inputCol=C.TEXT, outputCol="tokens", pattern=r"\s+", minTokenLength=_LEAST_LETTERS
        ),
        StopWordsRemover(inputCol="tokens", outputCol="kept"),
        HashingTF(inputCol="kept", outputCol="counts", numFeatures=_N_HASHES),
        IDF(inputCol="counts", outputCol="tf_idf", minDocFreq=2),
        Normalizer(inputCol="tf_idf", outputCol="words"),
    ]


def _kind(name: str) -> list[Any]:
    """From one attribute to a vector with a 1 at the place of its value."""
    index, kind = f"{name}_index", f"{name}_kind"
    if name != C.PRICE:
        # What is unknown has the last index, which the encoder leaves out: it makes nobody alike.
        indexer = StringIndexer(inputCol=name, outputCol=index, handleInvalid="keep")
        return [indexer, OneHotEncoder(inputCol=index, outputCol=kind)]
    return [
        Imputer(inputCol=name, outputCol="known_price", strategy="median"),
        QuantileDiscretizer(inputCol="known_price", outputCol=index, numBuckets=_N_PRICES),
        OneHotEncoder(inputCol=index, outputCol=kind, dropLast=False),
    ]
