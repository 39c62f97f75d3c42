"""What belongs to a process for as long as it lives, told by a lock that the kernel keeps.

Not by a process id: containers that share a volume do not share their process ids.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recgraph.errors import ServiceError

_LOCK = ".claimed"


@contextmanager
def only_one(lock: Path, taken: str) -> Iterator[None]:
    """Hold a lock until the block ends.

    Parameters
    ----------
    taken
        What is said where another process holds it.

    Raises
    ------
    ServiceError
        Another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(taken) from None
        yield


@contextmanager
def in_turn(lock: Path) -> Iterator[None]:
    """Hold a lock until the block ends; whoever else holds it is waited for."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make a folder, and hold it until the block ends; then it is removed if it is still there."""
    folder.mkdir(parents=True)
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def release(folder: Path) -> None:
    """Take the mark of a claim out of a folder that is to stay."""
    (folder / _LOCK).unlink()


def remove_abandoned(root: Path, pattern: str) -> None:
    """Remove the folders below ``root`` that nobody holds any more: those of killed processes."""
    for folder in root.glob(pattern):
        if not _is_held(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
