"""A message -> the same message changed: fields set or renamed, an event id added.

What both a mended message and one from a door without ids need before they go to the topic. The
message stays its producer's: it is changed as a JSON object, where the rules say that a field
stands, and unknown fields stay. Whether it is a sale is for `recgraph.events.parse_event` alone.
"""

import json
import re
from datetime import datetime
from typing import Any

import msgspec

from recgraph.errors import InputError
from recgraph.events import Reason, Rejection, Rules, SaleEvent, encode_event, parse_event

_PATH = r"[^.=]+(?:\.[^.=]+)*"
_RENAME = re.compile(f"(?P<name>{_PATH})=(?P<value>{_PATH})", re.DOTALL)
_SET = re.compile(f"(?P<name>{_PATH})=(?P<value>.*)", re.DOTALL)
_PER_SECOND = {"s": 1, "ms": 1000}


class Identified(msgspec.Struct, frozen=True):
    """A message that is a sale event and says its id."""

    event_id: str
    user_id: str
    raw: bytes


class Mending(msgspec.Struct, frozen=True):
    """What is changed in each message; names are dotted paths into the JSON object."""

    renames: dict[str, str] = {}
    """Old name -> new name; done first."""
    sets: dict[str, Any] = {}
    """Name -> value, whatever stood there before."""


def mending_from_options(renames: list[str], sets: list[str]) -> Mending:
    """The mending that ``old=new`` and ``field=value`` texts ask for.

    A value that is JSON (``1``, ``null``, ``"1"``) is that; any other is text.

    Raises
    ------
    InputError
        A text has no ``=``, or a name is empty.
    """
    renamed = (_matched(_RENAME, text, "--rename qty=quantity") for text in renames)
    named = (_matched(_SET, text, "--set quantity=1") for text in sets)
    return Mending(dict(renamed), {name: _value(text) for name, text in named})


def _matched(pattern: re.Pattern[str], text: str, example: str) -> tuple[str, str]:
    found = pattern.fullmatch(text)
    if found is None:
        message = f"found {text!r}, expected a field's name and a `=`, such as `{example}`."
        raise InputError(message)
    return found["name"], found["value"]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def mend(raw: bytes | None, mending: Mending) -> bytes | None:
    """The message with the changes, None when it is no JSON object.

    It is read leniently: a byte order mark, UTF-16 and NaN pass.
    """
    value = _json_object(raw or b"")
    if value is None:
        return None
    for old, new in mending.renames.items():
        _rename(value, old, new)
    for name, new_value in mending.sets.items():
        _put(value, name, new_value)
    return json.dumps(value).encode()


def identify(raw: bytes, rules: Rules, *, now: datetime, spare_id: str) -> Identified | Rejection:
    """The message with its event id in it, or why it is no sale event.

    Parameters
    ----------
    spare_id
        The id of a message that has none.
    """
    parsed = parse_event(raw, rules, now=now)
    if isinstance(parsed, Rejection):
        return parsed
    if parsed.event_id is not None:
        return Identified(parsed.event_id, parsed.user_id, raw)
    value = _json_object(raw)
    if value is None:  # such as a number of 5,000 digits in a field that the parser skips
        return Rejection(Reason.NOT_JSON, "a field that is no part of the event cannot be read")
    _put(value, rules.paths.get("event_id", "event_id"), spare_id)
    with_id = json.dumps(value).encode()
    # Parsed again: what is said to be accepted here must be accepted when it is read there.
    parsed = parse_event(with_id, rules, now=now)
    if isinstance(parsed, Rejection):
        return parsed
    assert parsed.event_id is not None  # the parser reads where it was put
    return Identified(parsed.event_id, parsed.user_id, with_id)


def message_from_event(event: SaleEvent, rules: Rules) -> bytes:
    """The message that the rules read as this event.

    A field that the rules take for a constant is left out, so it is read as that constant.

    Raises
    ------
    UnicodeEncodeError
        A text has lone surrogates.
    """
    if not rules.paths and rules.time_unit == "iso":
        return encode_event(event)
    fields = msgspec.to_builtins(event)
    if rules.time_unit != "iso":
        fields["occurred_at"] = event.occurred_at.timestamp() * _PER_SECOND[rules.time_unit]
    value: dict[str, Any] = {}
    for name, found in fields.items():
        path = rules.paths.get(name, name)
        if not path.startswith("="):
            _put(value, path, found)
    return msgspec.json.encode(value)


def readable(raw: bytes | None, max_length: int) -> str:
    """The message as one line that is safe to print: no control or invisible characters."""
    text = (raw or b"")[: 4 * max_length].decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= max_length else safe[: max_length - 1] + "…"


def _json_object(raw: bytes) -> dict[str, Any] | None:
    # The standard library: it keeps integers of any size and lone surrogates as they are.
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _rename(value: dict[str, Any], old: str, new: str) -> None:
    """Move what stands at one path to another; where nothing stands, nothing happens."""
    *parents, last = old.split(".")
    holder: Any = value
    for key in parents:
        holder = holder.get(key) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and last in holder:
        _put(value, new, holder.pop(last))


def _put(value: dict[str, Any], path: str, found: Any) -> None:
    """Write at a dotted path; what stands in the way and is no object is replaced by one."""
    *parents, last = path.split(".")
    holder: Any = value
    for key in parents:
        if not isinstance(holder.get(key), dict):
            holder[key] = {}
        holder = holder[key]
    holder[last] = found
