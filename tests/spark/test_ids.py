"""Dense ids: 0 to n-1, in the order of the external ids, whatever the partitions."""

import pytest
from pyspark.sql import SparkSession

from recgraph.spark.ids import dense_ids


@pytest.mark.parametrize("n_partitions", [1, 7])
def test_dense_ids_number_distinct_values_in_order(spark: SparkSession, n_partitions: int) -> None:
    ids = [f"id {number:04}" for number in range(500)] + ["a.b", "$where", "🥐", 'q"q', ""]
    frame = spark.createDataFrame([(each,) for each in ids * 2], "user_id string")
    dense = dense_ids(frame.repartition(n_partitions), "user_id", "user_index").collect()
    found = {row["user_id"]: row["user_index"] for row in dense}
    by_bytes = sorted(ids, key=lambda each: each.encode())
    assert found == {each: index for index, each in enumerate(by_bytes)}


def test_dense_ids_of_nothing_are_nothing(spark: SparkSession) -> None:
    empty = spark.createDataFrame([], "user_id string")
    assert dense_ids(empty, "user_id", "user_index").count() == 0
