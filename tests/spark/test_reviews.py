"""Files of reviews -> one table: each line once, whatever is killed, broken or loaded again."""

import gzip
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from recgraph.claims import only_one
from recgraph.config import Settings
from recgraph.errors import InputError, NoInteractionsError, ServiceError
from recgraph.jobs import reviews as job
from recgraph.jobs import training
from recgraph.jobs.reviews import LoadedFile
from recgraph.spark import reviews as spark_reviews
from recgraph.spark.reviews import Tables
from recgraph.stages import Stages
from tests.review_files import (
    FASHION,
    GIFT_CARDS,
    encoded,
    line_2014,
    line_2018,
    line_2023,
    need_amazon,
    write_lines,
)


def load(spark: SparkSession, settings: Settings, *paths: Path) -> list[LoadedFile]:
    job.check_files(paths)
    loaded = job.load_files(spark, settings, paths, Stages())
    for each in loaded:
        assert each.lines == each.loaded + each.rejected + each.duplicates
        assert each.rejected == sum(each.reasons.values())
    return loaded


def counts(each: LoadedFile) -> tuple[int, int, int, int]:
    return each.lines, each.loaded, each.rejected, each.duplicates


def where(settings: Settings) -> Tables:
    return spark_reviews.tables_in(settings.reviews_dir)


def reviews_of(n: int, **changes: Any) -> list[bytes]:
    return [encoded(line_2018(reviewerID=f"user {i}", **changes)) for i in range(n)]


def test_only_one_load_writes_the_table(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "reviews.json", reviews_of(1))
    with (
        only_one(settings.reviews_dir / "lock", "held"),
        pytest.raises(ServiceError, match="being loaded"),
    ):
        load(spark, settings, path)
    assert [each.loaded for each in load(spark, settings, path)] == [1]


