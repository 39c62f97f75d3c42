"""External id <-> dense index, for frames of any size."""

from itertools import accumulate

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C
from recgraph.spark.scratch import materialize

_POSITION_BITS = 33
"""`monotonically_increasing_id` is the partition, shifted by this, plus the row in it."""


def dense_ids(frame: DataFrame, column: str, index: str) -> DataFrame:
    """Each distinct value of ``column`` once, with ``index`` 0 to n-1 in the order of the values.

    The order makes it deterministic: the same ids always get the same indices. Only the number
    of rows of each partition comes to the driver.
    """
    ordered = materialize(
        frame.select(column)
        .distinct()
        .repartitionByRange(column)
        .sortWithinPartitions(column)
        .withColumn(C.ID, F.monotonically_increasing_id())
    )
    partition = F.shiftright(C.ID, _POSITION_BITS).cast("int")
    starts = _starts(ordered, partition)
    if not starts:
        return ordered.select(column, F.lit(0).alias(index))
    start = F.create_map(*[F.lit(value) for pair in starts.items() for value in pair])[partition]
    position = F.col(C.ID).bitwiseAND((1 << _POSITION_BITS) - 1)
    return ordered.select(column, (start + position).cast("int").alias(index))


def _starts(ordered: DataFrame, partition: Column) -> dict[int, int]:
    """Partition -> how many rows stand in those before it."""
    sizes = (
        ordered.groupBy(partition.alias("p")).agg(F.count("*").alias("n")).orderBy("p").collect()
    )
    ends = accumulate(row["n"] for row in sizes)
    return {row["p"]: end - row["n"] for row, end in zip(sizes, ends, strict=True)}
