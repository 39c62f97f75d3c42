"""MongoDB as `recgraph.ports.Store`: reads through the pointer, and the pointer itself.

A generation is five collections, of which only the lists are changed once they are current:

===================  ==========================================================================
``users_<id>``       `UserProfile` without its list; ``_id`` is the user id
``lists_<id>``       the users' lists, `recgraph.services.lists`; ``_id`` is the user id
``items_<id>``       `ItemProfile` without its lists, and its ranks; ``_id`` is the item id
``neighbours_<id>``  the lists of an item; ``_id`` is the item id
``words_<id>``       a document a word of the titles: ``ranks``, packed uint32, ascending: the
                     popular ranks of the items that have it
===================  ==========================================================================

Beside them are ``generations`` (the manifests), ``state`` (``current``, the pointer, ``progress``
and ``exploration``) and ``catalogue``. Top lists are ranges of a dense rank, and a search is a
range of words, because every server answers a range from an index; sorts, prefix expressions and
text indexes are slow or refused on some.

Whatever a caller passes is only ever compared as a value: no text becomes an operator.
"""

import functools
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray
from pymongo import InsertOne, ReplaceOne, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from recgraph.errors import NotPublished, StoreError
from recgraph.exploration import Exploration
from recgraph.generations import Manifest
from recgraph.ports import (
    Hit,
    ItemProfile,
    Product,
    Progress,
    Published,
    Recommendations,
    UserProfile,
)
from recgraph.services.connection import Connection, Document, explained, open_connection
from recgraph.services.documents import (
    DEPARTMENT_RANK,
    ITEMS,
    LISTS,
    NEIGHBOURS,
    POPULAR_RANK,
    RANK_TYPE,
    RECOMMENDED_RANK,
    USERS,
    WORDS,
    words_of,
)
from recgraph.services.gathered import Gathered
from recgraph.services.lists import profile_of, recommendations_of

_PUBLISHING_S = 3600.0
"""So long the collections of a publish that was killed are not taken for leftovers."""
POINTER_CACHE_S = 1.0
"""Seconds that a reader may go on with the pointer it read."""

_LONGEST_ID = 1024
_MAX_WORDS_IN_QUERY = 8
_MAX_WORDS_OF_PREFIX = 2_000
_MAX_HITS = 100
_IDS_A_FIND = 100
"""The embedded server's time for ``$in`` grows with the square of its length."""
_PRODUCTS_A_WRITE = 2_000
_AFTER_ANY_LETTER = chr(0x10FFFF)
_DURABLE = WriteConcern("majority", j=True)


class Pointer(msgspec.Struct, frozen=True):
    """Which generation is current; every move raises the revision."""

    generation: str
    revision: int


@contextmanager
def open_store(uri: str, database: str) -> "Iterator[MongoStore]":
    """Give the store; raises as `open_connection` does."""
    with open_connection(uri, database) as connection:
        yield MongoStore(connection)


