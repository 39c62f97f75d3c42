"""Messages -> columns: asked of a whole batch or not, each message gets the answer of one."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.batches import EVENT_SCHEMA, parse_batches
from recgraph.config import Settings
from recgraph.events import Rejection, parse_event, place_id, rules_from_settings
from tests.test_events import GOOD, encode, messages

RULES = rules_from_settings(Settings())
TOPIC, PARTITION = "topic", 3
NEARLY_SURE: list[dict[str, object]] = [
    {"user_id": "\u3000"},
    {"product_id": "\x1c"},
    {"event_id": " "},
    {"event_id": None},
    {"user_id": 8},
    {"event_id": 7, "user_id": 8},
    {"user_id": "🥐" * 256},
    {"user_id": "u" * 257},
    {"quantity": 10**400},
    {"kind": None},
    {"schema_version": 1},
    {"schema_version": 2},
    {"quantity": None, "rating": 5},
    {"kind": "gift"},
    {"occurred_at": "2017-01-01T11:53:26"},
    {"occurred_at": "2017-01-01T11:53:26.000001+02:00"},
    {"occurred_at": "1989-12-31T23:59:59.999999Z"},
    {"occurred_at": "1990-01-01T01:00:00+02:00"},
    {"occurred_at": "2990-01-01T00:00:00Z"},
    {"occurred_at": "0001-01-01T00:00:00+23:59"},
    {"occurred_at": "9999-12-31T23:59:59-23:59"},
    {"note": "x" * 70_000},
]
"""What a strict decoder takes or nearly takes, and no message like `GOOD`."""


def messages_of(values: Sequence[bytes | None]) -> pa.RecordBatch:
    columns = {
        "value": values,
        "partition": [PARTITION] * len(values),
        "offset": range(len(values)),
    }
    types = {"value": pa.binary(), "partition": pa.int32(), "offset": pa.int64()}
    arrays = [pa.array(column, types[name]) for name, column in columns.items()]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def answers_of(values: Sequence[bytes | None]) -> tuple[list[object], list[object]]:
    """What the batch of the values says of each, and what `parse_event` says."""
    batches = list(parse_batches([messages_of(values)], rules=RULES, topic_id=TOPIC))
    rows = sorted(pa.Table.from_batches(batches).to_pylist(), key=lambda row: row["offset"])
    now = max(batch.column("ingested_at")[0].as_py() for batch in batches if len(batch))
    expected = [expected_row(value, place, now) for place, value in enumerate(values)]
    found = [
        {name: row[name] for name in wanted} for row, wanted in zip(rows, expected, strict=True)
    ]
    return found, expected


def expected_row(value: bytes | None, offset: int, now: datetime) -> dict[str, object]:
    answer = parse_event(value, RULES, now=now)
    if isinstance(answer, Rejection):
        places = {"reason": answer.reason.value, "detail": answer.detail, "raw": value}
        return places | dict.fromkeys(EVENT_SCHEMA.names)
    id_ = answer.event_id or place_id(TOPIC, PARTITION, offset)
    return msgspec.structs.asdict(answer) | {"event_id": id_, "reason": None, "raw": None}


good = st.integers(0, 10**6).map(lambda n: encode(GOOD | {"event_id": f"b-{n}", "quantity": n}))
nearly = st.sampled_from(NEARLY_SURE).map(lambda change: encode(GOOD | change))


@given(st.lists(good | nearly | messages, min_size=1, max_size=20))
def test_a_batch_says_what_parse_event_says(values: list[bytes | None]) -> None:
    found, expected = answers_of(values)
    assert found == expected


@pytest.mark.parametrize("change", NEARLY_SURE)
def test_one_message_among_good_ones_is_judged_by_itself(change: dict[str, object]) -> None:
    found, expected = answers_of([encode(GOOD), encode(GOOD | change), encode(GOOD)])
    assert found == expected


@pytest.mark.parametrize("beyond", [timedelta(0), timedelta(seconds=5)])
def test_the_window_ends_where_it_ends_for_one_message(beyond: timedelta) -> None:
    edge = datetime.now(UTC) + RULES.max_future + beyond
    found, expected = answers_of([encode(GOOD), encode(GOOD | {"occurred_at": edge.isoformat()})])
    assert found == expected
    assert (expected[1]["reason"] is None) == (beyond == timedelta(0))  # type: ignore[index]


def test_arrow_and_python_call_the_same_text_blank() -> None:
    texts = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    trimmed = pc.utf8_trim_whitespace(pa.array(texts)).to_pylist()
    assert [text for text in texts if not text.strip()] == [
        text for text, left in zip(texts, trimmed, strict=True) if not left
    ]


def test_messages_of_our_own_making_are_not_looked_at_twice() -> None:
    values = [encode(GOOD | {"event_id": str(number)}) for number in range(3)]
    batches = list(parse_batches([messages_of(values)], rules=RULES, topic_id=TOPIC))
    assert [len(batch) for batch in batches] == [3]