def test_every_line_is_loaded_rejected_or_a_duplicate(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    lines = [
        encoded(line_2018()),
        b'{"overall": 5.0, "revie',
        encoded(dict(reversed(line_2018().items()))),
        str(line_2014()).encode(),
        b"",
        encoded(line_2023(rating=0)),
        encoded(line_2023()) + b"\r",
    ]
    path = write_lines(tmp_path / "reviews.json.gz", lines)
    (first,) = load(spark, settings, path)
    assert counts(first) == (7, 3, 3, 1)
    assert first.reasons == {"not_json": 1, "empty": 1, "rating_out_of_range": 1}
    assert first.formats == {"2014": 1, "2018": 2, "2023": 1}

    table = spark_reviews.read_reviews(spark, where(settings))
    rows = table.orderBy("line").collect()
    assert [row["line"] for row in rows] == [1, 4, 7]
    assert [row["text"] for row in rows] == [
        line_2018()["reviewText"],
        line_2014()["reviewText"],
        line_2023()["text"],
    ]
    assert rows[2]["reviewed_at"].isoformat() == "2021-10-15T05:20:59.292000"
    rejected = spark_reviews.read_rejected(spark, where(settings)).orderBy("line").collect()
    assert [(row["line"], bytes(row["raw"])) for row in rejected] == [
        (number, lines[number - 1]) for number in (2, 5, 6)
    ]
    assert rejected[0]["file"] == str(path)

    copy = write_lines(tmp_path / "same content.gz", lines)
    (again,) = load(spark, settings, copy)
    assert counts(again) == (7, 0, 3, 4)
    assert again.was_known
    assert spark_reviews.read_lines(spark, where(settings)).count() == 7


def test_what_was_loaded_before_is_a_duplicate_in_the_later_file(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    (first,) = load(spark, settings, write_lines(tmp_path / "a.json", reviews_of(5)))
    assert counts(first) == (5, 5, 0, 0)
    more = [*reviews_of(7), *reviews_of(2, overall=1.0)]
    (second,) = load(spark, settings, write_lines(tmp_path / "b.json", more))
    assert counts(second) == (9, 4, 0, 5)
    assert spark_reviews.read_reviews(spark, where(settings)).count() == 9


def test_a_load_that_was_killed_goes_on(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    noise = random.Random(1)
    lines = [
        encoded(line_2018(reviewerID=f"user {i}", reviewText=noise.randbytes(300).hex()))
        for i in range(6000)
    ]
    lines[10], lines[5990] = b"{", lines[20]
    path = write_lines(tmp_path / "reviews.json.gz", lines)
    small = settings.model_copy(update={"review_chunk_mb": 1})
    read: list[int] = []

    def die(path: Path, done: int, total: int) -> None:
        read.append(done)
        if len(read) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.load_files(spark, small, [path], Stages(), die)
    half = spark_reviews.read_reviews(spark, where(settings)).count()
    assert 2000 < half < 5000
    other = settings.model_copy(update={"review_chunk_mb": 3})
    (done,) = load(spark, other, path)
    assert counts(done) == (6000, 5998, 1, 1)
    assert not done.was_known
    table = spark_reviews.read_lines(spark, where(settings))
    assert table.count() == table.select("line").distinct().count() == 6000
    assert not list((settings.data_dir / "tmp").rglob("*-*.parquet-*"))


def test_a_file_that_breaks_off_is_named_and_what_was_whole_stays(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    noise = random.Random(2)
    lines = [
        encoded(line_2018(reviewerID=f"user {i}", reviewText=noise.randbytes(500).hex()))
        for i in range(3000)
    ]
    whole = write_lines(tmp_path / "whole.json.gz", lines)
    broken = tmp_path / "broken.json.gz"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    first, second = load(spark, settings, broken, whole)  # less than a chunk
    assert first.error is not None
    assert "interrupted download" in first.error
    assert 0 < first.loaded == first.lines < 3000
    assert second.error is None
    assert counts(second) == (3000, 3000 - first.loaded, 0, first.loaded)
    small = settings.model_copy(update={"review_chunk_mb": 1})
    (again,) = load(spark, small, broken)
    assert again.error is not None


def test_a_file_that_is_changed_while_it_is_loaded_is_named(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    one_line = settings.model_copy(update={"review_chunk_mb": 1})
    path = write_lines(tmp_path / "reviews.json", reviews_of(5_000))

    def change(path: Path, done: int, size: int) -> None:
        write_lines(path, reviews_of(1))

    (found,) = job.load_files(spark, one_line, [path], Stages(), change)
    assert found.error is not None
    assert "was changed while it was being loaded" in found.error
    (again,) = load(spark, one_line, path)
    assert (again.lines, again.was_known, again.error) == (1, False, None)


def test_files_are_looked_at_before_anything_is_loaded(settings: Settings, tmp_path: Path) -> None:
    good = write_lines(tmp_path / "good.json", reviews_of(1))
    empty = tmp_path / "empty.json.gz"
    empty.write_bytes(gzip.compress(b""))
    with pytest.raises(InputError) as caught:
        job.check_files([good, empty, tmp_path / "none.json"])
    named = str(caught.value).splitlines()
    assert [line.split()[0] for line in named] == [str(empty), str(tmp_path / "none.json")]


def test_the_amazon_files_are_loaded(spark: SparkSession, settings: Settings) -> None:
    need_amazon()
    fashion, cards = load(spark, settings, FASHION, GIFT_CARDS)
    assert counts(fashion) == (3176, 3108, 0, 68)
    assert counts(cards) == (2972, 2972, 0, 0)


@pytest.fixture
def on_reviews(small: Settings) -> Settings:
    """Settings of a small training on reviews."""
    changed = {"train_on": "reviews", "feedback": "explicit", "test_share": 0.3}
    return small.model_copy(update=changed)


def test_training_on_no_reviews_says_what_to_do(spark: SparkSession, on_reviews: Settings) -> None:
    with pytest.raises(NoInteractionsError, match="recgraph reviews load"):
        training.train(spark, on_reviews, Stages())


def test_reviews_become_a_generation(
    spark: SparkSession, on_reviews: Settings, tmp_path: Path
) -> None:
    day = 86_400
    ratings = [
        (
            f"user {u}",
            f"item {i}",
            5.0 if i == 0 else float(1 + (u + i) % 2 * 4),
            (u * 10 + i) * day,
        )
        for u in range(20)
        for i in range(8)
        if (u + i) % 3
    ]
    # One user has five stars for an item that nobody else knows, and thinks again about another.
    ratings += [("user 0", "rare", 5.0, 5 * day), ("user 0", "item 1", 1.0, 50 * day)]
    lines = [
        encoded(line_2014(reviewerID=user, asin=item, overall=rating, unixReviewTime=10**9 + at))
        for user, item, rating, at in ratings
    ]
    load(spark, on_reviews, write_lines(tmp_path / "reviews.json", lines))
    made = training.train(spark, on_reviews, Stages())
    assert (made.feedback, made.settings["train_on"]) == ("explicit", "reviews")
    assert made.counts.events == len(ratings)
    assert made.counts.interactions == len(ratings) - 1
    assert made.counts.recommendations == 20 * on_reviews.k
    errors = {row.predictor: row for row in made.metrics.errors}
    assert set(errors) == {"als", "biases", "constant"}
    for row in errors.values():
        assert row.n_known is not None
        assert 0 < row.n_known < row.n_pairs  # users of the last days are new
        assert row.rmse_low is not None
        assert row.rmse_high is not None
        assert row.rmse_low < row.rmse < row.rmse_high
    popular = pq.read_table(on_reviews.generations_dir / made.id / "popular.parquet")
    first = popular.column("item_id").to_pylist()[0]
    assert first != "rare"  # its mean is the best, its Bayesian average is not
