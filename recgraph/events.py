"""One message -> a sale event, or a rejection with its reason: the only parser.

The same code runs inside Spark, in the live consumer and behind every other door. It never
raises: whatever the bytes are, the answer is a `SaleEvent` or a `Rejection`. A message is a JSON
object::

    {"event_id": "b-17", "user_id": "900", "product_id": "1095275",
     "quantity": 2, "occurred_at": "2017-01-01T11:53:26Z"}

``event_id`` may be left out (then the place on the topic identifies the event); ``kind`` may say
that it is no purchase but a view, a cart, a rating or a return; ``rating`` may be added. Only a
purchase or a return needs a ``quantity``, and none does that carries a rating. Ids may be JSON
integers. A time without a zone is in the zone of the settings, UTC by default. Fields of other
names are ignored. A negative quantity is a return.

Producers that name their fields otherwise are read by settings: a field's setting is a dotted path
into the object (``payload.customer.id``) or a constant (``=1``); times may be epoch numbers.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from recgraph.config import Settings

PURCHASE = "purchase"
SCHEMA_VERSION = 1
"""The version that a message may carry as ``schema_version``; one without is of this version."""


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
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_VERSION = "unknown_version"


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
    kind: str = PURCHASE


def place_id(topic_id: str, partition: int, offset: int) -> str:
    """The identity of an event that has no id: where it stands."""
    return f"{topic_id}/{partition}/{offset}"


class Rejection(msgspec.Struct, frozen=True):
    """A message that is not a sale event, with what was found."""

    reason: Reason
    detail: str


class Rules(msgspec.Struct, frozen=True):
    """What a message must be to be accepted, and where its fields stand."""

    max_message_bytes: int
    max_id_length: int
    earliest: datetime
    max_future: timedelta
    kinds: frozenset[str]
    paths: dict[str, str]
    """Field -> dotted path or ``=constant``; only fields that do not stand under their name."""
    time_unit: Literal["iso", "s", "ms"]
    time_zone: str

    @property
    def is_plain(self) -> bool:
        """Whether messages have our names and ISO times, and need no mapping."""
        return not self.paths and self.time_unit == "iso"

    @property
    def zone(self) -> tzinfo:
        """Zone of the times that name none."""
        return UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)


class _Message(msgspec.Struct):
    """The wire form that the fast path decodes."""

    user_id: str | int
    product_id: str | int
    occurred_at: datetime
    quantity: float | None = None
    event_id: str | int | None = None
    rating: float | None = None
    kind: str | None = None
    schema_version: int | None = None


_decoder = msgspec.json.Decoder(_Message)
_encoder = msgspec.json.Encoder()
_FIELDS = _Message.__struct_fields__
_REQUIRED = ("user_id", "product_id", "occurred_at")
_COUNTED = (PURCHASE, "return")
"""Kinds whose quantity must be said."""
_PER_SECOND = {"s": 1, "ms": 1000}
_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
_STRICT_ERRORS = (*_DECODE_ERRORS, TypeError)


def rules_from_settings(settings: Settings) -> Rules:
    """The rules that the settings describe."""
    paths = {name: getattr(settings, f"field_{name}", name) for name in _FIELDS}
    return Rules(
        max_message_bytes=settings.max_message_bytes,
        max_id_length=settings.max_id_length,
        earliest=datetime(settings.earliest_year, 1, 1, tzinfo=UTC),
        max_future=timedelta(days=settings.max_future_days),
        kinds=frozenset(settings.kind_weights),
        paths={name: path for name, path in paths.items() if path != name},
        time_unit=settings.time_unit,
        time_zone=settings.time_zone,
    )


def encode_event(event: SaleEvent) -> bytes:
    """The message of an event; under the default settings `parse_event` gives the event back."""
    return _encoder.encode(event)


def parse_event(raw: bytes | None, rules: Rules, *, now: datetime) -> SaleEvent | Rejection:
    """The event that a message carries, or why it carries none.

    Parameters
    ----------
    raw
        The message's value; None is a Kafka tombstone.
    rules
        Where the fields stand, and what is too large, too long, too early or too late.
    now
        UTC-aware time of arrival.
    """
    if not raw:
        return Rejection(Reason.EMPTY, "the message has no content")
    if len(raw) > rules.max_message_bytes:
        found = f"{len(raw)} bytes, at most {rules.max_message_bytes} are read"
        return Rejection(Reason.TOO_LARGE, found)
    try:
        message = _decoder.decode(raw) if rules.is_plain else _decode_mapped(raw, rules)
    except _DECODE_ERRORS as error:
        return _explain(raw, error, rules)
    return _check(message, rules) or _check_time(message, rules, now)


def decode_strictly(raws: Iterable[bytes | None], rules: Rules) -> list[SaleEvent | None]:
    """What a strict decoder makes of each message; None of one that it does not take as it is.

    These are the events of `parse_event`, in a third of its time, but for the zone of their times,
    unless the time is out of the window, an id is blank or the bytes are too many: what the caller
    has to make sure of, a batch at a time.
    """
    if not rules.is_plain:
        return [None for _ in raws]
    decode = _strict_decoder(rules.max_id_length, rules.kinds).decode
    events: list[SaleEvent | None] = []
    for raw in raws:
        try:
            events.append(decode(raw))  # type: ignore[arg-type]  # None is refused as well
        except _STRICT_ERRORS:
            events.append(None)
    return events


@lru_cache(maxsize=8)
def _strict_decoder(max_id_length: int, kinds: frozenset[str]) -> "msgspec.json.Decoder[SaleEvent]":
    """A decoder that takes only what `parse_event` would take, and take as it is."""
    text = Annotated[str, msgspec.Meta(min_length=1, max_length=max_id_length)]
    fields: list[Any] = [
        ("user_id", text),
        ("product_id", text),
        ("quantity", float),
        ("occurred_at", Annotated[datetime, msgspec.Meta(tz=True)]),
        ("event_id", text | None, None),
        ("rating", float | None, None),
        ("kind", Literal[tuple(kinds)], PURCHASE),
        ("schema_version", Literal[SCHEMA_VERSION] | None, None),
    ]
    event = msgspec.defstruct("StrictEvent", fields, bases=(SaleEvent,), frozen=True, gc=False)
    return msgspec.json.Decoder(event)


def _decode_mapped(raw: bytes, rules: Rules) -> _Message:
    """The message of a producer with other names or epoch times."""
    value = msgspec.json.decode(raw)
    if not isinstance(value, dict):
        message = "not an object"
        raise msgspec.ValidationError(message)
    return msgspec.convert(_mapped(value, rules), _Message)


def _mapped(value: Mapping[str, Any], rules: Rules) -> dict[str, Any]:
    """The object with our names, and its time as a time."""
    picked = {name: _pick(value, rules.paths.get(name, name)) for name in _FIELDS}
    time = picked["occurred_at"]
    if rules.time_unit != "iso" and isinstance(time, int | float) and not isinstance(time, bool):
        try:
            seconds = timedelta(seconds=time / _PER_SECOND[rules.time_unit])
            picked["occurred_at"] = datetime(1970, 1, 1, tzinfo=UTC) + seconds
        except OverflowError:
            picked["occurred_at"] = f"{time} {rules.time_unit} after 1970"
    return {name: found for name, found in picked.items() if found is not None}


def _pick(value: Any, path: str) -> Any:
    """What stands at a dotted path, or the constant that the path is; None where nothing is."""
    if path.startswith("="):
        return _constant(path[1:])
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _constant(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _check(message: _Message, rules: Rules) -> Rejection | None:
    """Why a value of the message is impossible, None when all but the time are possible."""
    if message.schema_version not in (None, SCHEMA_VERSION):
        found = f"schema_version {message.schema_version}, this program reads {SCHEMA_VERSION}"
        return Rejection(Reason.UNKNOWN_VERSION, found)
    if message.kind is not None and message.kind not in rules.kinds:
        found = f"{message.kind[:50]!r}, known are {', '.join(sorted(rules.kinds))}"
        return Rejection(Reason.UNKNOWN_KIND, found)
    for name, value in (("user_id", message.user_id), ("product_id", message.product_id)):
        if rejection := _check_id(name, value, rules):
            return rejection
    if rejection := _check_id("event_id", message.event_id, rules):
        return rejection
    return _check_numbers(message)


def _check_id(name: str, value: str | int | None, rules: Rules) -> Rejection | None:
    if value is None:
        return None
    text = str(value)
    if not text.strip():
        return Rejection(Reason.EMPTY_ID, f"{name} is {text!r}")
    if len(text) > rules.max_id_length:
        found = f"{name} has {len(text)} characters, at most {rules.max_id_length}"
        return Rejection(Reason.ID_TOO_LONG, found)
    return None


def _check_numbers(message: _Message) -> Rejection | None:
    is_counted = (message.kind or PURCHASE) in _COUNTED and message.rating is None
    if message.quantity is None and is_counted:
        return Rejection(Reason.MISSING_FIELD, "neither quantity nor rating is there")
    if not math.isfinite(message.quantity or 0.0) or not math.isfinite(message.rating or 0.0):
        found = f"quantity {message.quantity}, rating {message.rating}"
        return Rejection(Reason.NOT_FINITE, found)
    return None


def _check_time(message: _Message, rules: Rules, now: datetime) -> SaleEvent | Rejection:
    """The event, if it can have occurred when it says."""
    occurred_at = message.occurred_at
    try:
        if occurred_at.tzinfo is None:
            occurred_at = occurred_at.replace(tzinfo=rules.zone)
        occurred_at = occurred_at.astimezone(UTC)
        is_possible = rules.earliest <= occurred_at <= now + rules.max_future
    except OverflowError:  # year 1 or 9999, shifted out of the calendar by its zone
        is_possible = False
    if not is_possible:
        window = f"{rules.earliest:%Y-%m-%d} to {now + rules.max_future:%Y-%m-%d}"
        return Rejection(Reason.TIME_OUT_OF_RANGE, f"{message.occurred_at} is not in {window}")
    return SaleEvent(
        user_id=str(message.user_id),
        product_id=str(message.product_id),
        quantity=1.0 if message.quantity is None else message.quantity,
        occurred_at=occurred_at,
        event_id=None if message.event_id is None else str(message.event_id),
        rating=message.rating,
        kind=message.kind or PURCHASE,
    )


def _explain(raw: bytes, error: Exception, rules: Rules) -> Rejection:
    """Why the fast path could not decode the message: the slow path, for rejected ones only."""
    try:
        value = msgspec.json.decode(raw)
    except _DECODE_ERRORS as cause:
        return Rejection(Reason.NOT_JSON, _one_line(cause))
    if not isinstance(value, dict):
        return Rejection(Reason.NOT_AN_OBJECT, f"a JSON {type(value).__name__}")
    picked = _mapped(value, rules)
    missing = [rules.paths.get(name, name) for name in _REQUIRED if name not in picked]
    if missing:
        return Rejection(Reason.MISSING_FIELD, f"no {', '.join(missing)}")
    if "$.occurred_at" in str(error) and isinstance(picked["occurred_at"], str):
        return Rejection(Reason.TIME_UNPARSEABLE, repr(picked["occurred_at"][:100]))
    return Rejection(Reason.WRONG_TYPE, _one_line(error))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
