"""A frame computed once and kept on disk for the rest of the session.

Parquet rather than `persist`: memory stays bounded at any size, the plan starts afresh (plans of
a long job otherwise grow until planning costs more than the work), and what is read twice is the
same twice, which ALS needs. Driver and executors must share the data folder, as for the tables.
"""

import uuid

from pyspark.sql import DataFrame

SCRATCH = "spark.recgraph.scratch"
"""Name of the session's option that holds the folder."""


def materialize(frame: DataFrame) -> DataFrame:
    """The same rows, computed now and read from disk from here on."""
    spark = frame.sparkSession
    path = f"{spark.conf.get(SCRATCH)}/{uuid.uuid4().hex}"
    frame.write.parquet(path)
    return spark.read.schema(frame.schema).parquet(path)
