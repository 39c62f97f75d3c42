"""A generation on disk -> vertices.csv and edges.csv, and the way back.

The files follow RFC 4180: CRLF, quotes where needed, UTF-8. They are written a batch at a time
under a temporary name and renamed at the end. A cell that is text and begins with ``= + - @``, a
tab, a carriage return or an apostrophe gets an apostrophe in front, so that a spreadsheet cannot
take it for a formula; `read_vertices` and `read_edges` take exactly that one away. Numbers are
never touched. An empty cell means: no value.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.dataset as pads

from recgraph import generations
from recgraph.columns import Columns as C
from recgraph.errors import GenerationError, InputError

Row = dict[str, Any]
Type = Literal["text", "integer", "number"]
OnProgress = Callable[[int, int], None]
"""Called with the rows written and all there are."""

VERTICES_CSV = "vertices.csv"
EDGES_CSV = "edges.csv"

VERTEX_COLUMNS: Mapping[str, Type] = {
    C.ID: "text",
    C.KIND: "text",
    C.EXTERNAL_ID: "text",
    C.TITLE: "text",
    C.DEPARTMENT: "text",
    C.BRAND: "text",
    C.CATEGORY: "text",
    C.BOUGHT_DEGREE: "integer",
    C.RECOMMENDED_DEGREE: "integer",
    C.PAGERANK: "number",
}
EDGE_COLUMNS: Mapping[str, Type] = {
    C.SRC: "text",
    C.DST: "text",
    C.KIND: "text",
    C.RANK: "integer",
    C.SCORE: "number",
    C.ALS: "number",
    C.WALK: "number",
    C.REPEAT: "number",
    C.CONTENT: "number",
    C.RATING: "number",
    C.SOURCE: "text",
}

_MARK = "'"
_MARKED = ("=", "+", "-", "@", "\t", "\r", _MARK)
_ROWS_A_BATCH = 20_000


class Export(msgspec.Struct, frozen=True):
    """What an export wrote."""

    generation: str
    vertices: int
    edges: int
    vertices_path: str
    edges_path: str


def escape(text: str) -> str:
    """Return the text as a cell that no spreadsheet takes for a formula."""
    return _MARK + text if text.startswith(_MARKED) else text


def unescape(cell: str) -> str:
    """Return the text that `escape` made the cell from."""
    return cell.removeprefix(_MARK)


def write_export(
    folder: Path, output: Path, on_progress: OnProgress = lambda done, total: None
) -> Export:
    """Write both files of a generation into a folder; return what was written.

    Raises
    ------
    GenerationError
        The generation cannot be read, or does not hold what its manifest says.
    InputError
        The files cannot be written; older ones are still there.
    """
    counts = generations.read_manifest(folder).counts
    tables = [
        (folder / generations.VERTICES, output / VERTICES_CSV, VERTEX_COLUMNS, counts.vertices),
        (folder / generations.EDGES, output / EDGES_CSV, EDGE_COLUMNS, counts.edges),
    ]
    total, done = counts.vertices + counts.edges, 0
    unfinished = {path: path.with_name(f".{path.name}.{os.getpid()}") for _, path, *_ in tables}
    try:
        output.mkdir(parents=True, exist_ok=True)
        for source, path, columns, expected in tables:
            for n_rows in _write_csv(unfinished[path], columns, _batches(source, columns)):
                on_progress(done + n_rows, total)
            _check(source, n_rows, expected)
            done += n_rows
        for path, temporary in unfinished.items():
            temporary.replace(path)
    except OSError as error:
        message = f"{output} cannot be written: {error.strerror}. What was there before still is."
        raise InputError(message) from error
    finally:
        for temporary in unfinished.values():
            _remove(temporary)
    return Export(
        generation=folder.name,
        vertices=counts.vertices,
        edges=counts.edges,
        vertices_path=str(output / VERTICES_CSV),
        edges_path=str(output / EDGES_CSV),
    )


def _batches(folder: Path, columns: Iterable[str]) -> Iterator[pa.RecordBatch]:
    try:
        dataset = pads.dataset(folder, format="parquet")
        yield from dataset.to_batches(columns=list(columns), batch_size=_ROWS_A_BATCH)
    except (OSError, pa.ArrowException) as error:
        message = f"{folder} cannot be read: {' '.join(str(error).split())}. Train again."
        raise GenerationError(message) from error


def _write_csv(
    path: Path, columns: Mapping[str, Type], batches: Iterable[pa.RecordBatch]
) -> Iterator[int]:
    """Write a file; give the rows written so far, at the start and after each batch."""
    n_rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        yield n_rows
        for batch in batches:
            cells = [_cells(batch.column(name), type_) for name, type_ in columns.items()]
            writer.writerows(zip(*cells, strict=True))
            n_rows += len(batch)
            yield n_rows


def _cells(column: pa.Array, type_: Type) -> list[Any]:
    if type_ != "text":
        return list(column.to_pylist())
    return [text and escape(text) for text in column.to_pylist()]


def _check(source: Path, n_rows: int, expected: int) -> None:
    if n_rows != expected:
        message = (
            f"{source} holds {n_rows:,} rows, but the manifest of the generation says "
            f"{expected:,}. Train again: `recgraph train`."
        )
        raise GenerationError(message)


def _remove(temporary: Path) -> None:
    if temporary.is_file():
        temporary.unlink()


def read_vertices(path: Path) -> Iterator[Row]:
    """Give the vertices of an export, each as it was in the generation."""
    return _read_csv(path, VERTEX_COLUMNS)


def read_edges(path: Path) -> Iterator[Row]:
    """Give the edges of an export, each as it was in the generation."""
    return _read_csv(path, EDGE_COLUMNS)


def _read_csv(path: Path, columns: Mapping[str, Type]) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, strict=True)
            if next(rows, None) != list(columns):
                message = f"{path} is no export: its first line should be {','.join(columns)}"
                raise InputError(message)
            for cells in rows:
                yield _row(path, rows.line_num, cells, columns)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}. Write it: `recgraph export`."
        raise InputError(message) from error
    except (csv.Error, UnicodeDecodeError) as error:
        message = f"{path} is no export: {error}. Write it again: `recgraph export`."
        raise InputError(message) from error


def _row(path: Path, line: int, cells: list[str], columns: Mapping[str, Type]) -> Row:
    parse: dict[Type, Callable[[str], Any]] = {"text": unescape, "integer": int, "number": float}
    try:
        return {
            name: parse[type_](cell) if cell else None
            for cell, (name, type_) in zip(cells, columns.items(), strict=True)
        }
    except ValueError as error:
        message = f"{path}, line {line}: {error}. Write it again: `recgraph export`."
        raise InputError(message) from error
