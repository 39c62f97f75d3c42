"""The checkpoint of the stream: can Spark go on from it? It is read here, never written.

Spark puts every file of it in place whole, so a kill breaks none; a machine that lost its power or
its disk can. Spark then says something about JSON or iterators; here it is said which file it is
and how to go on.
"""

import json
from itertools import chain
from pathlib import Path

from recgraph.errors import ServiceError

_N_READ = 2
"""Spark reads so many of the newest files of each log when it starts."""


def require_readable(checkpoint: Path) -> None:
    """Return when the checkpoint is whole, or not there yet.

    Raises
    ------
    ServiceError
        A file of it is damaged.
    """
    broken = next(filter(_is_broken, _files(checkpoint)), None)
    if broken is not None:
        message = (
            f"the checkpoint {checkpoint} is damaged: {broken.relative_to(checkpoint)} holds "
            f"{broken.read_bytes()[:20]!r}, not what Spark wrote. Nothing is lost: move that "
            "folder away and start again; ingest goes on from the offsets in the event table."
        )
        raise ServiceError(message)


def read_partitions(checkpoint: Path) -> frozenset[str]:
    """The partitions that the newest batch reached, of a readable checkpoint; none before it."""
    newest = _newest(checkpoint, "offsets", 1)
    if not newest:
        return frozenset()
    by_topic = json.loads(newest[0].read_text().splitlines()[-1])
    return frozenset(partition for offsets in by_topic.values() for partition in offsets)


def _newest(checkpoint: Path, log: str, n_files: int) -> list[Path]:
    """The files of the last batches in a log."""
    return sorted((checkpoint / log).glob("[0-9]*"), key=lambda path: int(path.name))[-n_files:]


def _files(checkpoint: Path) -> list[Path]:
    """What Spark reads first: who the stream is, then the newest of its two logs."""
    logs = (_newest(checkpoint, log, _N_READ) for log in ("offsets", "commits"))
    return [*checkpoint.glob("metadata"), *chain.from_iterable(logs)]


def _is_broken(path: Path) -> bool:
    """Whether a file is not JSON, or of a log not a version and a line of JSON for each thing."""
    try:
        lines = path.read_text().splitlines()
        if path.name != "metadata" and lines.pop(0) != "v1":
            return True
        documents = [json.loads(line) for line in lines]
    except (ValueError, IndexError):
        return True
    return not documents or not all(isinstance(each, dict) for each in documents)
