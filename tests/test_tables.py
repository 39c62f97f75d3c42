"""Files written by workers -> commits: each batch once, and nothing seen before its commit."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from recgraph.batches import PARSED, parse_batches
from recgraph.config import load_settings
from recgraph.events import rules_from_settings
from recgraph.tables import (
    BatchName,
    Tables,
    add_files,
    compact,
    count_rejected,
    count_rows,
    create_tables,
    has_batch,
    last_occurred_at,
)
from recgraph.writing import Written, write_share

RULES = rules_from_settings(load_settings())
BATCH = BatchName("checkpoint", 7)
RUBBISH = b"rubbish"


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    made = Tables(tmp_path / "events", tmp_path / "rejected")
    create_tables(made)
    return made


def sale(number: int) -> bytes:
    event = {"user_id": "u", "product_id": "p", "quantity": 1}
    time = datetime(2020, 1, 1, 0, number, tzinfo=UTC)
    return msgspec.json.encode(event | {"event_id": f"e{number}", "occurred_at": time})


def parsed(*values: bytes) -> Iterator[pa.RecordBatch]:
    """The values as parsed messages of partition 3."""
    columns = {"value": values, "partition": [3] * len(values), "offset": range(len(values))}
    types = {"value": pa.binary(), "partition": pa.int32(), "offset": pa.int64()}
    arrays = [pa.array(column, types[name]) for name, column in columns.items()]
    messages = pa.RecordBatch.from_arrays(arrays, names=list(columns))
    return parse_batches([messages], rules=RULES, topic_id="topic")


def rows_of(path: Path) -> list[dict[str, object]]:
    return sorted(DeltaTable(path).to_pyarrow_table().to_pylist(), key=lambda row: row["offset"])


def test_a_share_says_what_it_wrote(tables: Tables) -> None:
    written = write_share(parsed(sale(1), RUBBISH, sale(5), b""), tables)
    assert written.n_events == 2
    assert written.reasons == {"not_json": 1, "empty": 1}
    assert written.last_occurred_at == datetime(2020, 1, 1, 0, 5, tzinfo=UTC)


def test_a_file_is_seen_when_it_is_added_and_holds_the_message_and_its_place(
    tables: Tables,
) -> None:
    written = write_share(parsed(sale(1), RUBBISH), tables)
    assert rows_of(tables.events) == rows_of(tables.rejected) == []
    add_files(tables.rejected, written.rejected, BATCH)
    add_files(tables.events, written.events, BATCH)
    (event,), (rejected,) = rows_of(tables.events), rows_of(tables.rejected)
    place = {"topic_id": "topic", "partition": 3}
    assert event.items() >= ({"event_id": "e1", "offset": 0} | place).items()
    assert rejected.items() >= ({"raw": RUBBISH, "offset": 1} | place).items()


def test_times_are_exact_to_the_microsecond(tables: Tables) -> None:
    texts = [
        "2020-01-01T10:00:00.000001Z",
        "2019-12-31T23:59:59.999999+01:00",
        "2000-01-01T00:00:00Z",
    ]
    values = [sale(1).replace(b"2020-01-01T00:01:00Z", text.encode()) for text in texts]
    add_files(tables.events, write_share(parsed(*values), tables).events)
    found = [row["occurred_at"] for row in rows_of(tables.events)]
    assert found == [datetime.fromisoformat(text) for text in texts]


def test_rows_mixed_in_a_batch_part_ways(tables: Tables) -> None:
    batches = list(parsed(sale(1), RUBBISH, sale(2)))
    mixed = pa.Table.from_batches(batches, PARSED).combine_chunks().to_batches()
    written = write_share(mixed, tables)
    assert (len(batches), len(mixed)) == (2, 1)
    assert (written.n_events, written.reasons) == (2, {"not_json": 1})


def test_a_batch_that_is_run_again_is_added_once(tables: Tables) -> None:
    for number in (1, 2):
        written = write_share(parsed(sale(number), RUBBISH), tables)
        add_files(tables.rejected, written.rejected, BATCH)
    # a crash between the two tables: the events are not in yet
    assert (has_batch(tables.rejected, BATCH), has_batch(tables.events, BATCH)) == (True, False)
    for number in (3, 4):
        add_files(tables.events, write_share(parsed(sale(number)), tables).events, BATCH)
    assert [row["event_id"] for row in rows_of(tables.events)] == ["e3"]
    assert count_rejected(tables.rejected) == {"not_json": 1}


def test_a_batch_without_events_is_known_all_the_same(tables: Tables) -> None:
    add_files(tables.events, (), BATCH)
    assert has_batch(tables.events, BATCH)
    assert has_batch(tables.events, BATCH._replace(number=6))
    assert not has_batch(tables.events, BATCH._replace(number=8))
    assert not has_batch(tables.events, BATCH._replace(app_id="another"))


def test_all_shares_of_a_batch_appear_with_one_commit(tables: Tables) -> None:
    shares = [write_share(parsed(sale(number)), tables) for number in range(3)]
    whole = sum(shares, Written())
    add_files(tables.events, whole.events, BATCH)
    assert DeltaTable(tables.events).version() == 1
    assert [row["event_id"] for row in rows_of(tables.events)] == ["e0", "e1", "e2"]
    assert whole.last_occurred_at == datetime(2020, 1, 1, 0, 2, tzinfo=UTC)


def test_a_column_that_is_said_to_hold_no_null_is_taken(tables: Tables) -> None:
    (_, rejected) = parsed(sale(1), RUBBISH)
    fields = [f.with_nullable(f.name != "reason") for f in PARSED]
    batch = pa.RecordBatch.from_arrays(rejected.columns, schema=pa.schema(fields))
    assert write_share([batch], tables).reasons == {"not_json": 1}


def test_large_messages_are_not_gathered_in_memory(tables: Tables) -> None:
    large = b"x" * 5_000_000
    shares = [parsed(RUBBISH), parsed(large, large), parsed(RUBBISH), parsed(large, large)]
    (file,) = write_share(chain(*shares), tables).rejected
    assert pq.ParquetFile(tables.rejected / file.name).num_row_groups == 4
    add_files(tables.rejected, [file])
    assert Counter(row["raw"] for row in rows_of(tables.rejected)) == {large: 4, RUBBISH: 2}


def test_a_share_that_fails_leaves_no_file(tables: Tables) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from parsed(sale(1), RUBBISH)
        message = "the disk is full"
        raise OSError(message)

    with pytest.raises(OSError, match="full"):
        write_share(broken(), tables)
    assert not [*tables.events.glob("*.parquet"), *tables.rejected.glob("*.parquet")]


def test_compaction_leaves_every_row_once_and_what_others_add_meanwhile(tables: Tables) -> None:
    for number in range(10):
        add_files(tables.events, write_share(parsed(sale(number)), tables).events)
    with ThreadPoolExecutor() as pool:
        compacting = pool.submit(lambda: [compact(tables.events) for _ in range(3)])
        for number in range(10, 40):
            add_files(tables.events, write_share(parsed(sale(number)), tables).events)
        compacting.result()
    assert len(DeltaTable(tables.events).file_uris()) < 40
    ids = [str(row["event_id"]) for row in rows_of(tables.events)]
    assert sorted(ids) == sorted(f"e{number}" for number in range(40))
    assert DeltaTable(tables.events, version=10).count() == 10  # as a training that began before


def test_compactions_at_the_same_time_double_no_row(tables: Tables) -> None:
    for number in range(20):
        add_files(tables.events, write_share(parsed(sale(number)), tables).events)
    with ThreadPoolExecutor(4) as pool:
        attempts = [pool.submit(compact, tables.events) for _ in range(4)]
    refused = [error for attempt in attempts if (error := attempt.exception())]
    assert len(refused) < 4
    assert all("already" in str(error) for error in refused)
    assert [row["event_id"] for row in rows_of(tables.events)].count("e7") == 1
    assert count_rows(tables.events) == 20


def test_what_no_worker_added_goes_after_a_week(tables: Tables) -> None:
    old, new = (write_share(parsed(sale(number)), tables).events[0].name for number in (1, 2))
    week_ago = time.time() - 7 * 24 * 3600
    os.utime(tables.events / old, (week_ago - 60, week_ago - 60))
    compact(tables.events)
    assert [path.name for path in tables.events.glob("*.parquet")] == [new]


def test_tables_that_are_there_are_left_alone(tables: Tables) -> None:
    add_files(tables.events, write_share(parsed(sale(1)), tables).events)
    create_tables(tables)
    assert len(rows_of(tables.events)) == 1


def test_rows_are_counted_and_the_last_event_is_known(tables: Tables) -> None:
    assert (count_rows(tables.events), last_occurred_at(tables.events)) == (0, None)
    for numbers in ((1, 9), (1, 4)):
        written = write_share(parsed(*map(sale, numbers)), tables)
        add_files(tables.events, written.events)
    assert count_rows(tables.events) == 4
    assert last_occurred_at(tables.events) == datetime(2020, 1, 1, 0, 9, tzinfo=UTC)
