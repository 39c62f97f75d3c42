"""Reviews -> what they say together, `recgraph.exploration`: only sums come to the driver.

Texts are read once; what is known of each review after that are a few small numbers, on disk.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.functions import pandas_udf

from recgraph.columns import Columns as C
from recgraph.exploration import (
    LENGTHS,
    N_PRODUCTS,
    NEGATIVE_RATING,
    POSITIVE_RATING,
    Exploration,
    OfLength,
    OfMonth,
    OfProduct,
    OfRating,
    Verified,
)
from recgraph.sentiment import sentiments_of
from recgraph.spark.scratch import materialize

_STARS, _BY_RATING, _BY_TEXT, _LENGTH, _CLASS, _MONTH = (
    *("stars", "by_rating", "by_text"),
    *("length", "class", "month"),
)
_USERS_ERROR = 0.02
_HASHES = 1_000_003


def explore(reviews: DataFrame, catalogue: DataFrame | None, *, max_texts: int) -> Exploration:
    """What the reviews say together.

    Parameters
    ----------
    reviews
        Of `recgraph.spark.reviews.read_reviews`; at least one.
    catalogue
        item_id, title, price.
    max_texts
        About so many texts are scored, chosen by a hash of the review's id.
    """
    whole = reviews.agg(
        F.count("*").alias("n_reviews"),
        F.approx_count_distinct(C.USER_ID, _USERS_ERROR).alias("n_users"),
        F.min(C.REVIEWED_AT).alias("first_at"),
        F.max(C.REVIEWED_AT).alias("last_at"),
    ).collect()[0]
    known = materialize(_known(reviews, min(1.0, max_texts / max(whole["n_reviews"], 1))))
    products = materialize(_by_product(known))
    facts = known.agg(
        F.count_if(F.col(_LENGTH) == 0).alias("n_without_text"),
        F.corr(F.log1p(_LENGTH), _STARS).alias("length_rating"),
        F.corr(F.log1p(_LENGTH), F.log1p(C.HELPFUL_VOTES)).alias("length_votes"),
    ).collect()[0]
    return Exploration(
        made_at=datetime.now(UTC),
        n_reviews=whole["n_reviews"],
        n_users=whole["n_users"],
        n_items=products.count(),
        first_at=whole["first_at"].replace(tzinfo=UTC),
        last_at=whole["last_at"].replace(tzinfo=UTC),
        ratings=_ratings(known),
        lengths=_lengths(known),
        months=_months(known),
        verified=_verified(known),
        agreement=_agreement(known),
        **facts.asDict(),
        most_reviewed=_ends(products, F.desc(C.N_REVIEWS), catalogue),
        least_reviewed=_ends(products, F.asc(C.N_REVIEWS), catalogue),
    )


def _known(reviews: DataFrame, share: float) -> DataFrame:
    """What is needed of each review, its sentiment by rating and by text among it."""
    rating = F.col(C.RATING)
    is_scored = F.pmod(F.xxhash64(C.REVIEW_ID), F.lit(_HASHES)) < round(share * _HASHES)
    text = F.concat_ws(". ", F.nullif(C.TITLE, F.lit("")), C.TEXT)
    length = F.length(F.coalesce(C.TEXT, F.lit("")))
    return reviews.select(
        C.ITEM_ID,
        F.round(rating).cast("int").alias(_STARS),
        F.when(rating >= POSITIVE_RATING, 2)
        .when(rating <= NEGATIVE_RATING, 0)
        .otherwise(1)
        .alias(_BY_RATING),
        # The UDF sees every row, whatever stands around it: what is null costs it nothing.
        _sentiments(F.when(is_scored & (length > 0), text)).alias(_BY_TEXT),
        length.alias(_LENGTH),
        _class_of(length).alias(_CLASS),
        F.coalesce(C.HELPFUL_VOTES, F.lit(0)).alias(C.HELPFUL_VOTES),
        C.VERIFIED,
        F.date_format(C.REVIEWED_AT, "yyyy-MM").alias(_MONTH),
    )


@pandas_udf(T.IntegerType())  # type: ignore[call-overload, untyped-decorator]  # stubs of Spark 2
def _sentiments(texts: pd.Series) -> pd.Series:
    return pd.Series(sentiments_of(texts), dtype="Int32")


def _class_of(length: Column) -> Column:
    """The last of `LENGTHS` that is not above the length."""
    return reduce(
        lambda found, least: F.when(length >= least, least).otherwise(found),
        LENGTHS[1:],
        F.lit(LENGTHS[0]),
    )


def _ratings(known: DataFrame) -> list[OfRating]:
    rows = known.groupBy(_STARS).agg(
        F.count("*"),
        F.avg(_LENGTH),
        F.percentile_approx(_LENGTH, 0.5).cast("double"),
        F.avg(C.HELPFUL_VOTES),
    )
    return [OfRating(*row) for row in rows.orderBy(_STARS).collect()]


def _lengths(known: DataFrame) -> list[OfLength]:
    rows = known.groupBy(_CLASS).agg(
        F.count("*"),
        F.avg(_STARS),
        F.avg(C.HELPFUL_VOTES),
        F.avg((F.col(C.HELPFUL_VOTES) > 0).cast("double")),
    )
    return [OfLength(*row) for row in rows.orderBy(_CLASS).collect()]


def _months(known: DataFrame) -> list[OfMonth]:
    rows = known.groupBy(_MONTH).agg(F.count("*"), F.avg(_STARS)).orderBy(_MONTH)
    return [OfMonth(*row) for row in rows.collect()]


def _verified(known: DataFrame) -> list[Verified]:
    state = (
        F.when(F.col(C.VERIFIED), "verified")
        .when(~F.col(C.VERIFIED), "not verified")
        .otherwise("unknown")
    )
    rows = known.groupBy(state.alias("state")).agg(F.count("*").alias("n"), F.avg(_STARS))
    return [Verified(*row) for row in rows.orderBy(F.desc("n")).collect()]


def _agreement(known: DataFrame) -> list[list[int]]:
    table = [[0] * 3 for _ in range(3)]
    rows = known.where(F.col(_BY_TEXT).isNotNull()).groupBy(_BY_RATING, _BY_TEXT).count()
    for row in rows.collect():
        table[row[_BY_RATING]][row[_BY_TEXT]] = row["count"]
    return table


def _by_product(known: DataFrame) -> DataFrame:
    """item_id, n_reviews, rating (the mean), by_rating and by_text (three counts each)."""
    counts = [
        F.array(*(F.count_if(F.col(name) == place) for place in range(3))).alias(name)
        for name in (_BY_RATING, _BY_TEXT)
    ]
    n_reviews, mean = F.count("*").alias(C.N_REVIEWS), F.avg(_STARS).alias(C.RATING)
    return known.groupBy(C.ITEM_ID).agg(n_reviews, mean, *counts)


def _ends(products: DataFrame, order: Column, catalogue: DataFrame | None) -> list[OfProduct]:
    """The first products in an order, with what the catalogue has of them."""
    rows = products.orderBy(order, C.ITEM_ID).limit(N_PRODUCTS).collect()
    about = _about(catalogue, [row[C.ITEM_ID] for row in rows])
    return [
        OfProduct(
            item_id=row[C.ITEM_ID],
            title=about.get(row[C.ITEM_ID], {}).get(C.TITLE),
            n_reviews=row[C.N_REVIEWS],
            mean_rating=row[C.RATING],
            by_rating=row[_BY_RATING],
            by_text=row[_BY_TEXT],
            price=about.get(row[C.ITEM_ID], {}).get(C.PRICE),
        )
        for row in rows
    ]


def _about(catalogue: DataFrame | None, item_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Item id -> what the catalogue has of it."""
    if catalogue is None:
        return {}
    rows: list[Row] = catalogue.where(F.col(C.ITEM_ID).isin(*item_ids)).collect()
    return {row[C.ITEM_ID]: row.asDict() for row in rows}
