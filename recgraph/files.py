"""A CSV, JSON Lines or Parquet file -> its rows, in the order they stand.

Nothing is judged here but whether the file can be read and has the columns asked for. Files are
read in batches, so their size does not matter.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from recgraph.errors import InputError, unreadable

Row = dict[str, Any]

_BATCH_ROWS = 20_000
_MAX_NAMES = 30
"""Column names that an error message lists."""
_FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "json",
    ".jsonl.gz": "json",
    ".json": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}


def read_rows(path: Path, fields: Mapping[str, str]) -> Iterator[Row]:
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
    for batch in read_batches(path, fields):
        yield from rows_from_batch(batch, fields)


def read_batches(path: Path, fields: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The rows of a file in batches, the same ones each time; arguments as for `read_rows`.

    Raises
    ------
    InputError
        The file is missing or unreadable, of an unknown format, or lacks a column.
    """
    name = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    file_format = _FORMATS.get(name.lower())
    if file_format is None:
        message = f"{path}: unknown format {name or '(none)'!r}; expected {', '.join(_FORMATS)}."
        raise InputError(message)
    try:
        yield from _open(path, file_format, fields)
    except OSError as error:
        raise unreadable(path, error) from error
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        cause = " ".join(str(error).split())[:300]
        message = f"{path} is not a readable {file_format} file: {cause}"
        raise InputError(message) from error


def _open(path: Path, file_format: str, fields: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The columns that the fields name, in batches; other columns are not even converted."""
    wanted = list(dict.fromkeys(fields.values()))
    if file_format == "csv":
        yield from _open_csv(path, wanted)
    elif file_format == "json":
        reader = pa.json.open_json(path)
        _check_columns(path, reader.schema.names, wanted)
        yield from reader
    else:
        file = pa.parquet.ParquetFile(path)
        _check_columns(path, file.schema_arrow.names, wanted)
        yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted)


def _open_csv(path: Path, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    """The columns of a CSV file as text; a quoted value may hold line breaks (RFC 4180)."""
    parsing = pa.csv.ParseOptions(newlines_in_values=True)
    # Opened twice: columns can be chosen only once their names are known.
    with pa.csv.open_csv(path, parse_options=parsing) as reader:
        _check_columns(path, reader.schema.names, wanted)
    converting = pa.csv.ConvertOptions(
        include_columns=wanted,
        column_types=dict.fromkeys(wanted, pa.string()),
        strings_can_be_null=True,
    )
    yield from pa.csv.open_csv(path, parse_options=parsing, convert_options=converting)


def _check_columns(path: Path, found: list[str], wanted: Iterable[str]) -> None:
    wrong = [column for column in wanted if found.count(column) != 1]
    if wrong:
        problem = "several columns" if wrong[0] in found else "no column"
        names = [name if name.isprintable() else repr(name) for name in found[:_MAX_NAMES]]
        message = (
            f"{path}: {problem} {', '.join(wrong)}; it has {', '.join(names)}. "
            "Name the right columns with the --...-column options."
        )
        raise InputError(message)


def rows_from_batch(batch: pa.RecordBatch, fields: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a batch of `read_batches`, as `read_rows` gives them."""
    columns = [_plain(batch.column(column)) for column in fields.values()]
    for values in zip(*columns, strict=True):
        yield {
            field: value for field, value in zip(fields, values, strict=True) if value is not None
        }


def _plain(column: pa.Array) -> list[Any]:
    """The values as JSON can hold them: times as ISO 8601, numbers that are text as numbers."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return [None if value is None else value.isoformat() for value in column.to_pylist()]
    return list(column.to_pylist())
