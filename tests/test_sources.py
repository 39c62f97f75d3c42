"""Files and packages -> messages: formats, columns, event ids, and files that cannot be used."""

import gzip
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from recgraph import sources
from recgraph.errors import InputError
from recgraph.sources import (
    ColumnNames,
    between,
    check_file,
    encode,
    read_messages,
    with_event_ids,
)

NAMES = ColumnNames(user="customer", item="sku", quantity="n", time="when")
ROWS = [
    {"customer": "a b", "sku": "00123", "n": 2, "when": "2020-01-01T10:00:00Z"},
    {"customer": "ü", "sku": "$x.y", "n": -1, "when": "2020-01-02T10:00:00Z"},
]


def written(folder: Path, name: str) -> Path:
    path = folder / name
    frame = pd.DataFrame(ROWS)
    if name.endswith(".parquet"):
        frame.assign(when=pd.to_datetime(frame["when"])).to_parquet(path)
    elif "json" in name:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "name", ["s.csv", "s.csv.gz", "s.jsonl", "s.jsonl.gz", "s.ndjson", "s.parquet"]
)
def test_read_messages_reads_each_format(tmp_path: Path, name: str) -> None:
    first, second = read_messages(str(written(tmp_path, name)), NAMES)
    assert (first["user_id"], first["product_id"], first["quantity"]) == ("a b", "00123", 2)
    assert first["occurred_at"].startswith("2020-01-01T10:00:00")
    assert (second["user_id"], second["product_id"], second["quantity"]) == ("ü", "$x.y", -1)


def test_event_ids_last_and_count_equal_rows() -> None:
    rows = [{"user_id": "u", "n": 1}, {"user_id": "u", "n": 2}, {"user_id": "u", "n": 1}]
    ids = [[each["event_id"] for each in with_event_ids(dict(row) for row in rows)] for _ in "12"]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3
    assert ids[0][0][:-1] == ids[0][2][:-1]


def test_event_id_column_is_used(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("id,user_id,product_id,quantity,occurred_at\n7,u,p,1,2020-01-01\n")
    (message,) = read_messages(str(path), ColumnNames(event_id="id"))
    assert message["event_id"] == "7"


def test_what_is_no_number_and_what_is_empty_is_left_to_the_parser(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("user_id,product_id,quantity,occurred_at\nu,p,many,2020-01-01\n,p,1,\n")
    bad, empty = read_messages(str(path), ColumnNames())
    assert bad["quantity"] == "many"
    assert "user_id" not in empty
    assert "occurred_at" not in empty


def message_of(folder: Path, *, quantity: str = "1", time: str = "2020-01-01", **how: Any) -> Any:
    path = folder / "s.csv"
    path.write_text(f"user_id,product_id,quantity,occurred_at\nu,p,{quantity},{time}\n")
    (message,) = read_messages(str(path), ColumnNames(**how))
    return message


@pytest.mark.parametrize("value", ["nan?", "inf", "1e999"])
def test_numbers_that_json_has_not_stay_text(tmp_path: Path, value: str) -> None:
    assert message_of(tmp_path, quantity=value)["quantity"] == value


def test_without_a_quantity_column_each_row_counts_one(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("user_id,product_id,occurred_at\nu,p,2020-01-01\n")
    (message,) = read_messages(str(path), ColumnNames(quantity=None))
    assert message["quantity"] == 1


@pytest.mark.parametrize(
    ("text", "how", "iso"),
    [
        ("2010-12-01 08:26:00", {}, "2010-12-01T08:26:00"),
        ("2010-12-01", {}, "2010-12-01T00:00:00"),
        ("2010-12-01T08:26:00+01:00", {}, "2010-12-01T08:26:00+01:00"),
        ("12/1/2010 8:26", {"time_format": "%m/%d/%Y %H:%M"}, "2010-12-01T08:26:00"),
        ("1291191960", {"time_unit": "s"}, "2010-12-01T08:26:00+00:00"),
        ("1291191960500", {"time_unit": "ms"}, "2010-12-01T08:26:00.500000+00:00"),
        ("12/1/2010 8:26", {}, "12/1/2010 8:26"),
        ("soon", {"time_format": "%d.%m.%Y"}, "soon"),
        ("soon", {"time_unit": "s"}, "soon"),
        ("1e300", {"time_unit": "s"}, "1e300"),
        ("nan?", {"time_unit": "ms"}, "nan?"),
    ],
)
def test_times_become_iso_and_others_are_left_to_the_parser(
    tmp_path: Path, text: str, how: dict[str, Any], iso: str
) -> None:
    assert message_of(tmp_path, time=text, **how)["occurred_at"] == iso


def test_check_file_counts_rows_and_knows_content_by_its_id(tmp_path: Path) -> None:
    names = ("a.csv", "b.csv", "c.csv")
    for name, rows in zip(names, ("u,p,1,t\n" * 3, "u,p,1,t\n" * 3, "u,p,1,t\n"), strict=True):
        (tmp_path / name).write_text("user_id,product_id,quantity,occurred_at\n" + rows)
    a, b, c = (check_file(tmp_path / name, ColumnNames()) for name in names)
    assert (a.n_rows, c.n_rows) == (3, 1)
    assert a.id == b.id != c.id
    assert a.id != check_file(tmp_path / "a.csv", ColumnNames(item="user_id")).id


def test_check_file_refuses_a_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("user_id,product_id,quantity,occurred_at\n")
    with pytest.raises(InputError, match="has no rows"):
        check_file(path, ColumnNames())


def test_between_keeps_the_range_and_what_has_no_readable_time() -> None:
    times = ["2020-01-01", "2020-01-02T00:00:00Z", "2020-01-03T00:00:00+00:00", "gibberish", None]
    rows = [{"occurred_at": time} for time in times]
    rows[0]["occurred_at"] = "2020-01-01T23:59:59"
    start, end = datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC)
    kept = [row["occurred_at"] for row in between(rows, start, end)]
    assert kept == ["2020-01-02T00:00:00Z", "gibberish", None]


def test_encode_keys_by_user() -> None:
    key, value = encode({"user_id": "ü", "quantity": 1})
    assert key == "ü".encode()
    assert msgspec.json.decode(value) == {"user_id": "ü", "quantity": 1}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.csv", None, "cannot be read: No such file"),
        ("table.xlsx", b"x", "unknown format '.xlsx'; expected .csv"),
        ("noext", b"x", "unknown format"),
        (
            "short.csv",
            b"user_id,quantity\nu,1\n",
            "no column product_id, occurred_at; it has user_id",
        ),
        ("empty.csv", b"", "not a readable csv file"),
        ("broken.parquet", b"PAR1nonsense", "not a readable parquet file"),
        ("broken.jsonl", b'{"user_id": "u"\n{', "not a readable json file"),
        (
            "ragged.csv",
            b"user_id,product_id,quantity,occurred_at\nu,p\n",
            "not a readable csv file",
        ),
        ("broken.csv.gz", gzip.compress(b"x" * 9999, mtime=0)[:-30], "broken.csv.gz"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        list(read_messages(str(path), ColumnNames()))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_complete_journey_is_in_order_of_time() -> None:
    first, *rest = islice(read_messages(sources.COMPLETE_JOURNEY, ColumnNames()), 1000)
    assert first == {
        "event_id": "31198570044-1095275",
        "user_id": "900",
        "product_id": "1095275",
        "quantity": 1,
        "occurred_at": "2017-01-01T11:53:26Z",
    }
    times = [message["occurred_at"] for message in rest]
    assert times == sorted(times)
