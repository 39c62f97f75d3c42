"""A generation on disk -> MongoDB, where it becomes current; the disk stays the original.

New collections are filled from a stream of Parquet batches, indexed and counted; then the pointer
moves; then old generations go. Documents have deterministic ids, so that publishing again changes
nothing and fills in what a server that was killed has lost: so a server that goes away meanwhile
is waited for, and what is missing is done again. A rejected generation is refused.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
import tenacity
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from recgraph import generations
from recgraph.columns import Columns as C
from recgraph.errors import GenerationError, StoreError, StoreUnavailable
from recgraph.generations import Manifest, read_manifest, resolve
from recgraph.services.connection import Document
from recgraph.services.documents import (
    DEPARTMENT_RANK,
    ITEMS,
    LISTS,
    NEIGHBOURS,
    NEWCOMER,
    POPULAR_RANK,
    RECOMMENDED_RANK,
    USERS,
    WORDS,
    item_batches,
    list_batches,
    neighbour_batches,
    postings_of,
    ranks_of,
    user_batches,
    word_batches,
)
from recgraph.services.mongo import POINTER_CACHE_S, MongoStore, Pointer

log = structlog.get_logger()

OnProgress = Callable[[int, int], None]
"""Called with the documents done and all there are."""
Revive = Callable[[], object]
"""Called when the server does not answer, before it is asked again: may start it."""

PATIENCE_S = 300.0
"""A server that goes away while a generation is published is waited for so long."""
_LONGEST_WAIT_S = 10.0
_DUPLICATE_KEY = 11000
_OF_A_GENERATION = re.compile(r"(?:users|lists|items|neighbours|words)_(\d{8}-\d{6}-[0-9a-f]{4})")


class Publication(msgspec.Struct, frozen=True):
    """What a publish did."""

    generation: str
    users: int
    items: int
    written: int
    """Documents that were not there before."""
    has_moved: bool
    """The pointer moved: the generation was not current before."""
    dropped: list[str]
    """Generations that were removed from the store."""
    seconds: float


class _Part(NamedTuple):
    """One collection to fill, and how many documents it must hold."""

    collection: Collection[Document]
    batches: Iterable[list[Document]]
    expected: int
    indexes: Sequence[list[tuple[str, int]]] = ()


def publish(
    store: MongoStore,
    folder: Path,
    *,
    keep: int,
    on_progress: OnProgress = lambda done, total: None,
    revive: Revive = lambda: None,
    patience_s: float = PATIENCE_S,
    even_if_rejected: bool = False,
) -> Publication:
    """Make a generation current; return what that took.

    Parameters
    ----------
    even_if_rejected
        Publish one that the quality gate refused, too.
    patience_s
        Seconds that a server which stops answering is waited for.

    Raises
    ------
    GenerationError
        The folder is no generation, or a rejected one.
    StoreUnavailable
        The server went away and did not come back in time; publishing again goes on from there.
    StoreError
        The store does not hold every document afterwards, or somebody else published meanwhile.
    """
    manifest = read_manifest(folder)
    if not even_if_rejected:
        _refuse_rejected(manifest)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StoreUnavailable),
        wait=tenacity.wait_exponential(max=_LONGEST_WAIT_S),
        stop=tenacity.stop_after_delay(patience_s),
        before_sleep=partial(_say_and_revive, revive=revive),
        reraise=True,
    )
    return retrying(_publish, store, folder, manifest, keep=keep, on_progress=on_progress)


def _say_and_revive(state: tenacity.RetryCallState, *, revive: Revive) -> None:
    cause = str(state.outcome.exception()) if state.outcome else ""
    log.warning("the store went away while publishing; trying again", cause=cause)
    revive()


def _publish(
    store: MongoStore, folder: Path, manifest: Manifest, *, keep: int, on_progress: OnProgress
) -> Publication:
    """Do what is missing of it: all, or what an earlier try has left."""
    started = time.monotonic()
    seen = store.pointer()
    with store.publishing(manifest.id):
        with store.connection.explaining():
            parts = _parts(store, folder, manifest)
            n_written = _fill_all(parts, on_progress)
        store.record(manifest, n_words=parts[-1].expected)
        return _switch(store, manifest, n_written, keep=keep, seen=seen, started=started)


def _switch(
    store: MongoStore,
    manifest: Manifest,
    n_written: int,
    *,
    keep: int,
    seen: Pointer | None,
    started: float,
) -> Publication:
    """Move the pointer to a generation that is whole, and remove old ones."""
    has_moved = seen is None or seen.generation != manifest.id
    if has_moved:
        store.move_pointer(manifest.id, seen)
    return Publication(
        generation=manifest.id,
        users=manifest.counts.users,
        items=manifest.counts.items,
        written=n_written,
        has_moved=has_moved,
        dropped=prune(store, keep),
        seconds=round(time.monotonic() - started, 3),
    )


def activate(
    store: MongoStore,
    root: Path,
    generation_id: str,
    *,
    keep: int,
    on_progress: OnProgress = lambda done, total: None,
    even_if_rejected: bool = False,
) -> Publication:
    """Make a generation current, published from disk if need be; return what that took.

    Raises
    ------
    GenerationError
        It is neither on disk nor whole in the store, or was rejected and is not to be published
        even so.
    """
    started = time.monotonic()
    held = {published.manifest.id: published.manifest for published in store.generations()}
    manifest = held.get(generation_id)
    if manifest is None or verify(store, manifest):
        folder = resolve(root, generation_id)
        return publish(
            *(store, folder),
            keep=keep,
            on_progress=on_progress,
            even_if_rejected=even_if_rejected,
        )
    if not even_if_rejected:
        _refuse_rejected(manifest)
    return _switch(store, manifest, 0, keep=keep, seen=store.pointer(), started=started)


def verify(store: MongoStore, manifest: Manifest) -> dict[str, int]:
    """Return how many documents each collection lacks; empty when the generation is whole."""
    n_words = store.n_words(manifest.id)
    if n_words is None:
        return {"generations": 1}
    n_users, n_items = manifest.counts.users, manifest.counts.items
    counts = {USERS: n_users, LISTS: n_users, ITEMS: n_items, NEIGHBOURS: n_items, WORDS: n_words}
    with store.connection.explaining():
        held = {kind: _count(store.collection(kind, manifest.id)) for kind in counts}
    return {kind: counts[kind] - held[kind] for kind in counts if held[kind] != counts[kind]}


def ensure_published(
    store: MongoStore,
    root: Path,
    *,
    keep: int,
    on_progress: OnProgress = lambda done, total: None,
) -> Publication | None:
    """Publish what is current again if the store lost some of it, the newest if it lost all.

    Returns None when nothing was to be done: the store is whole, or nothing was ever trained.

    Raises
    ------
    StoreError
        The store lost documents of a generation that is not on disk here.
    """
    pointer = store.pointer()
    if pointer is None:
        newest = _newest(root)
        if newest is None:
            return None
        return publish(store, newest, keep=keep, on_progress=on_progress)
    held = {published.manifest.id: published.manifest for published in store.generations()}
    manifest = held.get(pointer.generation)
    if manifest is not None and not verify(store, manifest):
        return None
    try:
        folder = resolve(root, pointer.generation)
    except GenerationError as error:
        message = (
            f"the store lost documents of generation {pointer.generation}, which is not in {root}. "
            "Publish another: `recgraph publish`."
        )
        raise StoreError(message) from error
    # What is current was published on purpose, even if the gate had refused it.
    return publish(store, folder, keep=keep, on_progress=on_progress, even_if_rejected=True)


def prune(store: MongoStore, keep: int) -> list[str]:
    """Remove all but the current and the newest generations; return the ids of those removed."""
    held = store.generations()
    current = [each.manifest.id for each in held if each.is_current]
    others = [each.manifest.id for each in held if not each.is_current]
    old = others[max(keep - len(current), 0) :]
    old += _unfinished(store, known={*current, *others}, before=max(current, default=""))
    if old:
        time.sleep(1.5 * POINTER_CACHE_S)  # until nobody reads through an older pointer
    dropped = []
    for generation_id in old:
        pointer = store.pointer()  # asked again: somebody may have rolled back meanwhile
        is_current = pointer is not None and pointer.generation == generation_id
        if not is_current and not store.is_publishing(generation_id):
            store.drop(generation_id)
            dropped.append(generation_id)
    return dropped


def _unfinished(store: MongoStore, *, known: set[str], before: str) -> list[str]:
    """Return generations older than the current one that a killed publish left half done."""
    with store.connection.explaining():
        names = store.database.list_collection_names()
    matches = filter(None, map(_OF_A_GENERATION.fullmatch, names))
    return sorted(i for i in {match[1] for match in matches} - known if i < before)


def _refuse_rejected(manifest: Manifest) -> None:
    """Return when the quality gate let the generation pass."""
    if manifest.status == "rejected":
        message = (
            f"generation {manifest.id} was rejected: {manifest.reason or 'no reason is given'}. "
            "Take another of `recgraph generations list`, or publish it all the same: "
            "--even-if-rejected."
        )
        raise GenerationError(message)


def _newest(root: Path) -> Path | None:
    try:
        return resolve(root, None)
    except GenerationError:  # nothing was trained yet
        return None


def _parts(store: MongoStore, folder: Path, manifest: Manifest) -> list[_Part]:
    """Return the collections of a generation; the index of words comes last."""
    users, items = folder / generations.USERS, folder / generations.ITEMS
    ranks = ranks_of(items)
    postings = postings_of(items, ranks[POPULAR_RANK].tolist())
    n_users, n_items = manifest.counts.users, manifest.counts.items
    top = [[(POPULAR_RANK, 1)], [(RECOMMENDED_RANK, 1)], [(C.DEPARTMENT, 1), (DEPARTMENT_RANK, 1)]]

    def to(kind: str) -> Collection[Document]:
        return store.collection(kind, manifest.id)

    return [
        _Part(to(USERS), user_batches(users), n_users),
        _Part(to(LISTS), list_batches(users), n_users, [[(NEWCOMER, 1)]]),
        _Part(to(ITEMS), item_batches(items, ranks), n_items, top),
        _Part(to(NEIGHBOURS), neighbour_batches(items), n_items),
        _Part(to(WORDS), word_batches(postings), len(postings), [[("word", 1)]]),
    ]


# --- writes -------------------------------------------------------------------------------------


def _fill_all(parts: Sequence[_Part], on_progress: OnProgress) -> int:
    """Fill every collection; return the number of documents that were missing."""
    total, done, written = sum(part.expected for part in parts), 0, 0
    for part in parts:
        if _count(part.collection) != part.expected:
            for n_inserted, n_rows in _fill(part):
                written += n_inserted
                on_progress(done + n_rows, total)
            if part.collection.name.startswith(LISTS):
                _recognise(part.collection, parts[0].collection)
            _check(part)
        done += part.expected
        on_progress(done, total)
        for keys in part.indexes:
            part.collection.create_index(keys)
    return written


def _fill(part: _Part) -> Iterator[tuple[int, int]]:
    """Insert what is missing; give the documents that were, and how far that has come."""
    n_rows = 0
    for batch in part.batches:
        n_rows += len(batch)
        yield insert_missing(part.collection, batch), n_rows


def _recognise(lists: Collection[Document], users: Collection[Document]) -> None:
    """Take those for known who are, but whose list was lost when the live service wrote it."""
    for newcomer in lists.find({NEWCOMER: True}, {"_id": True}):
        if users.find_one({"_id": newcomer["_id"]}, {"_id": True}):
            lists.update_one({"_id": newcomer["_id"]}, {"$unset": {NEWCOMER: True}})


def insert_missing(collection: Collection[Document], documents: list[Document]) -> int:
    """Insert the documents whose ``_id`` is not there yet; return how many they were."""
    try:
        return len(collection.insert_many(documents, ordered=False).inserted_ids)
    except BulkWriteError as error:
        failed = [e for e in error.details["writeErrors"] if e["code"] != _DUPLICATE_KEY]
        if failed or error.details["writeConcernErrors"]:
            raise
        return int(error.details["nInserted"])


def _check(part: _Part) -> None:
    """Return when the collection holds what the manifest says."""
    held = _count(part.collection)
    if held != part.expected:
        message = (
            f"{part.collection.name} holds {held:,} documents, but the manifest says "
            f"{part.expected:,}. Publish again; if that does not help, train again."
        )
        raise StoreError(message)


def _count(collection: Collection[Document]) -> int:
    """Return the documents that publishing wrote: the lists of newcomers come from elsewhere."""
    n_documents = collection.count_documents({})
    if collection.name.startswith(LISTS):
        n_documents -= collection.count_documents({NEWCOMER: True})
    return n_documents
