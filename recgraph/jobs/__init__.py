"""The shell: reads settings, calls the rooms in order; no logic of its own.

What Spark does is started here: `ingesting` (topic -> event table), `importing` (file -> event
table) and `training` (event table -> one generation). Each takes an open session, so that one
process may run several.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pyspark.sql import SparkSession

from recgraph import jars
from recgraph.config import Settings
from recgraph.spark.session import open_session
from recgraph.stages import Stages
from recgraph.tables import Tables


def tables_of(settings: Settings) -> Tables:
    """Where the event tables are."""
    return Tables(settings.events_dir, settings.rejected_dir)


@contextmanager
def open_spark(settings: Settings, stages: Stages) -> Iterator[SparkSession]:
    """Give a Spark session with the pinned jars, downloaded when they are not there yet."""
    with ExitStack() as stack:
        with stages("spark", "starting Spark"):
            spark = stack.enter_context(open_session(settings, jars.spark_jars(settings)))
        yield spark
