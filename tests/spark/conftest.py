"""One Spark session for all tests of a run, and small frames with a known answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from recgraph.config import Settings, load_settings
from recgraph.jars import spark_jars
from recgraph.spark.session import open_session
from tests.conftest import java_problem, requires


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.spark)


SMALL = {"n_factors": 8, "n_iterations": 4, "k": 3}
"""Settings of a training that takes seconds."""


_INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
"""Frames of some rows: compiling a plan takes far longer than running it. What starts the program,
such as `tests/e2e` and `test_standalone.py`, has Spark compile as users have it."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    problem = java_problem()
    requires(problem is None, problem or "")
    folder = tmp_path_factory.mktemp("spark")
    shared = load_settings(data_dir=folder, driver_memory="1g", shuffle_partitions=2)
    with open_session(shared, spark_jars(shared)) as session:
        for name, value in _INTERPRETED.items():
            session.conf.set(name, value)
        yield session


@pytest.fixture
def small(settings: Settings) -> Settings:
    """Settings of a training that takes seconds."""
    return settings.model_copy(update=SMALL)


@pytest.fixture
def checkerboard(spark: SparkSession) -> DataFrame:
    """20 users and 20 items, each user with the items of its own colour but one.

    The one withheld, the item with the user's own number, is what must be recommended: nothing
    else of that colour is left, and nothing connects the two colours.
    """
    rows = [
        (f"user {u:02}", f"item {i:02}", 1.0)
        for u in range(20)
        for i in range(20)
        if u % 2 == i % 2 and u != i
    ]
    return interactions(spark, rows)


def interactions(spark: SparkSession, rows: list[tuple[str, str, float]]) -> DataFrame:
    """Interactions of users and items with these ratings, all bought at one moment."""
    frame = spark.createDataFrame(rows, "user_id string, item_id string, rating float")
    return frame.selectExpr(
        "*",
        "rating as recent_rating",
        "rating as repeat_rating",
        "rating as early_rating",
        "1 as n_events",
        "true as is_bought",
        "timestamp '2020-01-01 10:00:00' as last_at",
    )
