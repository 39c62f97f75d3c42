"""Sales of a generation's time -> the lists of their buyers in the store, each sale once.

The list of a user is made anew from the whole history: what the generation has seen, from its
folder, and all events since, from the store, each identity once. So it does not matter how often,
in which order or by whom a sale is folded in. What is written is the next revision of what was
read; where somebody else was faster, it is read again.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np

from recgraph.errors import StoreError
from recgraph.events import SaleEvent
from recgraph.histories import merged
from recgraph.services.documents import LISTS
from recgraph.services.lists import Live, read_live, write_live
from recgraph.services.mongo import MongoStore
from recgraph.serving import AS_TRAINED, Serving
from recgraph.weighing import EVENT, Events

_MAX_KNOWN = 5_000
"""Users whose state is kept in memory, those of the last sales: some 10 kB each."""
_MAX_BOUGHT = 500
"""Items bought since the training that a list names."""
_BLOCK_BYTES = 64 * 2**20
"""Scores that are made at once."""
_TRIES = 20
_PAUSE_S = 0.01


class Sale(NamedTuple):
    """An event, with its identity and where it stands."""

    identity: str
    event: SaleEvent
    partition: int
    offset: int


class _Fresh(NamedTuple):
    """What a user did since the training."""

    events: Events
    offsets: dict[str, int]
    """Partition -> offset after the last of the events."""


class FoldIn:
    """Folds sales into the lists of one generation; not to be shared between threads."""

    def __init__(self, store: MongoStore, serving: Serving, topic_id: str) -> None:
        self.serving = serving
        self._store = store
        self._lists = store.collection(LISTS, serving.manifest.id)
        self._topic_id = topic_id
        self._known: OrderedDict[str, Live] = OrderedDict()

    def fold(self, sales: Iterable[Sale]) -> dict[str, Live]:
        """Return the list of every user of the sales; each is in the store, with those sales in it.

        Raises
        ------
        StoreUnavailable
            The server does not answer; some lists may be in the store.
        StoreError
            Others go on writing the same lists.
        """
        fresh = self._by_user(sales)
        for attempt in range(_TRIES):
            held = self._held(list(fresh))
            made = self._made(held, fresh)
            if self._write(made):
                return held | made
            time.sleep(_PAUSE_S * attempt)
        message = (
            f"the lists of {len(fresh)} users were written by others {_TRIES} times meanwhile."
        )
        raise StoreError(message)

    def _by_user(self, sales: Iterable[Sale]) -> dict[str, _Fresh]:
        by_user: defaultdict[str, list[Sale]] = defaultdict(list)
        for sale in sales:
            by_user[sale.event.user_id].append(sale)
        return {user_id: self._fresh(own) for user_id, own in by_user.items()}

    def _fresh(self, sales: Sequence[Sale]) -> _Fresh:
        events = self.serving.packed((sale.identity, sale.event) for sale in sales)
        offsets: defaultdict[str, int] = defaultdict(int)
        for sale in sales:
            offsets[str(sale.partition)] = max(offsets[str(sale.partition)], sale.offset + 1)
        return _Fresh(events, dict(offsets))

    def _held(self, user_ids: list[str]) -> dict[str, Live]:
        """What the store holds of the users, or held when it was read last."""
        missing = [user_id for user_id in user_ids if user_id not in self._known]
        with self._store.connection.explaining():
            found = read_live(self._lists, missing) if missing else {}
        return {user_id: found.get(user_id) or self._known[user_id] for user_id in user_ids}

    def _write(self, made: Mapping[str, Live]) -> bool:
        """Whether all are in the store; nothing is known of their users otherwise."""
        for user_id in made:
            self._known.pop(user_id, None)
        with self._store.connection.explaining():
            if made and not write_live(self._lists, made):
                return False
        self._known |= made
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return True

    def _made(self, held: Mapping[str, Live], fresh: Mapping[str, _Fresh]) -> dict[str, Live]:
        """The lists that lack some of the fresh events, or their places, made anew."""
        together = {user_id: self._together(held[user_id], new) for user_id, new in fresh.items()}
        stale = [user_id for user_id, each in together.items() if _is_news(each, held[user_id])]
        n_rows = max(1, _BLOCK_BYTES // (4 * self.serving.n_items))
        made: dict[str, Live] = {}
        for start in range(0, len(stale), n_rows):
            block = stale[start : start + n_rows]
            histories = [self.serving.history(user, together[user].events) for user in block]
            lists = self.serving.lists_of(histories, AS_TRAINED)
            for user, history, rows in zip(block, histories, lists, strict=True):
                live = self._live(together[user], history, held[user].revision + 1)
                made[user] = msgspec.structs.replace(live, recommended=rows)
        return made

    def _together(self, held: Live, new: _Fresh) -> _Fresh:
        """What was held, and the new events that it lacks."""
        # Those of a topic that was made anew begin anew.
        before = held.offsets if held.topic_id == self._topic_id else {}
        offsets = {
            partition: max(before.get(partition, 0), new.offsets.get(partition, 0))
            for partition in sorted(before.keys() | new.offsets.keys())
        }
        events = merged(np.frombuffer(held.events, EVENT), new.events)
        return _Fresh(self.serving.capped(events), offsets)

    def _live(self, fresh: _Fresh, history: Events, revision: int) -> Live:
        """Everything but the list itself."""
        items = np.unique(fresh.events["item"])[:_MAX_BOUGHT]
        bought = self.serving.bought(history, items)
        return Live(
            revision=revision,
            events=fresh.events.tobytes(),
            topic_id=self._topic_id,
            offsets=fresh.offsets,
            event_at=datetime.fromtimestamp(int(fresh.events["time"].max()) / 1e6, UTC),
            computed_at=datetime.now(UTC),
            bought=bought.rows,
            bought_degree=bought.n_items,
        )


def _is_news(fresh: _Fresh, held: Live) -> bool:
    return fresh.offsets != held.offsets or fresh.events.nbytes != len(held.events)
