"""A small file that is there whole, or not at all, whoever is killed while it is written."""

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write the file, in place of the old one; its folder is made where need be.

    Raises
    ------
    OSError
        It cannot be written; the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(data)
    unfinished.replace(path)
