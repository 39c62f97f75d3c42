"""Each user's events, packed: what a generation has seen, for one user to be read in microseconds.

``histories/`` of a generation holds

===============  ================================================================================
``events.bin``   the `recgraph.weighing.EVENT` of all users, those of a user together
``users.arrow``  the user ids, ascending, and where the events of each end
``buyers.bin``   int32: the indices of the users who bought each item, ascending, item by item
``buyers.npy``   where those of each item end
===============  ================================================================================

The two large files are memory-mapped, 29 bytes an event and 4 a bought pair, and shared by all
processes; held in memory are the ids, their text and 16 bytes a user, and 8 bytes an item.

An event's identity is kept as 60 bits of a digest, enough to tell the events of one user apart.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recgraph.errors import GenerationError
from recgraph.model import Ints
from recgraph.weighing import EVENT, Events

HISTORIES = "histories"
"""The folder's name in that of the generation."""
DIGEST_LETTERS = 15
"""Hexadecimal digits of the MD5 digest that stand for an event's identity."""

_EVENTS, _USERS = "events.bin", "users.arrow"
_BUYERS, _BUYER_ENDS = "buyers.bin", "buyers.npy"
_NEWEST = b"newest"

NOTHING: Events = np.empty(0, EVENT)
"""The history of somebody who did nothing yet."""


class Histories(NamedTuple):
    """The events of all users that a generation has seen, read-only."""

    users: pa.LargeBinaryArray
    """Ids in UTF-8, ascending."""
    ends: Ints
    """Where the events of each user end."""
    events: Events
    newest: int
    """When the newest of them occurred, in microseconds since 1970."""
    buyers: Ints
    """Indices of the users who bought each item."""
    buyer_ends: Ints
    """Where the buyers of each item end."""

    def of(self, user_id: str) -> Events:
        """The events of a user; none of one who is not known."""
        wanted = user_id.encode("utf-8", "surrogatepass")
        place = bisect_left(range(len(self.users)), wanted, key=lambda i: self.users[i].as_py())
        if place == len(self.users) or self.users[place].as_py() != wanted:
            return NOTHING
        return self.events[self.ends[place - 1] if place else 0 : self.ends[place]]

    def buyers_of(self, item: int) -> Ints:
        """The indices of the users who bought an item, ascending."""
        return self.buyers[self.buyer_ends[item - 1] if item else 0 : self.buyer_ends[item]]


def identity_digest(event_id: str) -> int:
    """What stands for an event's identity."""
    digest = hashlib.md5(event_id.encode("utf-8", "surrogatepass"), usedforsecurity=False)
    return int(digest.hexdigest()[:DIGEST_LETTERS], 16)


def merged(seen: Events, fresh: Events) -> Events:
    """All events, each identity once, its first copy: those seen come before fresh ones."""
    both = np.concatenate([seen, fresh])
    _, first = np.unique(both["event"], return_index=True)
    if len(first) == len(both):
        return both
    kept: Events = both[np.sort(first)]
    return kept


def newest_of(events: Events, most: int) -> Events:
    """At most so many events, the newest ones, as they stood."""
    if len(events) <= most:
        return events
    kept: Events = events[np.sort(np.lexsort((events["event"], -events["time"]))[:most])]
    return kept


def write_histories(folder: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write the folder from rows of user_id and the fields of `EVENT`, sorted by user_id.

    Held in memory is one batch, and the ids of all users.
    """
    folder.mkdir(exist_ok=True)
    ids, ends, newest, n_events = [], [], 0, 0
    with (folder / _EVENTS).open("wb") as file:
        for batch in batches:
            if not batch.num_rows:
                continue
            packed = np.empty(batch.num_rows, EVENT)
            for name in EVENT.names or ():
                packed[name] = batch.column(name).to_numpy(zero_copy_only=False)
            file.write(packed.tobytes())
            runs = pc.run_end_encode(batch.column("user_id").cast(pa.large_binary()), pa.int64())
            ids.append(runs.values)
            ends.append(runs.run_ends.to_numpy() + n_events)
            n_events += batch.num_rows
            newest = max(newest, int(packed["time"].max()))
    _write_users(folder / _USERS, ids, ends, newest)


def _write_users(path: Path, ids: list[pa.Array], ends: list[Ints], newest: int) -> None:
    """Write the ids with their ends; a user whose events came in several batches stands once."""
    users = pa.chunked_array(ids, pa.large_binary()).combine_chunks()
    whole = np.concatenate([*ends, np.empty(0, np.int64)])
    is_last = np.ones(len(users), bool)
    is_last[:-1] = pc.not_equal(users[:-1], users[1:]).to_numpy(zero_copy_only=False)
    table = pa.table({"user": users.filter(pa.array(is_last)), "end": whole[is_last]})
    with pa.ipc.new_file(path, table.schema.with_metadata({_NEWEST: str(newest)})) as writer:
        writer.write_table(table.combine_chunks())


def write_buyers(folder: Path, batches: Iterable[pa.RecordBatch], n_items: int) -> None:
    """Write who bought what from rows of item_index and user_index, sorted by both."""
    folder.mkdir(exist_ok=True)
    counts = np.zeros(n_items, np.int64)
    with (folder / _BUYERS).open("wb") as file:
        for batch in batches:
            items, users = (column.to_numpy() for column in batch.columns)
            counts += np.bincount(items, minlength=n_items)
            file.write(users.astype("<i4").tobytes())
    np.save(folder / _BUYER_ENDS, np.cumsum(counts))


def open_histories(generation: Path) -> Histories:
    """The histories of a generation.

    Raises
    ------
    GenerationError
        It was made by a version of recgraph that kept none.
    """
    folder = generation / HISTORIES
    try:
        with pa.memory_map(str(folder / _USERS)) as source:
            table = pa.ipc.open_file(source).read_all()
    except FileNotFoundError:
        message = f"{generation} has no histories of its users, which this needs. Train again."
        raise GenerationError(message) from None
    users, ends = (column.combine_chunks() for column in table.columns)
    return Histories(
        users=users,
        ends=ends.to_numpy(),
        events=_mapped(folder / _EVENTS, EVENT),
        newest=int(table.schema.metadata[_NEWEST]),
        buyers=_mapped(folder / _BUYERS, np.dtype("<i4")),
        buyer_ends=np.load(folder / _BUYER_ENDS),
    )


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A file of such elements; an empty one cannot be mapped."""
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)
