"""A frame computed once and kept on disk for the rest of the session.

Parquet rather than `persist`: memory stays bounded at any size, the plan starts afresh (plans of
a long job otherwise grow until planning costs more than the work), and what is read twice is the
same twice, which ALS needs. Driver and executors must share the data folder, as for the tables.
"""

import uuid
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.dataset as pads
from pyspark.sql import DataFrame

SCRATCH = "spark.recgraph.scratch"
"""Name of the session's option that holds the folder."""


def materialize(frame: DataFrame) -> DataFrame:
    """The same rows, computed now and read from disk from here on."""
    spark = frame.sparkSession
    path = f"{spark.conf.get(SCRATCH)}/{uuid.uuid4().hex}"
    frame.write.parquet(path)
    return spark.read.schema(frame.schema).parquet(path)


def batches_of(frame: DataFrame) -> Iterator[pa.RecordBatch]:
    """The rows of a materialized frame on the driver, in batches.

    Collected, they would lie in the heap of the JVM all at once.
    """
    files = [unquote(urlsplit(file).path) for file in frame.inputFiles()]
    yield from pads.dataset(sorted(files)).to_batches()
