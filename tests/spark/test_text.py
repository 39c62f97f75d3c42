"""Reviews with clean texts and no number missing; the raw text stays beside them."""

import pytest
from pyspark.sql import SparkSession

from recgraph.spark.text import cleaned, filled_number


def test_reviews_are_cleaned_and_stay_as_they_were(spark: SparkSession) -> None:
    rows = [
        ("Great!", "It&#39;s <b>fine</b>: http://a.example", 3, True),
        (None, None, None, None),
    ]
    schema = "title string, text string, helpful_votes long, verified boolean"
    found = cleaned(spark.createDataFrame(rows, schema)).collect()
    assert [row["clean_title"] for row in found] == ["great", ""]
    assert [row["clean_text"] for row in found] == ["its fine", ""]
    assert [row["text"] for row in found] == [rows[0][1], None]
    assert [row["helpful_votes"] for row in found] == [3, 0]
    assert [row["verified"] for row in found] == [True, False]


@pytest.mark.parametrize(("kind", "expected"), [("double", [1.5, -1, -1]), ("int", [1, -1, 2])])
def test_a_number_that_is_none_is_filled(
    spark: SparkSession, kind: str, expected: list[float]
) -> None:
    numbers = {"double": [1.5, None, float("nan")], "int": [1, None, 2]}[kind]
    frame = spark.createDataFrame([(number,) for number in numbers], f"n {kind}")
    found = frame.select(filled_number("n", -1).cast(kind).alias("n")).collect()
    assert [row["n"] for row in found] == expected