class MongoStore:
    """`recgraph.ports.Store` over one database; safe to share between threads, not processes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.database = connection.database
        self._state = self.database.get_collection("state", write_concern=_DURABLE)
        self._generations = self.database.get_collection("generations", write_concern=_DURABLE)
        self._current: tuple[float, Published] | None = None
        self._lists = Gathered(self._read_lists)

    # --- reads ----------------------------------------------------------------------------------

    def ping(self) -> None:
        """Return when the server answers."""
        self.connection.ping()

    @explained
    def life(self) -> str:
        """Return what is another after anything that may have lost documents.

        That is a start of the server, which may have been killed with writes still in memory, and
        a database that was made anew.
        """
        hello = self.database.client.admin.command("hello")
        process = hello.get("topologyVersion", {}).get("processId", "")
        mark = self._state.find_one({"_id": "life"})
        if mark is None:
            self._state.update_one(
                {"_id": "life"}, {"$setOnInsert": {"mark": secrets.token_hex(8)}}, upsert=True
            )
            mark = self._state.find_one({"_id": "life"}) or {"mark": ""}
        return f"{process} {mark['mark']}"

    @explained
    def current(self) -> Published:
        """Return the current generation, as it was at most `POINTER_CACHE_S` ago."""
        now = time.monotonic()
        known = self._current
        if known is not None and now - known[0] < POINTER_CACHE_S:
            return known[1]
        published = self._read_current(None if known is None else known[1])
        self._current = (now, published)
        return published

    def _read_current(self, known: Published | None) -> Published:
        pointer = self.pointer()
        if pointer is None:
            message = "no generation is published yet. Publish one: `recgraph publish`."
            raise NotPublished(message)
        if known is not None and known.manifest.id == pointer.generation:
            return known
        document = self._generations.find_one({"_id": pointer.generation})
        if document is None:
            message = (
                f"generation {pointer.generation} should be current, but the store lost it. "
                "Publish again: `recgraph publish`."
            )
            raise NotPublished(message)
        return _published(document, is_current=True)

    @explained
    def generations(self) -> list[Published]:
        """Return all generations the store holds, newest first."""
        pointer = self.pointer()
        current = pointer.generation if pointer else None
        documents = self._generations.find()
        held = [_published(each, is_current=each["_id"] == current) for each in documents]
        return sorted(held, key=lambda published: published.manifest.id, reverse=True)

    @explained
    def user(self, user_id: str) -> UserProfile | None:
        """Return the user's profile, or None for a user nobody knows; the list is the freshest."""
        manifest = self.current().manifest
        document = _find_by_id(self.collection(USERS, manifest.id), user_id)
        return profile_of(user_id, document, self.list_in(manifest, user_id))

    def recommendations(self, user_id: str) -> Recommendations | None:
        """Return the user's freshest list, or None for a user nobody knows: one read at most."""
        return self.list_in(self.current().manifest, user_id)

    def list_in(self, manifest: Manifest, user_id: str) -> Recommendations | None:
        """Return the user's freshest list of a generation; None for a user it does not know."""
        if not _can_be_id(user_id):
            return None
        document = self._lists.get((manifest.id, user_id))
        return None if document is None else recommendations_of(document, manifest)

    @explained
    def _read_lists(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Document]:
        """Return what the store holds of users, each of a generation."""
        found: dict[tuple[str, str], Document] = {}
        for generation in {each for each, _ in asked}:
            ids = list({user_id for each, user_id in asked if each == generation})
            lists = self.collection(LISTS, generation).find({"_id": {"$in": ids}})
            found |= {(generation, each["_id"]): each for each in lists}
        return found

    @explained
    def item(self, item_id: str) -> ItemProfile | None:
        """Return the item's profile, or None for an item the generation does not know."""
        generation = self.current().manifest.id
        document = _find_by_id(self.collection(ITEMS, generation), item_id)
        if document is None:
            return None
        neighbours = _find_by_id(self.collection(NEIGHBOURS, generation), item_id) or {}
        return _item_profile(document | neighbours)

    @explained
    def items(self, item_ids: Iterable[str]) -> dict[str, ItemProfile]:
        """Return the known ones among the items by id, without their neighbour lists."""
        ids = list(dict.fromkeys(filter(_can_be_id, item_ids)))
        collection = self._collection(ITEMS)
        found: dict[str, ItemProfile] = {}
        for start in range(0, len(ids), _IDS_A_FIND):
            these = {"_id": {"$in": ids[start : start + _IDS_A_FIND]}}
            found |= {d["_id"]: _item_profile(d) for d in collection.find(these)}
        return {item_id: found[item_id] for item_id in ids if item_id in found}

    @explained
    def top_recommended(self, n_items: int, department: str | None = None) -> list[ItemProfile]:
        """Return the items that stand in most lists, without their neighbour lists."""
        if department is None:
            return self._top({}, RECOMMENDED_RANK, n_items)
        if not _is_storable(department):
            return []
        # Not as {"$eq": ...}, for which the embedded server leaves the index aside.
        return self._top({"department": department}, DEPARTMENT_RANK, n_items)

    @explained
    def popular(self, n_items: int) -> list[ItemProfile]:
        """Return the items that most users bought, without their neighbour lists."""
        return self._top({}, POPULAR_RANK, n_items)

    def _top(self, which: Document, rank: str, n_items: int) -> list[ItemProfile]:
        best = which | {rank: {"$gte": 1, "$lte": n_items}}
        documents = self._collection(ITEMS).find(best).sort(rank, 1)
        return [_item_profile(document) for document in documents]

    @explained
    def search(self, text: str, n_hits: int = 20) -> list[Hit]:
        """Return vertices whose id equals ``text`` or whose title's words begin with its words.

        Exact ids come first, then the items most users bought. At most 100 hits, and the first
        eight words of the text count.
        """
        n_hits = min(n_hits, _MAX_HITS)
        if n_hits < 1:
            return []
        generation = self.current().manifest.id
        by_title = self._hits_by_title(text, n_hits, generation)
        return list(dict.fromkeys([*self._hits_by_id(text, generation), *by_title]))[:n_hits]

    def _hits_by_id(self, text: str, generation: str) -> list[Hit]:
        fields = {"bought_degree": True}
        user = _find_by_id(self.collection(USERS, generation), text, fields)
        item = _find_by_id(self.collection(ITEMS, generation), text, fields | {"title": True})
        hits = [] if user is None else [Hit("user", user["_id"], None, user["bought_degree"])]
        return hits if item is None else [*hits, _item_hit(item)]

    def _hits_by_title(self, text: str, n_hits: int, generation: str) -> list[Hit]:
        words = dict.fromkeys(words_of(text[:_LONGEST_ID]))
        some = list(words)[:_MAX_WORDS_IN_QUERY]
        postings = [self._ranks_of(word, generation) for word in some]
        if not postings:
            return []
        ranks = functools.reduce(np.intersect1d, postings)[:n_hits]
        best = {POPULAR_RANK: {"$in": ranks.tolist()}}
        fields = {"bought_degree": True, "title": True}
        documents = self.collection(ITEMS, generation).find(best, fields).sort(POPULAR_RANK, 1)
        return [_item_hit(document) for document in documents]

    def _ranks_of(self, prefix: str, generation: str) -> NDArray[np.uint32]:
        """Return the popular ranks, ascending, of the items with a word of this prefix."""
        these = {"word": {"$gte": prefix, "$lt": prefix + _AFTER_ANY_LETTER}}
        words = self.collection(WORDS, generation).find(these).limit(_MAX_WORDS_OF_PREFIX)
        packed = b"".join(word["ranks"] for word in words)
        return np.unique(np.frombuffer(packed, RANK_TYPE))

    @explained
    def progress(self) -> Progress | None:
        """Return how far ingest has come, or None before its first batch."""
        document = self._state.find_one({"_id": "progress"})
        return None if document is None else msgspec.convert(document, Progress)

    @explained
    def exploration(self) -> Exploration | None:
        """Return what all reviews together say, or None before anybody looked."""
        document = self._state.find_one({"_id": "exploration"})
        if document is None:
            return None
        try:
            return msgspec.json.decode(document["found"], type=Exploration)
        except msgspec.ValidationError:
            return None  # of another version of recgraph: to be made again

    def _collection(self, kind: str) -> Collection[Document]:
        return self.collection(kind, self.current().manifest.id)

    # --- writes ---------------------------------------------------------------------------------

    def collection(self, kind: str, generation_id: str) -> Collection[Document]:
        """Return the collection of a generation's ``users``, ``items`` or ``words``."""
        return self.database[f"{kind}_{generation_id}"]

    @explained
    def pointer(self) -> Pointer | None:
        """Return what the pointer says now, None before the first publish."""
        document = self._state.find_one({"_id": "current"})
        return None if document is None else msgspec.convert(document, Pointer)

    @explained
    def move_pointer(self, generation_id: str, seen: Pointer | None) -> None:
        """Make a generation current, if the pointer is still as it was ``seen``.

        Raises
        ------
        StoreError
            Somebody else moved it in the meantime.
        """
        target = {"generation": generation_id, "at": datetime.now(UTC)}
        if seen is None:
            is_moved = self._insert_pointer(target)
        else:
            as_seen = {"_id": "current", "revision": seen.revision}
            change = {"$set": target, "$inc": {"revision": 1}}
            is_moved = self._state.update_one(as_seen, change).matched_count == 1
        self._current = None
        if not is_moved:
            message = (
                f"another publish moved the pointer meanwhile. Generation {generation_id} is in "
                f"the store; `recgraph generations activate {generation_id}` makes it current."
            )
            raise StoreError(message)

    def _insert_pointer(self, target: Document) -> bool:
        try:
            self._state.insert_one({"_id": "current", "revision": 1, **target})
        except DuplicateKeyError:
            return False
        return True

    @explained
    def record(self, manifest: Manifest, *, n_words: int) -> None:
        """Keep the manifest of a generation whose collections are complete."""
        # As text: BSON cuts times to milliseconds, and some servers refuse keys with `$` or `.`.
        document = {
            "manifest": msgspec.json.encode(manifest).decode(),
            "n_words": n_words,
        }
        change = {"$set": document, "$setOnInsert": {"published_at": datetime.now(UTC)}}
        self._generations.update_one({"_id": manifest.id}, change, upsert=True)

    @contextmanager
    def publishing(self, generation_id: str) -> Iterator[None]:
        """Say, while the block runs, that a generation is being filled and is no leftover."""
        mark = {"_id": f"publishing {generation_id}"}
        with self.connection.explaining():
            self._state.replace_one(mark, {**mark, "at": datetime.now(UTC)}, upsert=True)
        yield
        with self.connection.explaining():
            self._state.delete_one(mark)

    @explained
    def is_publishing(self, generation_id: str) -> bool:
        """Return whether somebody said so within `_PUBLISHING_S`, and has not finished."""
        since = datetime.now(UTC) - timedelta(seconds=_PUBLISHING_S)
        mark = {"_id": f"publishing {generation_id}", "at": {"$gt": since}}
        return self._state.find_one(mark) is not None

    @explained
    def n_words(self, generation_id: str) -> int | None:
        """Return how many words the index of a recorded generation has, None without record."""
        document = self._generations.find_one({"_id": {"$eq": generation_id}}, {"n_words": True})
        return None if document is None else int(document["n_words"])

    @explained
    def drop(self, generation_id: str) -> None:
        """Remove a generation; its record first, so that nobody activates what is half gone."""
        self._generations.delete_one({"_id": {"$eq": generation_id}})
        for kind in (USERS, LISTS, ITEMS, NEIGHBOURS, WORDS):
            self.collection(kind, generation_id).drop()

    @explained
    def write_progress(self, progress: Progress) -> None:
        """Replace how far ingest has come."""
        document = msgspec.to_builtins(progress, builtin_types=(datetime,))
        self._state.replace_one({"_id": "progress"}, document, upsert=True)

    @explained
    def write_exploration(self, found: Exploration) -> None:
        """Replace what all reviews together say."""
        text = msgspec.json.encode(found).decode()
        document = {"_id": "exploration", "found": text}
        self._state.replace_one({"_id": "exploration"}, document, upsert=True)

    @explained
    def write_catalogue(self, products: Iterable[Product]) -> int:
        """Insert or replace the products, by item id; return how many are new or changed."""
        catalogue = self.database["catalogue"]
        held = {document["_id"]: document for document in catalogue.find()}
        documents = [_catalogue_document(product) for product in products]
        changed = [each for each in documents if held.get(each["_id"]) != each]
        # Inserts are several times faster than upserts, and most loads are the first.
        writes = [
            ReplaceOne({"_id": each["_id"]}, each) if each["_id"] in held else InsertOne(each)
            for each in changed
        ]
        for start in range(0, len(writes), _PRODUCTS_A_WRITE):
            catalogue.bulk_write(writes[start : start + _PRODUCTS_A_WRITE], ordered=False)
        return len(changed)


def _is_storable(text: object) -> bool:
    """Say whether MongoDB can hold the text: a lone surrogate cannot be UTF-8."""
    return isinstance(text, str) and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _can_be_id(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= _LONGEST_ID and _is_storable(text)


def _find_by_id(
    collection: Collection[Document], external_id: str, fields: Mapping[str, bool] | None = None
) -> Document | None:
    if not _can_be_id(external_id):
        return None
    return collection.find_one({"_id": {"$eq": external_id}}, fields)


def _published(document: Document, *, is_current: bool) -> Published:
    manifest = msgspec.json.decode(document["manifest"], type=Manifest)
    return Published(manifest, document["published_at"], is_current)


def _item_profile(document: Document) -> ItemProfile:
    return msgspec.convert({"item_id": document["_id"], **document}, ItemProfile)


def _item_hit(document: Document) -> Hit:
    return Hit("item", document["_id"], document["title"], document["bought_degree"])


def _catalogue_document(product: Product) -> Document:
    fields: Document = msgspec.to_builtins(product)
    return {"_id": fields.pop("item_id"), **fields}
