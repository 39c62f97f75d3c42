"""Reviews -> reviews fit for counting: no number missing, texts clean; the raw text stays."""

import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.functions import pandas_udf

from recgraph.columns import Columns as C
from recgraph.text import clean_texts


def filled_number(column: str, value: float) -> Column:
    """The number, or ``value`` where it is missing or no number; of the column's type."""
    number = F.col(column)
    return F.coalesce(F.when(~F.isnan(number.cast("double")), number), F.lit(value))


def filled_flag(column: str) -> Column:
    """The flag, or false where it is missing."""
    return F.coalesce(F.col(column), F.lit(False))


def clean_text(column: str) -> Column:
    """The text without markup, URLs and punctuation, in small letters; empty where missing."""
    found: Column = _clean(F.col(column))
    return found


def cleaned(reviews: DataFrame) -> DataFrame:
    """The reviews with ``clean_title`` and ``clean_text``, and no number or flag missing.

    A review without votes has 0 of them, and one of which nobody says so is not verified. A rating
    is never missing: a line without one is no review.
    """
    return reviews.withColumns(
        {
            C.HELPFUL_VOTES: filled_number(C.HELPFUL_VOTES, 0).cast("long"),
            C.VERIFIED: filled_flag(C.VERIFIED),
            C.CLEAN_TITLE: clean_text(C.TITLE),
            C.CLEAN_TEXT: clean_text(C.TEXT),
        }
    )


@pandas_udf(T.StringType())  # type: ignore[call-overload, untyped-decorator]  # stubs of Spark 2
def _clean(texts: pd.Series) -> pd.Series:
    clean: pd.Series = clean_texts(pa.Array.from_pandas(texts, type=pa.string())).to_pandas()
    return clean
