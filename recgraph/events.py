"""One message -> a sale event, or a rejection with its reason: the only parser.

The same code runs inside Spark, in the live consumer and behind every other door. It never
raises: whatever the bytes are, the answer is a `SaleEvent` or a `Rejection`. A message is a JSON
object::

    {"event_id": "b-17", "user_id": "900", "product_id": "1095275",
     "quantity": 2, "occurred_at": "2017-01-01T11:53:26Z"}

``event_id`` may be left out (then the place on the topic identifies the event), ``rating`` may be
added (then ``quantity`` may be left out and counts 1). Ids may be JSON integers. A time without a
zone is UTC. Fields of other names are ignored. A negative quantity is a return.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from recgraph.config import Settings


class Reason(StrEnum):
    """Why a message was rejected."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    EMPTY_ID = "empty_id"
    ID_TOO_LONG = "id_too_long"
    NOT_FINITE = "not_finite"
    TIME_UNPARSEABLE = "time_unparseable"
    TIME_OUT_OF_RANGE = "time_out_of_range"


class SaleEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sale: a user, a product, how many, when.

    ``occurred_at`` is UTC-aware; ``quantity`` and ``rating`` are finite.
    """

    user_id: str
    product_id: str
    quantity: float
    occurred_at: datetime
    event_id: str | None = None
    rating: float | None = None


class Rejection(msgspec.Struct, frozen=True):
    """A message that is not a sale event, with what was found."""

    reason: Reason
    detail: str


class Limits(msgspec.Struct, frozen=True):
    """What a message may be at most; the fields are settings of the same names."""

    max_message_bytes: int
    max_id_length: int
    earliest: datetime
    max_future: timedelta


class _Message(msgspec.Struct):
    """The wire form that the fast path decodes."""

    user_id: str | int
    product_id: str | int
    occurred_at: datetime
    quantity: float | None = None
    event_id: str | int | None = None
    rating: float | None = None


_decoder = msgspec.json.Decoder(_Message)
_encoder = msgspec.json.Encoder()
_REQUIRED = ("user_id", "product_id", "occurred_at")


def limits_from_settings(settings: Settings) -> Limits:
    """The limits that the settings describe."""
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_id_length=settings.max_id_length,
        earliest=datetime(settings.earliest_year, 1, 1, tzinfo=UTC),
        max_future=timedelta(days=settings.max_future_days),
    )


def encode_event(event: SaleEvent) -> bytes:
    """The message of an event; `parse_event` gives the event back."""
    return _encoder.encode(event)


def parse_event(raw: bytes | None, limits: Limits, *, now: datetime) -> SaleEvent | Rejection:
    """The event that a message carries, or why it carries none.

    Parameters
    ----------
    raw
        The message's value; None is a Kafka tombstone.
    limits
        What is too large, too long, too early or too late.
    now
        UTC-aware time of arrival.
    """
    if not raw:
        return Rejection(Reason.EMPTY, "the message has no content")
    if len(raw) > limits.max_message_bytes:
        found = f"{len(raw)} bytes, at most {limits.max_message_bytes} are read"
        return Rejection(Reason.TOO_LARGE, found)
    try:
        message = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        return _explain(raw, error)
    return _check(message, limits, now)


def parse_events(
    raws: Iterable[bytes | None], limits: Limits, *, now: datetime
) -> list[SaleEvent | Rejection]:
    """`parse_event` of each message, in order."""
    return [parse_event(raw, limits, now=now) for raw in raws]


def _check(message: _Message, limits: Limits, now: datetime) -> SaleEvent | Rejection:
    """The event, if each of its values is possible."""
    ids = (message.user_id, message.product_id, message.event_id)
    for name, value in zip(("user_id", "product_id", "event_id"), ids, strict=True):
        if isinstance(value, str):
            if not value.strip():
                return Rejection(Reason.EMPTY_ID, f"{name} is {value!r}")
            if len(value) > limits.max_id_length:
                found = f"{name} has {len(value)} characters, at most {limits.max_id_length}"
                return Rejection(Reason.ID_TOO_LONG, found)
    quantity = message.quantity
    if quantity is None:
        if message.rating is None:
            return Rejection(Reason.MISSING_FIELD, "neither quantity nor rating is there")
        quantity = 1.0
    if not math.isfinite(quantity) or not math.isfinite(message.rating or 0.0):
        return Rejection(Reason.NOT_FINITE, f"quantity {quantity}, rating {message.rating}")
    return _check_time(message, quantity, limits, now)


def _check_time(
    message: _Message, quantity: float, limits: Limits, now: datetime
) -> SaleEvent | Rejection:
    occurred_at = message.occurred_at
    try:
        if occurred_at.tzinfo is None:
            occurred_at = occurred_at.replace(tzinfo=UTC)
        occurred_at = occurred_at.astimezone(UTC)
        possible = limits.earliest <= occurred_at <= now + limits.max_future
    except OverflowError:  # year 1 or 9999, shifted out of the calendar by its zone
        possible = False
    if not possible:
        window = f"{limits.earliest:%Y-%m-%d} to {now + limits.max_future:%Y-%m-%d}"
        return Rejection(Reason.TIME_OUT_OF_RANGE, f"{message.occurred_at} is not in {window}")
    return SaleEvent(
        user_id=str(message.user_id),
        product_id=str(message.product_id),
        quantity=quantity,
        occurred_at=occurred_at,
        event_id=None if message.event_id is None else str(message.event_id),
        rating=message.rating,
    )


def _explain(raw: bytes, error: Exception) -> Rejection:
    """Why the fast path could not decode the message: the slow path, for rejected ones only."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as cause:
        return Rejection(Reason.NOT_JSON, _one_line(cause))
    if not isinstance(value, dict):
        return Rejection(Reason.NOT_AN_OBJECT, f"a JSON {type(value).__name__}")
    missing = [name for name in _REQUIRED if value.get(name) is None]
    if missing:
        return Rejection(Reason.MISSING_FIELD, f"no {', '.join(missing)}")
    if "$.occurred_at" in str(error) and isinstance(value["occurred_at"], str):
        return Rejection(Reason.TIME_UNPARSEABLE, repr(value["occurred_at"][:100]))
    return Rejection(Reason.WRONG_TYPE, _one_line(error))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
