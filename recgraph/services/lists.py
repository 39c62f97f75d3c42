"""The collection ``lists_<id>``: each user's list, from the training or, fresher, from `live`.

A document a user; ``_id`` is the user id, ``recommended`` the rows. One that the live service wrote
has a ``revision`` and the other fields of `Live`, and of a user whom the generation does not know,
``newcomer``. It is written by compare-and-set on the revision, so that of two writers who read the
same state one is refused, and looks again.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from recgraph.generations import Manifest
from recgraph.ports import Bought, Freshness, Recommendations, Recommended, UserProfile
from recgraph.services.connection import Document
from recgraph.services.documents import NEWCOMER

_IDS_A_FIND = 100
"""The embedded server's time for ``$in`` grows with the square of its length."""
_DUPLICATE_KEY = 11000

_NEVER = datetime.fromtimestamp(0, UTC)


class Live(msgspec.Struct, frozen=True):
    """What the store holds of a user who did something since the training."""

    revision: int
    """Raised by every write; 0 before the first."""
    events: bytes = b""
    """`recgraph.weighing.EVENT`, packed: all events since the training, each identity once."""
    topic_id: str = ""
    offsets: dict[str, int] = {}
    """Partition -> offset after the last event of the user that is included."""
    event_at: datetime | None = None
    """When the newest of the events occurred."""
    computed_at: datetime = _NEVER
    recommended: list[Recommended] = []
    bought: list[Bought] = []
    """The items of the events, as the whole history has them; rating 0 for one taken back."""
    bought_degree: int = 0
    """Items bought, in all."""


UNTOUCHED = Live(0)
"""A user who did nothing since the training."""


def read_live(lists: Collection[Document], user_ids: Sequence[str]) -> dict[str, Live]:
    """Return what the collection holds of the users."""
    found = dict.fromkeys(user_ids, UNTOUCHED)
    for start in range(0, len(user_ids), _IDS_A_FIND):
        these = {"_id": {"$in": list(user_ids[start : start + _IDS_A_FIND])}}
        written = lists.find(these | {"revision": {"$gte": 1}})
        found |= {each["_id"]: msgspec.convert(each, Live) for each in written}
    return found


def write_live(lists: Collection[Document], made: Mapping[str, Live]) -> bool:
    """Return whether all lists were written: each is the next revision of what the store has.

    Otherwise some were, and others had been written by somebody else meanwhile.
    """
    writes = [_next_revision(user_id, live) for user_id, live in made.items()]
    try:
        done = lists.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        failed = [e for e in error.details["writeErrors"] if e["code"] != _DUPLICATE_KEY]
        if failed or error.details["writeConcernErrors"]:
            raise
        return False
    return done.matched_count + done.upserted_count == len(made)


def _next_revision(user_id: str, live: Live) -> UpdateOne:
    fields: Document = msgspec.to_builtins(live, builtin_types=(datetime, bytes))
    if live.revision > 1:
        return UpdateOne({"_id": user_id, "revision": live.revision - 1}, {"$set": fields})
    # An insert of somebody whom the generation knows is refused: the list of the training is there.
    untouched = {"_id": user_id, "revision": {"$exists": False}}
    change = {"$set": fields, "$setOnInsert": {NEWCOMER: True}}
    return UpdateOne(untouched, change, upsert=True)


def recommendations_of(document: Document, manifest: Manifest) -> Recommendations:
    """Return the list that a document holds."""
    if "revision" not in document:
        rows = msgspec.convert(document["recommended"], list[Recommended])
        made = Freshness(manifest.id, "batch", manifest.created_at)
        return Recommendations(document["_id"], rows, made)
    live = msgspec.convert(document, Live)
    since = live.bought, live.bought_degree, live.events
    made = freshness_of(live, manifest.id)
    return Recommendations(document["_id"], live.recommended, made, *since)


def freshness_of(live: Live, generation: str) -> Freshness:
    """Return what a list says of itself."""
    return Freshness(
        generation=generation,
        source="live",
        computed_at=live.computed_at,
        event_at=live.event_at,
        topic_id=live.topic_id,
        offsets=live.offsets,
        revision=live.revision,
    )


def profile_of(
    user_id: str, document: Document | None, found: Recommendations | None
) -> UserProfile | None:
    """Return the profile of a user with the list, and with what was bought since the training."""
    if document is None and found is None:
        return None
    blank = {"bought_degree": 0, "recommended_degree": 0, "pagerank": 0.0}
    profile = msgspec.convert({"user_id": user_id, **(document or blank)}, UserProfile)
    if found is None:
        return profile
    changes = {"recommended": found.rows, "freshness": found.freshness}
    if found.freshness.source == "live":
        changes |= {
            "bought": bought_with(profile.bought, found.bought),
            "bought_degree": found.bought_degree,
            "recommended_degree": len(found.rows),
        }
    return msgspec.structs.replace(profile, **changes)


def bought_with(bought: Iterable[Bought], fresh: Sequence[Bought]) -> list[Bought]:
    """Return what was bought, what is fresh in place of what was; the strongest first."""
    replaced = {each.item_id for each in fresh}
    rows = [each for each in fresh if each.rating > 0]
    rows += [each for each in bought if each.item_id not in replaced]
    return sorted(rows, key=lambda row: -row.rating)
