"""A text file of any size, plain or gzip -> blocks of whole lines, in bounded memory.

A gzip is one stream: nobody can begin in its middle. So one reader goes through a file once, and
hands out blocks that others may work on side by side. Where a block ends is said in bytes of the
text, so that a later reader, with blocks of any other size, can leave out what is done.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from gzip import GzipFile
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from recgraph.errors import InputError, unreadable

_MAX_LINE_BYTES = 64 * 1024 * 1024
"""A file with a longer line is no file of lines."""
_READ_BYTES = 1024 * 1024
_GZIP = b"\x1f\x8b"
_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive",
    b"PAR1": "a Parquet file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"%PDF": "a PDF file",
}
_UTF8_MARK = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Some whole lines of a file, one after the other."""

    data: bytes
    """With the ends of the lines; the last line of a file may have none."""
    first_line: int
    """Number of its first line, from 1."""
    end: int
    """Bytes of the file's text up to here."""
    n_bytes_read: int
    """Bytes of the file, as it is on disk, read so far."""

    @property
    def last_line(self) -> int:
        """Number of its last line."""
        has_open_end = bool(self.data) and not self.data.endswith(b"\n")
        return self.first_line + self.data.count(b"\n") + has_open_end - 1

    def behind(self, place: int) -> "Block":
        """The lines of it that begin at ``place`` or later, a `Block.end`; maybe none."""
        data = self.data[max(0, place - (self.end - len(self.data))) :]
        skipped = self.data[: len(self.data) - len(data)]
        first_line = self._replace(data=skipped).last_line + 1
        return self._replace(data=data, first_line=first_line)


def read_blocks(path: Path, *, block_bytes: int) -> Iterator[Block]:
    """The lines of a file in blocks of about ``block_bytes``.

    Raises
    ------
    InputError
        The file cannot be read, breaks off, is damaged, or is no text; once the lines before that
        place are given.
    """
    line, end = 1, 0
    with _opened(path) as (text, file):
        for data in _whole_lines(path, text, block_bytes):
            end += len(data)
            block = Block(data, line, end, file.tell())
            line = block.last_line + 1
            yield block


def read_head(path: Path, n_bytes: int = 65_536) -> list[bytes]:
    """The first whole lines of a file, those that are empty left out.

    Raises
    ------
    InputError
        As for `read_blocks`.
    """
    block = next(read_blocks(path, block_bytes=n_bytes), None)
    lines = [] if block is None else block.data.removeprefix(_UTF8_MARK).split(b"\n")
    return [line for line in lines if line.strip()]


def split_lines(data: bytes) -> list[bytes]:
    """The lines of a block, without their ends."""
    lines = data.removeprefix(_UTF8_MARK).split(b"\n")
    return lines if lines[-1] else lines[:-1]


def file_digest(path: Path) -> str:
    """The digest of a file's content, 32 letters: what stands for it wherever it lies.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16))
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest()


def _whole_lines(path: Path, text: BufferedReader | GzipFile, block_bytes: int) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            part = _read(path, text)
        except InputError:
            data = b"".join(parts)
            if b"\n" in data:
                yield data[: data.rfind(b"\n") + 1]
            raise
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size < block_bytes:
            continue
        data = b"".join(parts)
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut]
        elif size > _MAX_LINE_BYTES:
            message = f"{path} has a line of more than {size:,} bytes; expected one object a line."
            raise InputError(message)
        parts, size = [data[cut:]], len(data) - cut
    if size:
        yield b"".join(parts)


def _read(path: Path, text: BufferedReader | GzipFile) -> bytes:
    try:
        return text.read1(_READ_BYTES)
    except EOFError as error:
        message = (
            f"{path} breaks off in the middle of its gzip stream, as after an interrupted "
            "download. Get the whole file and load it again."
        )
        raise InputError(message) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        message = f"{path} is damaged: {error}. Get the file again, and load it again."
        raise InputError(message) from error
    except OSError as error:
        raise unreadable(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader | GzipFile, BufferedReader]]:
    """Give the text of a file, and the file below it, whose position says how far it is read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        start = file.peek(len(_GZIP))
        if start.startswith(_GZIP):
            with GzipFile(fileobj=file) as text:
                yield text, file
        else:
            _check_text(path, start)
            yield file, file


def _check_text(path: Path, start: bytes) -> None:
    kind = next((kind for mark, kind in _OTHER_KINDS.items() if start.startswith(mark)), None)
    if kind is None and b"\0" in start:
        kind = "binary data, or text of 16 bits a letter"
    if kind:
        message = f"{path} is {kind}; expected lines of text in UTF-8, plain or gzip."
        raise InputError(message)
