"""The job of loading reviews: files -> the Delta table of their lines, each exactly once.

A reader goes through a file and lays chunks of it down as plain text; while Spark parses one and
commits it, the next is read. A commit carries the digest of the file and how far it is read. So
a load that was killed goes on behind its last commit, and a file that is loaded already is known.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from pyspark.sql import SparkSession

from recgraph import lines, reviews, tables
from recgraph.claims import only_one
from recgraph.config import Settings
from recgraph.errors import InputError, unreadable
from recgraph.spark import reviews as spark_reviews
from recgraph.spark.reviews import Chunk, FileCounts, Tables
from recgraph.spark.scratch import SCRATCH
from recgraph.stages import Stages
from recgraph.whole import write_whole

OnProgress = Callable[[Path, int, int], None]
"""Called with a file, the bytes of it read so far, and its size."""

_MAX_PART_BYTES = 16 * 1024 * 1024
"""Text that one task parses: a worker holds it, and rows of some thousand of its lines."""


class KnownFile(msgspec.Struct, frozen=True):
    """A file that is loaded to its end."""

    path: str
    bytes: int
    lines: int
    completed_at: datetime


class LoadedFile(msgspec.Struct, frozen=True):
    """What became of the lines of one file: lines = loaded + rejected + duplicates."""

    path: str
    bytes: int
    lines: int
    loaded: int
    rejected: int
    duplicates: int
    reasons: dict[str, int]
    formats: dict[str, int]
    was_known: bool
    """The same content was loaded to its end before: it was not read again."""
    error: str | None
    """Why the file could be read only so far."""


class _Read(NamedTuple):
    """How far a file was read."""

    path: Path
    file_id: str
    n_lines: int
    was_known: bool = False
    error: str | None = None


def check_files(paths: Sequence[Path]) -> None:
    """Return if all the files look like reviews; asked before Spark is started for nothing.

    Raises
    ------
    InputError
        Some do not; the message has a line for each of them.
    """
    problems = []
    for path in dict.fromkeys(paths):
        try:
            reviews.check_head(path, lines.read_head(path))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))


def load_files(
    spark: SparkSession,
    settings: Settings,
    paths: Sequence[Path],
    stages: Stages,
    on_progress: OnProgress = lambda path, done, total: None,
) -> list[LoadedFile]:
    """Take the lines of files into the table of reviews; say what became of them.

    Raises
    ------
    ServiceError
        Another process loads reviews into this data folder.
    """
    taken = f"reviews are being loaded into {settings.reviews_dir} already. Let that end first."
    with only_one(settings.reviews_dir / "lock", taken):
        return _load_files(spark, settings, paths, stages, on_progress)


def _load_files(
    spark: SparkSession,
    settings: Settings,
    paths: Sequence[Path],
    stages: Stages,
    on_progress: OnProgress,
) -> list[LoadedFile]:
    where = _where(settings)
    spark_reviews.create_table(spark, where)
    read = []
    for path in dict.fromkeys(paths):
        with stages("load", f"loading {path}"):
            read.append(_load_file(spark, settings, path, on_progress))
    if not all(each.was_known for each in read):
        tables.sweep(where.lines)
    with stages("duplicates", "looking for reviews that were loaded twice"):
        spark_reviews.write_copies(spark, where)
        counts = spark_reviews.count_lines(spark, where, [each.file_id for each in read])
    return [_loaded(*each) for each in zip(read, counts, strict=True)]


def _where(settings: Settings) -> Tables:
    return spark_reviews.tables_in(settings.reviews_dir)


def _load_file(
    spark: SparkSession, settings: Settings, path: Path, on_progress: OnProgress
) -> _Read:
    where = _where(settings)
    before = _state(path)
    file_id = lines.file_digest(path)
    ledger = settings.reviews_dir / "files" / f"{file_id}.json"
    if ledger.exists() and tables.last_batch(where.lines, file_id) is not None:
        known = msgspec.json.decode(ledger.read_bytes(), type=KnownFile)
        return _Read(path, file_id, known.lines, was_known=True)
    rules = reviews.rules_from_settings(settings)
    size = path.stat().st_size
    n_lines = 0
    try:
        for chunk in _ahead(_chunks(spark, settings, path, file_id)):
            _check_unchanged(path, before)
            if chunk.parts:
                spark_reviews.append_chunk(spark, chunk, rules, where)
            n_lines = chunk.last_line
            on_progress(path, chunk.n_bytes_read, size)
            for part, _ in chunk.parts:
                part.unlink()
    except InputError as error:
        return _Read(path, file_id, n_lines, error=str(error))
    known = KnownFile(str(path), size, n_lines, datetime.now(UTC))
    write_whole(ledger, msgspec.json.encode(known))
    return _Read(path, file_id, n_lines)


def _state(path: Path) -> tuple[int, int]:
    """What tells two contents of a file apart without reading it."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return found.st_size, found.st_mtime_ns


def _check_unchanged(path: Path, before: tuple[int, int]) -> None:
    # Lines of another content must not be committed under the digest of this one.
    if _state(path) != before:
        message = (
            f"{path} was changed while it was being loaded. Load it again when nobody writes to it."
        )
        raise InputError(message)


def _chunks(spark: SparkSession, settings: Settings, path: Path, file_id: str) -> Iterator[Chunk]:
    """The chunks of a file that the table does not have, laid down in the session's own folder.

    The last one may be without any part: it says where the file ends.
    """
    after = tables.last_batch(_where(settings).lines, file_id) or 0
    folder = Path(str(spark.conf.get(SCRATCH))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    chunk_bytes = settings.review_chunk_mb * 2**20
    file = str(path.absolute())
    parts: list[tuple[Path, int]] = []
    size, block = 0, None
    try:
        for whole in lines.read_blocks(path, block_bytes=min(_MAX_PART_BYTES, chunk_bytes)):
            block = whole.behind(after)
            if block.data:
                part = folder / f"{file_id}-{block.end}"
                part.write_bytes(block.data)
                parts.append((part, block.first_line))
                size += len(block.data)
            if size >= chunk_bytes:
                yield Chunk(file_id, file, parts, block.last_line, block.end, block.n_bytes_read)
                parts, size = [], 0
    except InputError:  # what could be read is kept
        if block is not None and parts:
            yield Chunk(file_id, file, parts, block.last_line, block.end, block.n_bytes_read)
        raise
    if block is not None:
        yield Chunk(file_id, file, parts, block.last_line, block.end, block.n_bytes_read)


def _ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same chunks, each read while whoever asks works on the one before."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        following = reader.submit(next, chunks, None)
        while (chunk := following.result()) is not None:
            following = reader.submit(next, chunks, None)
            yield chunk


def _loaded(read: _Read, counts: FileCounts) -> LoadedFile:
    """The report of a file; of one that was known every review is one that was loaded before."""
    n_rejected = sum(counts.rejected.values())
    loaded, duplicates = counts.loaded, counts.duplicates
    if read.was_known:
        loaded, duplicates = 0, loaded + duplicates
    return LoadedFile(
        path=str(read.path),
        bytes=read.path.stat().st_size,
        # What came before the place where it breaks off counts, also that of an earlier load.
        lines=loaded + n_rejected + duplicates if read.error else read.n_lines,
        loaded=loaded,
        rejected=n_rejected,
        duplicates=duplicates,
        reasons=counts.rejected,
        formats=counts.formats,
        was_known=read.was_known,
        error=read.error,
    )
