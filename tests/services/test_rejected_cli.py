"""`recgraph rejected` on a Delta table and a real topic."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from recgraph.cli import app
from recgraph.config import Settings
from recgraph.errors import InputError, ServiceError
from recgraph.services import kafka
from tests.services.test_kafka import consume

DAY = datetime(2026, 1, 1, tzinfo=UTC)
SALE = {"user_id": "u", "product_id": "p", "occurred_at": "2020-01-01T00:00:00Z"}


@pytest.fixture(autouse=True)
def _environment(settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECGRAPH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("RECGRAPH_TOPIC", topic)
    monkeypatch.setenv("RECGRAPH_KAFKA_BOOTSTRAP", "127.0.0.1:9")


def write_rejected(path: Path, *messages: tuple[str, bytes | None], repeats: int = 1) -> None:
    """A table as ingest writes it; later messages were taken in later."""
    rows = [
        {
            "topic_id": "topic",
            "partition": 0,
            "offset": offset,
            "ingested_at": DAY + timedelta(minutes=offset + 100 * again),
            "reason": reason,
            "detail": f"detail {offset}",
            "raw": raw,
        }
        for again in range(repeats)
        for offset, (reason, raw) in enumerate(messages)
    ]
    types = {"partition": pa.int32(), "ingested_at": pa.timestamp("us", "UTC"), "raw": pa.binary()}
    texts = dict.fromkeys(("topic_id", "reason", "detail"), pa.string())
    fields = texts | types | {"offset": pa.int64()}
    schema = pa.schema([(name, fields[name]) for name in rows[0]])
    write_deltalake(str(path), pa.Table.from_pylist(rows, schema))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["rejected", *arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def as_json(**changes: object) -> bytes:
    return json.dumps(SALE | changes).encode()


def test_list_counts_by_reason_and_shows_the_newest_first(settings: Settings) -> None:
    messages = [("not_json", b"a"), ("not_json", b"b"), ("empty", None), ("wrong_type", b"{}")]
    write_rejected(settings.rejected_dir, *messages, repeats=2)
    found = run_json("list", "--limit", "3")
    assert found["rejected"] == 4
    assert found["by_reason"] == {"not_json": 2, "empty": 1, "wrong_type": 1}
    assert [each["offset"] for each in found["messages"]] == [3, 2, 1]
    only = run_json("list", "--reason", "not_json", "--reason", "empty")
    assert [each["raw"] for each in only["messages"]] == ["", "b", "a"]


def test_list_shows_hostile_messages_safely(settings: Settings) -> None:
    hostile = b"\x1b]0;owned\x07[red]x[/red] \xff" + b"y" * 100_000
    write_rejected(settings.rejected_dir, ("not_json", hostile))
    shown = run("list")
    assert "[red]x[/red]" in shown
    assert "\x1b" not in shown
    assert len(shown) < 3_000
    (message,) = run_json("list")["messages"]
    assert message["n_bytes"] == len(hostile)


def test_an_empty_table_is_no_error_but_none_at_all_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(InputError, match="recgraph ingest --once"):
        run("list")
    with pytest.raises(InputError, match="recgraph ingest --once"):
        run("replay")
    write_rejected(settings.rejected_dir, ("empty", None))
    assert run_json("list", "--reason", "not_json")["messages"] == []


@pytest.mark.parametrize("command", ["list", "replay"])
def test_unknown_reason_says_which_exist(command: str) -> None:
    result = CliRunner().invoke(app, ["rejected", command, "--reason", "nope"])
    assert result.exit_code == 2
    assert "not_json" in result.output
    assert "time_unparseable" in result.output.replace("\n", "")


def test_set_without_value_is_one_line(settings: Settings) -> None:
    write_rejected(settings.rejected_dir, ("empty", None))
    with pytest.raises(InputError, match="--set quantity=1"):
        run("replay", "--set", "quantity")


def test_dry_run_needs_no_broker_and_adds_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rejected(
        settings.rejected_dir,
        ("missing_field", as_json()),
        ("missing_field", as_json(user_id="")),
        ("wrong_type", as_json(quantity="many")),
        ("not_json", b"rubbish"),
        repeats=2,
    )
    done = run_json("replay", "--set", "quantity=1", "--dry-run")
    assert done == {
        "read": 4,
        "sent": 2,
        "still_rejected": {"empty_id": 1},
        "unmendable": 1,
        "dry_run": True,
    }
    assert run_json("replay", "--reason", "missing_field", "--dry-run")["still_rejected"] == {
        "missing_field": 1,
        "empty_id": 1,
    }
    monkeypatch.setattr(kafka, "_TIMEOUT_MS", 1500)
    with pytest.raises(ServiceError, match="does not answer"):
        run("replay", "--set", "quantity=1")


def test_nothing_to_send_needs_no_broker(settings: Settings) -> None:
    write_rejected(settings.rejected_dir, ("not_json", b"rubbish"))
    assert run_json("replay")["sent"] == 0


@pytest.mark.services
def test_mended_messages_go_to_the_topic_under_a_lasting_id(
    settings: Settings, kafka_bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECGRAPH_KAFKA_BOOTSTRAP", kafka_bootstrap)
    write_rejected(
        settings.rejected_dir,
        ("missing_field", as_json(qty=2, shop="north")),
        ("missing_field", as_json(qty=3, event_id="own")),
        ("not_json", b"rubbish"),
    )
    for _ in range(2):
        done = run_json("replay", "--rename", "qty=quantity")
        assert (done["sent"], done["unmendable"], done["still_rejected"]) == (2, 1, {})
    sent = [(key, json.loads(value)) for key, value in consume(kafka_bootstrap, topic)]
    mended = SALE | {"quantity": 2, "shop": "north", "event_id": "topic/0/0"}
    own = SALE | {"quantity": 3, "event_id": "own"}
    assert sorted(sent, key=lambda each: each[1]["quantity"]) == [
        *[(b"u", mended)] * 2,
        *[(b"u", own)] * 2,
    ]
    assert kafka.describe_topic(kafka_bootstrap, topic).n_partitions == 2
