"""Messages changed: what is set, renamed, given an id, and shown."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.events import Reason, Rejection, SaleEvent, parse_event, rules_from_settings
from recgraph.messages import (
    Identified,
    Mending,
    identify,
    mend,
    mending_from_options,
    message_from_event,
    readable,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = rules_from_settings(Settings())
GOOD = b'{"user_id": "u", "product_id": "p", "quantity": 1, "occurred_at": "2020-01-01T00:00:00Z"}'


def test_options_are_json_or_text() -> None:
    mending = mending_from_options(
        ["qty=quantity", "a.b=c.d"], ["n=1", "s=abc", 'q="1"', "x=null", "e=", "eq=a=b", "o.p={}"]
    )
    assert mending.renames == {"qty": "quantity", "a.b": "c.d"}
    assert mending.sets == {
        **{"n": 1, "s": "abc", "q": "1", "x": None, "e": "", "eq": "a=b", "o.p": {}}
    }


@pytest.mark.parametrize(
    ("renames", "sets"),
    [
        ([], ["quantity"]),
        ([], ["=1"]),
        ([], ["a..b=1"]),
        (["old"], []),
        (["old="], []),
        (["old=a."], []),
    ],
)
def test_options_that_make_no_sense_are_one_line(renames: list[str], sets: list[str]) -> None:
    with pytest.raises(InputError, match=r"found '.*', expected"):
        mending_from_options(renames, sets)


def test_mend_renames_first_and_sets_then() -> None:
    mending = Mending(
        {"qty": "quantity", "who.id": "user_id", "gone": "kept"}, {"product_id": "p", "a.b": 1}
    )
    raw = b'{"qty": 2, "quantity": "two", "who": {"id": 7, "name": "x"}, "kept": 1, "a": 5}'
    mended = mend(raw, mending)
    assert mended is not None
    assert json.loads(mended) == {
        "quantity": 2,
        "who": {"name": "x"},
        "user_id": 7,
        "kept": 1,
        "product_id": "p",
        "a": {"b": 1},
    }


def test_mend_keeps_what_it_does_not_touch() -> None:
    number = 2**200
    mended = mend(b'{"n": %d, "s": "\\ud800\\u0000", "q": NaN}' % number, Mending({}, {"q": 1}))
    assert mended is not None
    assert json.loads(mended) == {"n": number, "s": "\ud800\x00", "q": 1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_mend_reads_what_other_machines_write(encoding: str) -> None:
    mended = mend(GOOD.decode().encode(encoding), Mending())
    assert isinstance(parse_event(mended, RULES, now=NOW), SaleEvent)


@pytest.mark.parametrize(
    "raw", [None, b"", b"rubbish", b"[1]", b"null", b'{"a": "\xff"}', b"[" * 100_000, b"9" * 5000]
)
def test_mend_gives_none_for_what_is_no_object(raw: bytes | None) -> None:
    assert mend(raw, Mending({}, {"quantity": 1})) is None


@given(st.binary(), st.dictionaries(st.sampled_from(["a", "a.b", "quantity"]), st.integers()))
def test_mend_never_raises(raw: bytes, sets: dict[str, int]) -> None:
    mended = mend(raw, Mending({"a": "b"}, sets))
    assert mended is None or isinstance(json.loads(mended), dict)


def test_identify_leaves_a_message_with_an_id_as_it_is() -> None:
    raw = GOOD[:-1] + b', "event_id": 5, "more": 1.10}'
    assert identify(raw, RULES, now=NOW, spare_id="x") == Identified("5", "u", raw)


@pytest.mark.parametrize("none", [b"", b', "event_id": null'])
def test_identify_puts_the_spare_id_in(none: bytes) -> None:
    found = identify(GOOD[:-1] + none + b"}", RULES, now=NOW, spare_id="t/0/7")
    assert isinstance(found, Identified)
    assert json.loads(found.raw) == json.loads(GOOD) | {"event_id": "t/0/7"}
    event = parse_event(found.raw, RULES, now=NOW)
    assert isinstance(event, SaleEvent)
    assert event.event_id == found.event_id == "t/0/7"


def test_identify_follows_the_rules_and_replaces_what_stands_in_the_way() -> None:
    rules = rules_from_settings(Settings(field_event_id="meta.key.id"))
    found = identify(GOOD[:-1] + b', "meta": {"key": 5, "a": 1}}', rules, now=NOW, spare_id="x")
    assert isinstance(found, Identified)
    assert json.loads(found.raw)["meta"] == {"key": {"id": "x"}, "a": 1}


def test_identify_rejects_what_the_reader_would_reject() -> None:
    short = rules_from_settings(Settings(max_id_length=5))
    tight = rules_from_settings(Settings(max_message_bytes=256))
    long = GOOD[:-1] + b', "n": "' + b"x" * (240 - len(GOOD)) + b'"}'
    cases = [
        (b"rubbish", RULES, Reason.NOT_JSON),
        (GOOD, short, Reason.ID_TOO_LONG),
        (long, tight, Reason.TOO_LARGE),
        (GOOD[:-1] + b', "n": ' + b"9" * 5000 + b"}", RULES, Reason.NOT_JSON),
    ]
    for raw, rules, reason in cases:
        found = identify(raw, rules, now=NOW, spare_id="a longer one")
        assert isinstance(found, Rejection)
        assert found.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"field_user_id": "payload.who", "field_product_id": "payload.what"},
        {"time_unit": "ms", "field_occurred_at": "at"},
        {"time_unit": "s"},
    ],
)
def test_a_message_made_from_an_event_is_read_as_that_event(changes: dict[str, str]) -> None:
    event = SaleEvent("u", "p", -2.5, datetime(2020, 1, 1, 1, 2, 3, tzinfo=UTC), "e", 4.5, "cart")
    rules = rules_from_settings(Settings(**changes))
    assert parse_event(message_from_event(event, rules), rules, now=NOW) == event


def test_readable_is_one_safe_line() -> None:
    assert readable(b'{"a": "\x1b[31m\n\xff\x00"} \xe2\x80\xae \xf0\x9f\xa5\x90', 100) == (
        '{"a": "\\x1b[31m\\n\\xff\\x00"} \\u202e 🥐'
    )
    assert readable(None, 10) == ""
    assert readable(b"x" * 1_000_000, 10) == "x" * 9 + "…"
