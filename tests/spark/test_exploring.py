"""What reviews say together: every figure of a small table, by hand."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recgraph.config import Settings
from recgraph.errors import NoInteractionsError
from recgraph.exploration import OfLength, OfMonth, OfRating, Verified, read_exploration
from recgraph.jobs import exploring
from recgraph.jobs import reviews as loading
from recgraph.spark import exploration
from recgraph.spark import reviews as spark_reviews
from recgraph.stages import Stages
from tests.review_files import encoded, line_2018, line_2023, write_lines

SAID = [
    # item, stars, text, votes, verified, month
    ("a", 5, "I love it, it is great!", "2", True, 1),
    ("a", 5, "Terrible, I hate it.", None, True, 1),
    ("a", 1, "Awful. Broke at once, very bad.", None, False, 2),
    ("b", 3, "It is a card.", None, True, 2),
    ("b", 4, "", None, True, 3),
    ("c", 2, "x" * 120, "1", False, 3),
]


def loaded(spark: SparkSession, settings: Settings, folder: Path) -> None:
    lines = [
        line_2018(
            reviewerID=f"user {number}",
            asin=item,
            overall=float(stars),
            reviewText=text,
            summary="",
            vote=votes,
            verified=verified,
            unixReviewTime=int(datetime(2015, month, 9, tzinfo=UTC).timestamp()),
        )
        for number, (item, stars, text, votes, verified, month) in enumerate(SAID)
    ]
    path = write_lines(folder / "reviews.json", [encoded(line) for line in lines])
    loading.load_files(spark, settings, [path], Stages())


def test_every_figure_of_a_small_table(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    loaded(spark, settings, tmp_path)
    rows = [("a", "Card", 10.0), ("z", "Other", 1.0)]
    spark.createDataFrame(rows, "item_id string, title string, price double").write.parquet(
        str(settings.catalogue_path)
    )
    found = exploring.explore(spark, settings, Stages(), max_texts=1_000)
    assert read_exploration(settings.exploration_path) == found
    assert (found.n_reviews, found.n_users, found.n_items) == (6, 6, 3)
    assert found.first_at == datetime(2015, 1, 9, tzinfo=UTC)
    assert found.last_at == datetime(2015, 3, 9, tzinfo=UTC)
    assert found.mean_rating == pytest.approx(20 / 6)
    assert [row.n_reviews for row in found.ratings] == [1, 1, 1, 1, 2]
    five = len(SAID[0][2]), len(SAID[1][2])
    assert found.ratings[-1] == OfRating(5, 2, sum(five) / 2, min(five), 1.0)
    assert found.lengths == [OfLength(0, 5, 3.6, 0.4, 0.2), OfLength(100, 1, 2.0, 1.0, 1.0)]
    months = [("2015-01", 2, 5.0), ("2015-02", 2, 2.0), ("2015-03", 2, 3.0)]
    assert found.months == [OfMonth(*row) for row in months]
    assert found.verified == [Verified("verified", 4, 4.25), Verified("not verified", 2, 1.5)]
    # rows: rating negative, neutral, positive; columns: text
    assert found.agreement == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert found.n_without_text == 1
    first, *_, last = found.most_reviewed
    assert (first.item_id, first.title, first.n_reviews, first.turnover) == ("a", "Card", 3, 30.0)
    assert (first.by_rating, first.by_text) == ([1, 0, 2], [2, 0, 1])
    assert (last.item_id, last.title, last.turnover) == ("c", None, None)
    assert [each.item_id for each in found.least_reviewed] == ["c", "b", "a"]


def test_texts_are_left_out_beyond_their_number(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    loaded(spark, settings, tmp_path)
    tables = spark_reviews.tables_in(settings.reviews_dir)
    reviews = spark_reviews.read_reviews(spark, tables)
    found = exploration.explore(reviews, None, max_texts=0)
    assert found.n_scored == 0
    assert found.agreed is None
    assert found.kappa is None
    assert found.n_reviews == 6


def test_a_table_without_reviews_says_what_to_do(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "r.json", [encoded(line_2023(rating=0))])
    loading.load_files(spark, settings, [path], Stages())
    with pytest.raises(NoInteractionsError, match="recgraph reviews load"):
        exploring.explore(spark, settings, Stages(), max_texts=10)
