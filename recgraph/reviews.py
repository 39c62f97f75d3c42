"""One line of a file of product reviews -> a review, or a rejection with its reason.

Read are the public Amazon files, one object a line: those of 2014 and 2018 (``reviewerID``,
``asin``, ``overall``, ``reviewText``, ``summary``, ``unixReviewTime``; votes as ``helpful`` or
``vote``) and of 2023 (``user_id``, ``parent_asin``, ``rating``, ``title``, ``text``, ``timestamp``
in milliseconds). A line that is no JSON may still be a Python dict, as in early files of 2014.

The parser never raises, and changes no text: cleaning is `recgraph.spark.text`.
"""

import ast
import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import msgspec

from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.messages import readable

Format = Literal["2014", "2018", "2023"]
"""Which release of the Amazon reviews a line is written like."""

LOWEST, HIGHEST = 1.0, 5.0
"""Stars are from 1 to 5; a 0 in these files stands for none."""


class Reason(StrEnum):
    """Why a line was rejected."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    EMPTY_ID = "empty_id"
    ID_TOO_LONG = "id_too_long"
    RATING_OUT_OF_RANGE = "rating_out_of_range"
    TIME_OUT_OF_RANGE = "time_out_of_range"


class Review(msgspec.Struct, frozen=True, gc=False):
    """What a user wrote about an item, and when; ``rating`` is from 1 to 5, ``reviewed_at`` UTC."""

    review_id: str
    """Digest of all the rest but the format: equal for equal content, wherever it stands."""
    user_id: str
    item_id: str
    rating: float
    title: str | None
    text: str | None
    reviewed_at: datetime
    helpful_votes: int | None
    """None where the line does not say."""
    verified: bool | None
    """Whether the shop knows of the purchase; None where the line does not say."""
    variant: str | None
    """Which size or colour: the style as a JSON object, or the variant's own id (2023)."""
    source_format: Format


class Rejection(msgspec.Struct, frozen=True):
    """A line that is no review, with what was found."""

    reason: Reason
    detail: str


class Rules(msgspec.Struct, frozen=True):
    """What a line must be to be accepted."""

    max_line_bytes: int
    max_id_length: int
    earliest: datetime
    max_future: timedelta


class _Line(msgspec.Struct, gc=False):
    """The wire form of all releases together."""

    reviewer: str | int | None = msgspec.field(name="reviewerID", default=None)
    asin: str | int | None = None
    overall: float | None = None
    summary: str | None = None
    review_text: str | None = msgspec.field(name="reviewText", default=None)
    seconds: float | None = msgspec.field(name="unixReviewTime", default=None)
    helpful: list[int] | None = None
    vote: str | int | None = None
    verified: bool | None = None
    style: dict[str, Any] | None = None

    user: str | int | None = msgspec.field(name="user_id", default=None)
    parent_asin: str | int | None = None
    rating: float | None = None
    title: str | None = None
    text: str | None = None
    milliseconds: float | None = msgspec.field(name="timestamp", default=None)
    helpful_vote: int | None = None
    verified_purchase: bool | None = None


_MAX_VOTES = 2**63 - 1
_SHOWN = 40
"""Characters of a line that an error shows."""
_decoder = msgspec.json.Decoder(_Line)
_encoder = msgspec.json.Encoder(order="sorted")
_CONTENT_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)
"""What reading a line as a Python dict may raise, and writing it as JSON."""


def rules_from_settings(settings: Settings) -> Rules:
    """The rules that the settings describe."""
    return Rules(
        max_line_bytes=settings.max_review_bytes,
        max_id_length=settings.max_id_length,
        earliest=datetime(settings.earliest_year, 1, 1, tzinfo=UTC),
        max_future=timedelta(days=settings.max_future_days),
    )


def check_head(path: Path, lines: Sequence[bytes]) -> None:
    """Return if the first lines of a file look like reviews.

    Raises
    ------
    InputError
        There are none, or they are something else.
    """
    if not lines:
        message = f"{path} is empty; expected reviews, one JSON object a line."
        raise InputError(message)
    if not any(line.lstrip().startswith(b"{") for line in lines):
        found = readable(lines[0], _SHOWN)
        message = (
            f"{path} is no file of reviews: it begins with {found!r}; expected one JSON object a "
            "line, as in the Amazon reviews of 2014, 2018 and 2023."
        )
        raise InputError(message)
    if all(_is_product(line) for line in lines):
        message = f"{path} holds products, not reviews: `recgraph catalogue load {path}`."
        raise InputError(message)


def _is_product(line: bytes) -> bool:
    """Whether a line is of a metadata file: it has a product, and nobody who says anything."""
    found = _decode(line)
    if isinstance(found, Rejection):
        return False
    return found.reviewer is None and found.user is None and found.title is not None


def parse_reviews(
    lines: Iterable[bytes], rules: Rules, *, now: datetime
) -> list[Review | Rejection]:
    """What `parse_review` says of each line, in order."""
    return [parse_review(line, rules, now=now) for line in lines]


