"""Feedback in MongoDB, held in memory as well: a list is filtered without a read.

The collection ``feedback`` has a document a (user, item); what was taken back stays, marked, so
that other processes learn of it. Each process reads what changed once a second, and at once after
a write on the same machine: the writer touches a file, and a look at a file's time costs nothing.
"""

import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from pymongo import WriteConcern

from recgraph.errors import StoreUnavailable
from recgraph.feedback import without
from recgraph.generations import Manifest
from recgraph.ports import FeedbackEntry, FeedbackKind, Recommendations
from recgraph.services.connection import Connection, Document, explained
from recgraph.services.mongo import MongoStore

REFRESH_S = 1.0
"""Seconds after which the feedback of other machines is read."""
_AWAY_S = 5.0
"""Seconds that a server which did not answer is not asked again."""
_OVERLAP = timedelta(minutes=1)
"""Changes this much older than the newest known are read again: clocks differ."""
_START = datetime(1970, 1, 1, tzinfo=UTC)


class MongoFeedback:
    """`recgraph.ports.Feedback` over one database; threads may share it, processes not.

    Parameters
    ----------
    connection
        The database.
    signal
        A file that all processes of this machine touch after a write; need not exist yet.
    """

    def __init__(self, connection: Connection, signal: Path) -> None:
        self.connection = connection
        self._collection = connection.database.get_collection(
            "feedback", write_concern=WriteConcern("majority", j=True)
        )
        self._signal = signal
        self._lock = threading.Lock()
        self._entries: dict[str | None, dict[str, FeedbackEntry]] = {}
        self._newest = _START
        self._seen = -1
        self._next_look = 0.0
        self._is_loaded = False

    def add(self, kind: FeedbackKind, item_id: str, user_id: str | None) -> FeedbackEntry:
        """Return what is kept from now on; see `recgraph.ports.Feedback`."""
        at = datetime.now(UTC)
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)  # what BSON keeps
        entry = FeedbackEntry(kind, item_id, user_id, at)
        self._write(entry, is_removed=False)
        return entry

    def remove(self, item_id: str, user_id: str | None) -> bool:
        """Return whether there was something to take back."""
        self._refresh()
        known = self._entries.get(user_id, {}).get(item_id)
        if known is None:
            return False
        entry = msgspec.structs.replace(known, at=datetime.now(UTC))
        self._write(entry, is_removed=True)
        return True

    def entries(self, user_id: str | None) -> list[FeedbackEntry]:
        """Return what was said for one user, or for everybody, newest first."""
        self._refresh()
        entries = list(self._entries.get(user_id, {}).values())
        return sorted(entries, key=lambda entry: entry.at, reverse=True)

    def excluded(self, user_id: str | None) -> frozenset[str]:
        """Return the items that stay out of a user's lists."""
        self._refresh()
        everybody = frozenset(self._entries.get(None, ()))
        own = self._entries.get(user_id) if user_id is not None else None
        return everybody.union(own) if own else everybody

    @explained
    def _write(self, entry: FeedbackEntry, *, is_removed: bool) -> None:
        document = msgspec.to_builtins(entry, builtin_types=(datetime,))
        document |= {"_id": _id_of(entry), "is_removed": is_removed}
        self._collection.replace_one({"_id": document["_id"]}, document, upsert=True)
        with self._lock:
            self._apply(document)
        self._tell_others()

    def _tell_others(self) -> None:
        """Change the time of the file; a file system's own clock is too coarse for two writes."""
        self._signal.touch(0o600)
        now = time.time_ns()
        os.utime(self._signal, ns=(now, now))

    def _refresh(self) -> None:
        """Read what changed, if anything did on this machine or a second has passed."""
        now, seen = time.monotonic(), self._seen_now()
        if seen == self._seen and now < self._next_look:
            return
        with self._lock:
            if seen == self._seen and now < self._next_look:
                return
            try:
                self._read_changes()
                self._seen, self._next_look = seen, time.monotonic() + REFRESH_S
            except StoreUnavailable:
                if not self._is_loaded:
                    raise
                self._seen, self._next_look = seen, time.monotonic() + _AWAY_S

    def _seen_now(self) -> int:
        with suppress(FileNotFoundError):
            return os.stat(self._signal).st_mtime_ns
        return 0

    @explained
    def _read_changes(self) -> None:
        if not self._is_loaded:
            self._collection.create_index("at")
        for document in self._collection.find({"at": {"$gte": self._newest - _OVERLAP}}):
            self._apply(document)
        self._is_loaded = True

    def _apply(self, document: Document) -> None:
        entry = msgspec.convert(document, FeedbackEntry)
        self._newest = max(self._newest, entry.at)
        of_user = self._entries.setdefault(entry.user_id, {})
        known = of_user.get(entry.item_id)
        if known is not None and known.at > entry.at:  # an older copy, read while this was written
            return
        if document["is_removed"]:
            of_user.pop(entry.item_id, None)
        else:
            of_user[entry.item_id] = entry


def _id_of(entry: FeedbackEntry) -> str:
    """Return the same text for the same user and item, and for no others."""
    return msgspec.json.encode([entry.user_id, entry.item_id]).decode()


class ConsiderateStore(MongoStore):
    """A store whose lists leave out, at the moment of reading, what feedback takes out of them."""

    def __init__(self, connection: Connection, feedback: MongoFeedback) -> None:
        super().__init__(connection)
        self._feedback = feedback

    def list_in(self, manifest: Manifest, user_id: str) -> Recommendations | None:
        """Return the user's freshest list of a generation, without what is left out."""
        found = super().list_in(manifest, user_id)
        if found is None:
            return None
        rows = without(found.rows, self._feedback.excluded(user_id))
        return msgspec.structs.replace(found, rows=rows)
