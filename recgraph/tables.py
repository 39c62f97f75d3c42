"""The Delta table of rejected messages, read without Spark: in milliseconds, and without a JVM.

Path -> counts and messages. Each read sees one snapshot, whatever ingest writes meanwhile; it
streams, so that a flood of rejected messages is no flood of memory. Nothing is written here.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from recgraph.errors import InputError
from recgraph.events import Reason

_PLACE = 'topic_id, "partition", "offset"'


class RejectedMessage(msgspec.Struct, frozen=True):
    """A message that was rejected, as it came."""

    topic_id: str
    partition: int
    offset: int
    ingested_at: datetime
    reason: str
    detail: str
    raw: bytes | None

    @property
    def place(self) -> str:
        """Where it stood, as one text: the event's identity, had it been accepted without one."""
        return f"{self.topic_id}/{self.partition}/{self.offset}"


def count_rejected(path: Path) -> dict[str, int]:
    """Reason -> rejected messages, the most frequent first; each place on a topic counts once."""
    counts = (
        f"select reason, count(*) as n from (select distinct {_PLACE}, reason from rejected) "
        "group by reason order by n desc, reason"
    )
    return {row["reason"]: row["n"] for row in _rows(path, counts)}


def read_newest_rejected(
    path: Path, *, limit: int, reasons: list[Reason] | None = None
) -> list[RejectedMessage]:
    """The messages rejected last, newest first, for some reasons or all.

    A crash between two writes may leave copies of a message; the newest counts.
    """
    order = 'ingested_at desc, "offset" desc'
    newest = (
        f"select {_PLACE}, max(ingested_at) as ingested_at from rejected {_where(reasons)} "
        f"group by {_PLACE} order by {order} limit {limit}"
    )
    query = f"select * from rejected r join ({newest}) n using ({_PLACE}, ingested_at)"
    return [
        msgspec.convert(row, RejectedMessage) for row in _rows(path, f"{query} order by {order}")
    ]


def read_rejected(path: Path, *, reasons: list[Reason] | None = None) -> Iterator[RejectedMessage]:
    """Each rejected message once, in no order, for some reasons or all."""
    seen: dict[tuple[str, int], set[int]] = {}
    for row in _rows(path, f"select * from rejected {_where(reasons)}"):
        offsets = seen.setdefault((row["topic_id"], row["partition"]), set())
        if row["offset"] not in offsets:
            offsets.add(row["offset"])
            yield msgspec.convert(row, RejectedMessage)


def _where(reasons: list[Reason] | None) -> str:
    return f"where reason in ({', '.join(repr(r.value) for r in reasons)})" if reasons else ""


def _rows(path: Path, query: str) -> Iterator[dict[str, Any]]:
    if not DeltaTable.is_deltatable(str(path)):
        message = (
            f"there is no table of rejected messages in {path}: nothing was taken in yet. "
            "`recgraph ingest --once` makes it."
        )
        raise InputError(message)
    tables = QueryBuilder().register("rejected", DeltaTable(str(path)))
    for batch in pa.RecordBatchReader.from_stream(tables.execute(query)):
        yield from batch.to_pylist()
