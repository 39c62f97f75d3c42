"""Histories on disk: what is written is read again, however it came in batches."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recgraph.errors import GenerationError
from recgraph.histories import (
    HISTORIES,
    Histories,
    identity_digest,
    merged,
    newest_of,
    open_histories,
    write_buyers,
    write_histories,
)
from recgraph.weighing import EVENT, Events

USERS = ["", "a", "a$b", "ü", "🛒"]
"""Ascending in UTF-8."""


def table_of(n_events: list[int]) -> pa.Table:
    users = np.repeat(np.array(USERS, object), n_events)
    n = len(users)
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "event": pa.array(np.arange(n), pa.int64()),
            "time": pa.array(np.arange(n) * 7, pa.int64()),
            "amount": np.full(n, 0.3),
            "item": pa.array(np.arange(n) % 4 - 1, pa.int32()),
            "bought": np.arange(n) % 2 == 0,
        }
    )


def written(tmp_path: Path, table: pa.Table, batch_size: int) -> Histories:
    folder = tmp_path / HISTORIES
    write_histories(folder, table.to_batches(max_chunksize=batch_size))
    buyers = pa.table({"item": [0, 0, 2], "user": [1, 4, 3]})
    write_buyers(folder, buyers.to_batches(max_chunksize=batch_size), 4)
    return open_histories(tmp_path)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 1_000])
def test_each_user_has_the_events_that_were_written(tmp_path: Path, batch_size: int) -> None:
    table = table_of([3, 1, 6, 2, 1])
    found = written(tmp_path, table, batch_size)
    expected = table.to_pylist()
    for user_id in USERS:
        own = [row for row in expected if row["user_id"] == user_id]
        names = EVENT.names or ()
        assert found.of(user_id).tolist() == [tuple(row[name] for name in names) for row in own]
    assert len(found.of("nobody")) == len(found.of("\ud800")) == 0
    assert found.newest == 12 * 7
    assert [found.buyers_of(item).tolist() for item in range(4)] == [[1, 4], [], [3], []]


def test_nobody_at_all_is_read_again(tmp_path: Path) -> None:
    found = written(tmp_path, table_of([0] * 5), 10)
    assert len(found.of("a")) == 0
    assert found.newest == 0


def test_a_generation_without_histories_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="no histories"):
        open_histories(tmp_path)


def events(*pairs: tuple[int, int]) -> Events:
    made = np.zeros(len(pairs), EVENT)
    made["event"], made["time"] = zip(*pairs, strict=True)
    return made


def test_merged_keeps_the_first_copy_of_each_event() -> None:
    seen, fresh = events((1, 10), (2, 20)), events((2, 99), (3, 30), (3, 31))
    assert merged(seen, fresh)["time"].tolist() == [10, 20, 30]


def test_newest_of_keeps_the_newest_as_they_stood() -> None:
    many = events((1, 30), (2, 10), (3, 20), (4, 20))
    assert newest_of(many, 2)["event"].tolist() == [1, 3]
    assert newest_of(many, 4) is many


def test_the_digest_is_that_of_spark() -> None:
    # SELECT conv(substring(md5('b-17'), 1, 15), 16, 10)
    assert identity_digest("b-17") == 0x94DEF918A90415A
