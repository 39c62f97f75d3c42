"""The event tables, counted without Spark: is every message of the topic there, and once?"""

from pathlib import Path

import numpy as np
import pandas as pd
from deltalake import DeltaTable

from recgraph.config import Settings

_PLACE = ["partition", "offset"]


def read_rows(path: Path, *columns: str) -> pd.DataFrame:
    """The columns of a Delta table's newest snapshot; empty when there is no table yet."""
    if not DeltaTable.is_deltatable(str(path)):
        return pd.DataFrame(columns=list(columns))
    rows: pd.DataFrame = DeltaTable(str(path)).to_pyarrow_table(columns=list(columns)).to_pandas()
    return rows


def read_tables(settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events, and rejected messages, each place on the topic once."""
    events = read_rows(settings.events_dir, *_PLACE, "event_id")
    return events, read_rows(settings.rejected_dir, *_PLACE).drop_duplicates()


def find_problem(settings: Settings) -> str | None:
    """Say what is missing or there twice among the messages taken in so far; None if nothing.

    It may be asked at any moment, after each kill: up to the last event of a partition, its
    messages are events or rejected, one of the two, without a gap. Rejected ones may be ahead,
    for they are written first.
    """
    rejected, events = (table[_PLACE] for table in reversed(read_tables(settings)))
    for partition, offsets in events.groupby("partition")["offset"]:
        ahead = rejected.loc[rejected["partition"] == partition, "offset"]
        last = offsets.max()
        times = np.bincount([*offsets, *ahead[ahead <= last]], minlength=last + 1)
        wrong = np.flatnonzero(times != 1)
        if len(wrong):
            return (
                f"partition {partition}: {len(wrong)} of {last + 1} messages are missing or there "
                f"twice, the first at offset {wrong[0]}: {times[wrong[0]]} times"
            )
    return None


def count_taken_in(settings: Settings) -> int:
    """Messages of the topic that are in one of the tables."""
    return sum(map(len, read_tables(settings)))
