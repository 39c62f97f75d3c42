"""The one parser: what it takes, what it turns away and why, and that it never raises."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.config import Settings
from recgraph.events import (
    Reason,
    Rejection,
    SaleEvent,
    encode_event,
    parse_event,
    rules_from_settings,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = rules_from_settings(Settings())
GOOD = {
    "event_id": "b-1",
    "user_id": "900",
    "product_id": "1095275",
    "quantity": 2,
    "occurred_at": "2017-01-01T11:53:26Z",
}


def encode(value: object) -> bytes:
    """The JSON of a value, NaN and lone surrogates included, as Python writes them."""
    return json.dumps(value).encode()


def parse(**changes: object) -> SaleEvent | Rejection:
    message = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    return parse_event(msgspec.json.encode(message), RULES, now=NOW)


def test_parse_event_reads_every_field() -> None:
    expected = SaleEvent(
        user_id="900",
        product_id="1095275",
        quantity=2.0,
        occurred_at=datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC),
        event_id="b-1",
    )
    assert parse() == expected


def test_parse_event_takes_integer_ids_as_text() -> None:
    event = parse(user_id=900, product_id=7, event_id=5)
    assert isinstance(event, SaleEvent)
    assert (event.user_id, event.product_id, event.event_id) == ("900", "7", "5")


def test_parse_event_without_id_or_with_unknown_fields_is_accepted() -> None:
    event = parse(event_id=..., shop="north")
    assert isinstance(event, SaleEvent)
    assert event.event_id is None


def test_parse_event_with_a_rating_counts_one_when_the_quantity_is_left_out() -> None:
    event = parse(quantity=..., rating=4.5)
    assert isinstance(event, SaleEvent)
    assert (event.quantity, event.rating) == (1.0, 4.5)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2017-01-01T11:53:26", 11),
        ("2017-01-01 11:53:26", 11),
        ("2017-01-01T11:53:26+02:00", 9),
        ("2017-01-01T11:53:26.123456Z", 11),
    ],
)
def test_parse_event_reads_times_as_utc(text: str, hour: int) -> None:
    event = parse(occurred_at=text)
    assert isinstance(event, SaleEvent)
    assert event.occurred_at.tzinfo is UTC
    assert event.occurred_at.hour == hour


def test_parse_event_takes_a_negative_quantity_as_a_return() -> None:
    event = parse(quantity=-3)
    assert isinstance(event, SaleEvent)
    assert event.quantity == -3


def test_parse_event_takes_views_and_carts_without_a_quantity() -> None:
    event = parse(kind="view", quantity=...)
    assert isinstance(event, SaleEvent)
    assert (event.kind, event.quantity) == ("view", 1.0)


def test_parse_event_reads_other_producers_by_paths_constants_and_epochs() -> None:
    settings = Settings(
        field_user_id="payload.customer.id",
        field_product_id="payload.sku",
        field_quantity="=1",
        field_kind="=cart",
        field_occurred_at="at",
        time_unit="ms",
    )
    mapped = rules_from_settings(settings)
    foreign = {"payload": {"customer": {"id": 7}, "sku": "x"}, "at": 1_577_836_800_000}
    event = parse_event(msgspec.json.encode(foreign), mapped, now=NOW)
    assert event == SaleEvent("7", "x", 1.0, datetime(2020, 1, 1, tzinfo=UTC), kind="cart")
    for wrong, reason in [
        ({"payload": {"sku": "x"}, "at": 1}, Reason.MISSING_FIELD),
        ({"payload": 5, "at": 1}, Reason.MISSING_FIELD),
        (foreign | {"at": 1e300}, Reason.TIME_UNPARSEABLE),
        (foreign | {"at": True}, Reason.WRONG_TYPE),
    ]:
        rejection = parse_event(msgspec.json.encode(wrong), mapped, now=NOW)
        assert isinstance(rejection, Rejection)
        assert rejection.reason == reason
    missing = parse_event(b'{"at": 1}', mapped, now=NOW)
    assert "payload.customer.id" in missing.detail


def test_parse_event_reads_naive_times_in_the_zone_of_the_settings() -> None:
    vienna = rules_from_settings(Settings(time_zone="Europe/Vienna"))
    raw = msgspec.json.encode(GOOD | {"occurred_at": "2020-07-01T12:00:00"})
    event = parse_event(raw, vienna, now=NOW)
    assert isinstance(event, SaleEvent)
    assert event.occurred_at == datetime(2020, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "strange",
    ["a b", 'he said "hi"', "$where", "a.b", "🥐", "<img src=x>", "a/b", "a\x00b", "'; --"],
)
def test_parse_event_keeps_strange_ids_as_they_are(strange: str) -> None:
    event = parse(user_id=strange, product_id=strange)
    assert isinstance(event, SaleEvent)
    assert (event.user_id, event.product_id) == (strange, strange)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": ...}, Reason.MISSING_FIELD),
        ({"user_id": None}, Reason.MISSING_FIELD),
        ({"quantity": ...}, Reason.MISSING_FIELD),
        ({"user_id": {"$gt": ""}}, Reason.WRONG_TYPE),
        ({"product_id": 1.5}, Reason.WRONG_TYPE),
        ({"quantity": "3"}, Reason.WRONG_TYPE),
        ({"quantity": True}, Reason.WRONG_TYPE),
        ({"occurred_at": 12}, Reason.WRONG_TYPE),
        ({"occurred_at": "yesterday"}, Reason.TIME_UNPARSEABLE),
        ({"occurred_at": "2017-02-30T00:00:00Z"}, Reason.TIME_UNPARSEABLE),
        ({"occurred_at": "1970-01-01T00:00:00Z"}, Reason.TIME_OUT_OF_RANGE),
        ({"occurred_at": "2100-01-01T00:00:00Z"}, Reason.TIME_OUT_OF_RANGE),
        ({"occurred_at": "0001-01-01T00:00:00+12:00"}, Reason.TIME_OUT_OF_RANGE),
        ({"user_id": ""}, Reason.EMPTY_ID),
        ({"product_id": " \t"}, Reason.EMPTY_ID),
        ({"event_id": ""}, Reason.EMPTY_ID),
        ({"user_id": "u" * 257}, Reason.ID_TOO_LONG),
        ({"note": "x" * 70_000}, Reason.TOO_LARGE),
        ({"user_id": 10**300}, Reason.ID_TOO_LONG),
        ({"kind": "gift"}, Reason.UNKNOWN_KIND),
        ({"schema_version": 9}, Reason.UNKNOWN_VERSION),
        ({"kind": "return", "quantity": ...}, Reason.MISSING_FIELD),
    ],
)
def test_parse_event_rejects_with_the_reason(changes: dict[str, object], reason: Reason) -> None:
    rejection = parse(**changes)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason
    assert rejection.detail


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, Reason.EMPTY),
        (b"", Reason.EMPTY),
        (b"not json", Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_JSON),
        (b'{"user_id": NaN}', Reason.NOT_JSON),
        (b'{"user_id": "\\ud800"}', Reason.NOT_JSON),
        (b"[" * 60_000, Reason.NOT_JSON),
        (b"[1, 2]", Reason.NOT_AN_OBJECT),
        (b"null", Reason.NOT_AN_OBJECT),
        (b"{}", Reason.MISSING_FIELD),
    ],
)
def test_parse_event_rejects_what_is_no_object(raw: bytes | None, reason: Reason) -> None:
    rejection = parse_event(raw, RULES, now=NOW)
    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50).filter(str.strip)
sale_events = st.builds(
    SaleEvent,
    user_id=ids,
    product_id=ids,
    quantity=st.floats(allow_nan=False, allow_infinity=False),
    occurred_at=st.datetimes(
        datetime(1990, 1, 1),  # noqa: DTZ001
        datetime(2026, 1, 2),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    event_id=st.none() | ids,
    rating=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(["purchase", "view", "cart", "rating", "return"]),
)


@given(sale_events)
def test_an_event_survives_the_round_trip(event: SaleEvent) -> None:
    assert parse_event(encode_event(event), RULES, now=NOW + timedelta(days=1)) == event


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
almost = st.dictionaries(
    st.sampled_from(sorted(GOOD)), json_values | st.sampled_from([*GOOD.values()])
)


messages = (
    st.none()
    | st.binary()
    | almost.map(lambda value: repr(value).replace("'", '"').encode("utf-8", "replace"))
    | sale_events.map(encode_event)
)


@given(messages)
def test_parse_event_never_raises(raw: bytes | None) -> None:
    assert isinstance(parse_event(raw, RULES, now=NOW), SaleEvent | Rejection)
