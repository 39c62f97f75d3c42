"""Reviews in MongoDB: one collection, together by product, and the queries that it serves.

A review's ``_id`` is the digest of its content, so that whatever is written twice is there once. On
a sharded cluster the collection is spread by the hash of the product before the first document
comes: all reviews of a product are on one shard, and no shard has all new ones. On a single server
the same queries are served by an index.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from pymongo import ASCENDING, DESCENDING

from recgraph import tables
from recgraph.columns import Columns as C
from recgraph.reviews import Review
from recgraph.services.connection import Connection, Document, explained
from recgraph.services.publish import insert_missing

COLLECTION = "reviews"
BY_PRODUCT = [(C.ITEM_ID, ASCENDING), (C.REVIEWED_AT, DESCENDING)]
"""The index: a product's reviews, newest first, stand side by side."""
_FIELDS = Review.__struct_fields__[1:]
"""Those of a document beside its ``_id``, the `Review.review_id`."""
_SHOWN_STAGES = 8

OnProgress = Callable[[int, int], None]
"""Called with the reviews done and all there are."""


class PublishedReviews(msgspec.Struct, frozen=True):
    """What a publish of reviews did."""

    read: int
    """Reviews of the table, copies included."""
    written: int
    """Documents that were not there before."""
    held: int
    """Documents of the collection afterwards."""
    is_sharded: bool


class Plan(msgspec.Struct, frozen=True):
    """How the server answers a query."""

    name: str
    query: str
    stages: list[str]
    """From the first that runs to the last."""
    index: str | None
    examined: int | None
    """Documents that were looked at; None where the server does not say."""
    returned: int | None


def is_sharded(hello: Mapping[str, Any]) -> bool:
    """Whether the answer to ``hello`` is that of a router of a sharded cluster."""
    return hello.get("msg") == "isdbgrid"


def sharding_commands(database: str) -> list[Document]:
    """The commands of the admin database that spread the collection by the hash of the product."""
    namespace = f"{database}.{COLLECTION}"
    return [
        {"enableSharding": database},
        {"shardCollection": namespace, "key": {C.ITEM_ID: "hashed"}},
    ]


def review_batches(path: Path) -> Iterator[list[Document]]:
    """The reviews of a Delta table as documents, some thousand at a time; copies included."""
    columns = ", ".join(f'"{name}"' for name in _FIELDS)
    query = f"select {C.REVIEW_ID} as _id, {columns} from rows where {C.REASON} is null"
    for batch in tables.read_batches(path, query):
        rows = batch.to_pylist()
        yield [{name: value for name, value in row.items() if value is not None} for row in rows]


def queries(item_ids: Sequence[str]) -> dict[str, Document]:
    """What the collection is for: name -> command, as ``runCommand`` and ``explain`` take it."""
    first = item_ids[0]
    newest = {"find": COLLECTION, "filter": {C.ITEM_ID: first}, "sort": {C.REVIEWED_AT: DESCENDING}}
    several = {"find": COLLECTION, "filter": {C.ITEM_ID: {"$in": list(item_ids)}}}
    by_rating = [
        {"$match": {C.ITEM_ID: first}},
        {"$group": {"_id": f"${C.RATING}", "n": {"$sum": 1}}},
    ]
    ratings = {"aggregate": COLLECTION, "pipeline": by_rating, "cursor": {}}
    return {
        "all reviews of a product, newest first": newest,
        "the reviews of a sample of products": several,
        "how often a product has each rating": ratings,
    }


class MongoReviews:
    """The reviews of one database; safe to share between threads, not processes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.database = connection.database
        self._collection = self.database[COLLECTION]

    @explained
    def prepare(self) -> bool:
        """Spread or index the collection before it is filled; return whether it is sharded.

        Both may be done again: what is there already stays.
        """
        admin = self.database.client.admin
        sharded = is_sharded(admin.command("hello"))
        if sharded:
            for command in sharding_commands(self.database.name):
                admin.command(command)
        self._collection.create_index(BY_PRODUCT)
        return sharded

    def publish(self, path: Path, on_progress: OnProgress) -> PublishedReviews:
        """Write the reviews of a Delta table; those that are there stay as they are."""
        sharded = self.prepare()
        (counted,) = tables.read_batches(
            path, f"select count(*) as n from rows where {C.REASON} is null"
        )
        total = counted.column("n")[0].as_py()
        n_read = n_written = 0
        for documents in review_batches(path):
            n_written += self._write(documents)
            n_read += len(documents)
            on_progress(n_read, total)
        return PublishedReviews(n_read, n_written, self._count(), sharded)

    @explained
    def _write(self, documents: list[Document]) -> int:
        return insert_missing(self._collection, documents)

    @explained
    def _count(self) -> int:
        return self._collection.count_documents({})

    @explained
    def of_item(self, item_id: str, limit: int) -> list[Document]:
        """The newest reviews of a product."""
        found = self._collection.find({C.ITEM_ID: item_id}).sort(C.REVIEWED_AT, DESCENDING)
        return list(found.limit(limit))

    @explained
    def some_items(self, n: int) -> list[str]:
        """Some products that have reviews."""
        documents = self._collection.find({}, {C.ITEM_ID: True, "_id": False}).limit(100 * n)
        return list(islice(dict.fromkeys(document[C.ITEM_ID] for document in documents), n))

    @explained
    def explain(self, item_ids: Sequence[str]) -> list[Plan]:
        """How the server answers each of `queries`."""
        return [
            plan_of(name, query, self._explained(query))
            for name, query in queries(item_ids).items()
        ]

    def _explained(self, query: Document) -> Document:
        command = {"explain": query, "verbosity": "executionStats"}
        found: Document = self.database.command(command)
        return found


def plan_of(name: str, query: Document, found: Document) -> Plan:
    """The plan that an answer of ``explain`` describes, of a single server or of a cluster."""
    stats: Document = next(_values(found, "executionStats"), {})
    text = msgspec.json.encode(query).decode()
    stages = list(_values(next(_values(found, "winningPlan"), {}), "stage"))
    return Plan(
        name=name,
        query=re.sub(r"\s+", " ", text),
        stages=stages[::-1][:_SHOWN_STAGES],
        index=next(_values(found, "indexName"), None),
        examined=stats.get("totalDocsExamined"),
        returned=stats.get("nReturned"),
    )


def _values(document: Any, key: str) -> Iterator[Any]:
    """What stands under a name anywhere in a document, the outermost first."""
    if isinstance(document, dict):
        if key in document:
            yield document[key]
        for value in document.values():
            yield from _values(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from _values(value, key)