def parse_review(raw: bytes, rules: Rules, *, now: datetime) -> Review | Rejection:
    """The review that a line holds, or why it holds none.

    Parameters
    ----------
    raw
        The line, with or without its end.
    now
        UTC-aware time of loading.
    """
    if len(raw) > rules.max_line_bytes:
        found = f"{len(raw)} bytes, at most {rules.max_line_bytes} are read"
        return Rejection(Reason.TOO_LARGE, found)
    if not raw.strip():
        return Rejection(Reason.EMPTY, "the line has no content")
    line = _decode(raw)
    return line if isinstance(line, Rejection) else _review(line, rules, now)


def _decode(raw: bytes) -> _Line | Rejection:
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _decode_otherwise(raw, error)


def _decode_otherwise(raw: bytes, error: Exception) -> _Line | Rejection:
    """What a line holds that the fast path cannot read, or why nobody can."""
    if isinstance(error, msgspec.ValidationError):
        if str(error).startswith("Expected `object`"):
            return Rejection(Reason.NOT_AN_OBJECT, _one_line(error))
        return Rejection(Reason.WRONG_TYPE, _one_line(error))
    try:
        value = ast.literal_eval(raw.decode().strip())
        if isinstance(value, dict):
            return _decoder.decode(msgspec.json.encode(value))
    except msgspec.ValidationError as cause:
        return Rejection(Reason.WRONG_TYPE, _one_line(cause))
    except _CONTENT_ERRORS:
        pass  # what is wrong with it as JSON says more
    return Rejection(Reason.NOT_JSON, f"neither JSON nor a Python dict: {_one_line(error)}")


def _review(line: _Line, rules: Rules, now: datetime) -> Review | Rejection:
    """The review, if all its values are possible."""
    is_new = line.user is not None
    user = line.user if is_new else line.reviewer
    item = line.asin if line.parent_asin is None else line.parent_asin
    rating = line.rating if is_new else line.overall
    seconds = line.seconds
    if is_new and line.milliseconds is not None:
        seconds = line.milliseconds / 1000
    if user is None or item is None or rating is None or seconds is None:
        return _missing(user=user, item=item, rating=rating, seconds=seconds)
    user, item = str(user), str(item)
    if rejection := _check_id("user", user, rules) or _check_id("product", item, rules):
        return rejection
    if not LOWEST <= rating <= HIGHEST:
        found = f"a rating of {rating:g}, expected {LOWEST:g} to {HIGHEST:g}"
        return Rejection(Reason.RATING_OUT_OF_RANGE, found)
    latest = now + rules.max_future
    if not rules.earliest.timestamp() <= seconds <= latest.timestamp():
        found = f"{_said(seconds)} is not in {rules.earliest:%Y-%m-%d} to {latest:%Y-%m-%d}"
        return Rejection(Reason.TIME_OUT_OF_RANGE, found)
    try:
        votes = _votes(line)
    except ValueError:
        found = repr(line.helpful or line.vote or line.helpful_vote)[:100]
        return Rejection(Reason.WRONG_TYPE, f"{found} is no number of votes")
    content = (
        user,
        item,
        rating,
        line.title if is_new else line.summary,
        line.text if is_new else line.review_text,
        datetime.fromtimestamp(seconds, UTC),
        votes,
        line.verified_purchase if is_new else line.verified,
        _variant(line, item),
    )
    return Review(review_id(content), *content, _format(line))


def review_id(content: tuple[Any, ...]) -> str:
    """The identity of a review, 32 letters: equal content has the same, and only it.

    Parameters
    ----------
    content
        The fields of `Review` in their order, without the id and the format.
    """
    return hashlib.blake2b(_encoder.encode(content), digest_size=16).hexdigest()


def _missing(**found: object) -> Rejection:
    names = {"user": "reviewerID or user_id", "item": "asin or parent_asin"}
    names |= {"rating": "overall or rating", "seconds": "unixReviewTime or timestamp"}
    missing = [names[name] for name, value in found.items() if value is None]
    return Rejection(Reason.MISSING_FIELD, f"no {', no '.join(missing)}")


def _check_id(name: str, text: str, rules: Rules) -> Rejection | None:
    if not text.strip():
        return Rejection(Reason.EMPTY_ID, f"the id of the {name} is {text!r}")
    if len(text) > rules.max_id_length:
        found = f"the id of the {name} has {len(text)} characters, at most {rules.max_id_length}"
        return Rejection(Reason.ID_TOO_LONG, found)
    return None


def _votes(line: _Line) -> int | None:
    """How many found it helpful: of 2014 the first of two numbers, of 2018 a text like 1,234."""
    votes = line.helpful[0] if line.helpful else line.vote
    if votes is None:
        votes = line.helpful_vote
    if isinstance(votes, str):
        votes = int(votes.replace(",", ""))
    if votes is not None and not -_MAX_VOTES <= votes <= _MAX_VOTES:
        message = "more than 64 bits hold"
        raise ValueError(message)
    return votes


def _variant(line: _Line, item: str) -> str | None:
    if line.style:
        return _encoder.encode(line.style).decode()
    is_variant = line.parent_asin is not None and line.asin is not None and str(line.asin) != item
    return str(line.asin) if is_variant else None


def _format(line: _Line) -> Format:
    if line.user is not None:
        return "2023"
    return "2018" if line.helpful is None else "2014"


def _said(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s after 1970" if math.isfinite(seconds) else str(seconds)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
