"""Files straight into the event table: the identities of a replay, and a report that adds up."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pymongo.database import Database
from pyspark.sql import Row, SparkSession

from recgraph import files, jobs, sources
from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.events import rules_from_settings
from recgraph.jobs import importing
from recgraph.jobs.importing import Imported
from recgraph.services.mongo import open_store
from recgraph.sources import ColumnNames, check_file
from recgraph.spark import events as spark_events
from recgraph.spark.importing import parse_file
from recgraph.spark.interactions import count_events, distinct_events
from recgraph.stages import Stages
from recgraph.tables import add_files, create_tables

RETAIL = Path(__file__).parents[3] / "shared" / "data" / "online_retail.csv.gz"
RETAIL_COLUMNS = ColumnNames(
    user="CustomerID", item="StockCode", quantity="Quantity", time="InvoiceDate"
)
RETAIL_LIKE = '''\
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,"HEART, ""T-LIGHT""
HOLDER",6,2010-12-01 08:26:00,2.55,17850,United Kingdom
536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom
C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527,United Kingdom
536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom
536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom
536415,"line
break, ""q""",X,1,2010-12-01 11:52:00,0,1,
536416,22139,GOOD,many,2010-12-01 11:52:00,0.0,17850,United Kingdom
536417,22139,GOOD,2,yesterday,0.0,17850,United Kingdom
'''


def take_in(spark: SparkSession, settings: Settings, path: Path, columns: ColumnNames) -> Imported:
    found = importing.import_file(spark, settings, check_file(path, columns), Stages())
    assert found.rows == found.accepted + found.rejected + found.duplicates
    assert found.rejected == sum(each.rows for each in found.reasons)
    assert found.conflicts <= found.duplicates
    return found


def events_of(spark: SparkSession, settings: Settings) -> list[Row]:
    table = spark_events.read_events(spark, jobs.tables_of(settings))
    return table.orderBy("offset").collect()


def counts(found: Imported) -> tuple[int, int, int, int]:
    return found.rows, found.accepted, found.rejected, found.duplicates


def test_an_imported_file_has_the_ids_of_a_replay_and_counts_once(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "retail.csv"
    path.write_text(RETAIL_LIKE)
    first = take_in(spark, settings, path, RETAIL_COLUMNS)
    assert counts(first) == (8, 4, 4, 0)
    assert {each.reason: each.rows for each in first.reasons} == {
        "missing_field": 2,
        "wrong_type": 1,
        "time_unparseable": 1,
    }
    messages = list(sources.read_messages(str(path), RETAIL_COLUMNS))
    events = events_of(spark, settings)
    assert [(each["event_id"], each["offset"]) for each in events] == [
        (messages[number]["event_id"], number) for number in (0, 1, 2, 5)
    ]
    assert events[3]["product_id"] == 'line\nbreak, "q"'
    assert events[2]["quantity"] == -1
    rejected = spark_events.read_rejected(spark, jobs.tables_of(settings))
    assert {bytes(row["raw"]) for row in rejected.collect()} == {
        sources.encode(messages[number])[1] for number in (3, 4, 6, 7)
    }

    assert counts(take_in(spark, settings, path, RETAIL_COLUMNS)) == (8, 0, 4, 4)
    assert events_of(spark, settings) == events
    n_rejected = spark.read.format("delta").load(str(settings.rejected_dir)).count()
    assert n_rejected == 4


def test_an_import_that_was_killed_between_its_writes_is_run_again(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "retail.csv"
    path.write_text(RETAIL_LIKE)
    file = check_file(path, RETAIL_COLUMNS)
    tables = jobs.tables_of(settings)
    create_tables(tables)
    parsed = parse_file(spark, file, rules_from_settings(settings))
    killed = parsed.where("reason is not null")  # rejected rows are written first
    add_files(tables.rejected, spark_events.write_parsed(killed, tables).rejected)
    assert counts(take_in(spark, settings, path, RETAIL_COLUMNS)) == (8, 4, 4, 0)
    assert spark.read.format("delta").load(str(tables.rejected)).count() == 4
    assert len(events_of(spark, settings)) == 4


def test_ids_of_a_column_count_once_and_rows_without_one_go_by_content(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "sales.parquet"
    rows = {
        "sale": ["a", "b", "a", None, None, "a"],
        "user_id": ["u", "u", "u", "u", "u", "other"],
        "product_id": [1, 2, 1, 4, 4, 9],
        "quantity": [1.5] * 6,
        "occurred_at": pd.to_datetime(["2020-01-01"] * 6),
        "what": ["view"] * 6,
    }
    pd.DataFrame(rows).to_parquet(path)
    columns = ColumnNames(event_id="sale", kind="what")
    found = take_in(spark, settings, path, columns)
    assert counts(found) == (6, 4, 0, 2)
    assert found.conflicts == 1  # the last row is another sale under the id of the first
    events = events_of(spark, settings)
    messages = list(sources.read_messages(str(path), columns))
    assert [each["event_id"] for each in events] == [messages[n]["event_id"] for n in (0, 1, 3, 4)]
    assert {(each["user_id"], each["kind"]) for each in events} == {("u", "view")}

    rows["quantity"] = [1.5, 2.5] + [1.5] * 4
    pd.DataFrame(rows).to_parquet(path)
    found = take_in(spark, settings, path, columns)
    assert (counts(found), found.conflicts) == ((6, 0, 0, 6), 2)


def test_batches_are_shared_out_and_every_row_keeps_its_number(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "long.csv"
    n_rows = 110_000  # several batches of Arrow's CSV reader
    frame = pd.DataFrame({"user_id": range(n_rows), "product_id": "p", "quantity": 1})
    frame["occurred_at"] = "1577880000"
    frame.to_csv(path, index=False)
    columns = ColumnNames(time_unit="s")
    assert len(list(files.read_batches(path, columns.by_field()))) > 2
    mapped = settings.model_copy(update={"field_user_id": "payload.user", "time_unit": "ms"})
    assert counts(take_in(spark, mapped, path, columns)) == (n_rows, n_rows, 0, 0)
    table = spark_events.read_events(spark, jobs.tables_of(settings))
    assert table.where("cast(offset as string) != user_id").count() == 0
    assert count_events(distinct_events(table)) == (n_rows, 0, 0)


def test_a_file_that_changes_meanwhile_is_not_taken_in(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "growing.csv"
    path.write_text("user_id,product_id,quantity,occurred_at\nu,p,1,2020-01-01\n")
    file = check_file(path, ColumnNames())
    with path.open("a") as text:
        text.write("u,p,1,2020-01-01\n")
    with pytest.raises(InputError, match="had 1 rows, then 2: it was changed meanwhile"):
        importing.import_file(spark, settings, file, Stages())
    assert events_of(spark, settings) == []


def test_the_program_takes_several_files_and_its_report_adds_up(
    settings: Settings, mongo_uri: str, mongo_database: "Database[dict[str, Any]]", tmp_path: Path
) -> None:
    text = "user_id,product_id,quantity,occurred_at\nu,p,1,12/1/2010 8:26\nu,q,1,soon\n"
    for name in ("first.csv", "copy.csv"):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "recgraph.cli", "import", "first.csv", "copy.csv", "--json"]
    variables = {
        "RECGRAPH_DATA_DIR": str(settings.data_dir),
        "RECGRAPH_MONGO_URI": mongo_uri,
        "RECGRAPH_MONGO_DATABASE": mongo_database.name,
    }
    done = subprocess.run(
        [*command, "--time-format", "%m/%d/%Y %H:%M"],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        check=True,
    )
    summary = json.loads(done.stdout)
    rejected = {"reason": "time_unparseable", "rows": 1, "example": "'soon'"}
    first = {"rows": 2, "accepted": 1, "rejected": 1, "duplicates": 0, "conflicts": 0}
    first["reasons"] = [rejected]
    copy = first | {"accepted": 0, "duplicates": 1}
    assert summary["files"] == [{"path": "first.csv"} | first, {"path": "copy.csv"} | copy]
    assert [summary[name] for name in ("rows", "accepted", "rejected", "duplicates")] == [
        *(4, 1, 2, 1)
    ]
    assert (summary["accepted_in_all"], summary["rejected_in_all"]) == (1, 1)
    with open_store(mongo_uri, mongo_database.name) as store:  # what the dashboard shows
        progress = store.progress()
    assert progress is not None
    assert (progress.accepted, progress.rejected) == (1, 1)


def test_online_retail_imports_whole(spark: SparkSession, settings: Settings) -> None:
    if not RETAIL.exists():
        pytest.skip(f"{RETAIL.name} (UCI Online Retail) is not beside the checkout")
    found = take_in(spark, settings, RETAIL, RETAIL_COLUMNS)
    assert found.rows == 541_909
    assert [(each.reason, each.rows) for each in found.reasons] == [("missing_field", 135_080)]
    assert found.accepted == 541_909 - 135_080
