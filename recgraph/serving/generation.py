"""One generation, opened: histories -> lists and reasons; `recgraph.serving` says how."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from recgraph import biases, blend, walk
from recgraph.blend import Coefficients
from recgraph.errors import ModelError
from recgraph.events import PURCHASE, SaleEvent
from recgraph.generations import Manifest
from recgraph.histories import NOTHING, Histories, identity_digest, merged, newest_of
from recgraph.items import Items
from recgraph.model import Floats, Ints, Matrix, fold_in_users
from recgraph.ports import Bought, Recommended, Similar
from recgraph.recommend import N_REASONS, Made, Shelf, make_lists, reasons
from recgraph.serving.answers import AS_TRAINED, Answer, Because, Purchases, Wish
from recgraph.transforms import Fitted, transformed
from recgraph.weighing import (
    BOUGHT_KINDS,
    EVENT,
    Events,
    Pairs,
    Weighing,
    amount_of,
    is_purchase,
    pairs_of_events,
)


class Serving(NamedTuple):
    """What is needed of a generation to answer; made by `open_serving`."""

    manifest: Manifest
    items: Items
    model: blend.Items
    item_sums: Floats
    gram: Floats
    """Of the item factors, for the fold-in."""
    transform: Fitted
    """What ALS is given of a rating."""
    coefficients: Coefficients
    weighing: Weighing
    shelf: Shelf
    histories: Histories

    @property
    def predicts_ratings(self) -> bool:
        """Whether it was trained on ratings: then what carries none says nothing."""
        return self.weighing.feedback == "explicit"

    # --- histories ------------------------------------------------------------------------------

    def history(self, user_id: str, fresh: Events | bytes = b"") -> Events:
        """The events of a user that the generation has seen, and fresh ones after them.

        Parameters
        ----------
        fresh
            Those since the training, as `recgraph.ports.Recommendations` has them.
        """
        since = np.frombuffer(fresh, EVENT) if isinstance(fresh, bytes) else fresh
        seen = self.histories.of(user_id)
        return self.capped(merged(seen, since)) if len(since) else seen

    def capped(self, events: Events) -> Events:
        """The newest of somebody's events, as many as the training looks at."""
        return newest_of(events, int(str(self.manifest.settings["max_user_events"])))

    def packed(self, events: Iterable[tuple[str, SaleEvent]]) -> Events:
        """Sales with their identities, as histories hold them."""
        return np.array([self._packed(*each) for each in events], EVENT)

    def _packed(self, identity: str, event: SaleEvent) -> tuple[Any, ...]:
        micros = int(event.occurred_at.timestamp()) * 1_000_000 + event.occurred_at.microsecond
        amount = amount_of(event.kind, event.quantity, self.weighing.kind_weights)
        is_bought = event.kind in BOUGHT_KINDS
        if self.predicts_ratings:
            amount, is_bought = event.rating or 0.0, event.rating is not None
        item = self.items.index_of.get(event.product_id, -1)
        return identity_digest(identity), micros, amount, item, is_bought

    def purchases(self, item_ids: Iterable[str]) -> tuple[Events, list[str]]:
        """One purchase of each known item, as new as the newest, and the ids of the others.

        Raises
        ------
        ModelError
            The generation predicts ratings, and some are known: a purchase is none.
        """
        places, ignored = self.items.places(item_ids)
        if self.predicts_ratings and len(places):
            message = (
                f"generation {self.manifest.id} predicts ratings, and a purchase without one "
                "changes no list. Ask a generation that was trained on purchases."
            )
            raise ModelError(message)
        events = np.zeros(len(places), EVENT)
        events["event"] = -1 - np.arange(len(places))  # no digest is below 0
        events["time"], events["item"], events["bought"] = self.histories.newest, places, True
        events["amount"] = self.weighing.kind_weights.get(PURCHASE, 0.0)
        return events, ignored

    # --- answers --------------------------------------------------------------------------------

    def recommend(self, history: Events, wish: Wish = AS_TRAINED) -> Answer:
        """The list of one history."""
        ignored = self.items.places(wish.hidden)[1]
        return Answer(self.lists_of([history], wish)[0], ignored)

    def basket(self, item_ids: Iterable[str], wish: Wish = AS_TRAINED) -> Answer:
        """The list of somebody who bought just these items."""
        return self.what_if(NOTHING, item_ids, wish)

    def what_if(self, history: Events, item_ids: Iterable[str], wish: Wish = AS_TRAINED) -> Answer:
        """The list after further purchases, which are kept nowhere."""
        bought, ignored = self.purchases(item_ids)
        answer = self.recommend(np.concatenate([history, bought]), wish)
        return Answer(answer.rows, [*ignored, *answer.ignored])

    def similar(self, item_id: str, k: int) -> list[Similar]:
        """The items that a step of the walk leads to, the strongest first; none of unknown ones.

        Those of an item that nobody bought yet resemble it by content.
        """
        item = self.items.index_of.get(item_id)
        if item is None:
            return []
        rows = [
            leads[item]
            for leads in (self.model.neighbours, self.model.similar)
            if leads is not None
        ]
        row = next((each for each in rows if each.nnz), None)
        if row is None:
            return []
        best = np.lexsort((row.indices, -row.data))[:k]
        near = zip(row.indices[best].tolist(), row.data[best].tolist(), strict=True)
        return [self.items.similar(*each) for each in near]

    def because(self, history: Events, item_id: str, n: int = N_REASONS) -> list[Because]:
        """The bought items that add most to the score of an item, the largest share first.

        None where ratings are predicted: these have no share of single items.
        """
        item = self.items.index_of.get(item_id)
        if item is None:
            return []
        users = self._users(self._pairs([history]), 1)
        listed = np.array([[item]])
        parts = blend.signals(users, self.model, self.coefficients).parts_at(listed)
        shares = reasons(users, self.model, self.coefficients, listed, parts, n)
        buyers = self.histories.buyers_of(item)
        return [
            Because(
                item_id=self.items.id(near),
                share=share,
                n_buyers=len(np.intersect1d(self.histories.buyers_of(near), buyers)),
                title=self.items.title(near),
                department=self.items.department(near),
            )
            for near, share in _at(shares, 0, 0)
        ]

    def lists_of(self, histories: Sequence[Events], wish: Wish) -> list[list[Recommended]]:
        """The lists of some histories, made in one block of ``4 * n_items`` bytes a history."""
        pairs = self._pairs(histories)
        bought = pairs.bought()
        made = make_lists(
            self._users(pairs, len(histories)),
            bought.matrix(bought.ratings, (len(histories), self.n_items)),
            self.model,
            self.coefficients,
            self._shelf(wish),
            exclude_seen=self._excludes_seen(wish),
            segments=self._segments(wish, len(histories)),
        )
        return self._rows(made)

    def bought(self, history: Events, items: Ints) -> Purchases:
        """What somebody bought of these items, which the history has, and how much in all.

        Of ratings, those that were given; what was bought without one is left out.
        """
        pairs = self._pairs([history]).bought()
        if self.predicts_ratings:
            history, items = history[history["bought"]], items[np.isin(items, pairs.items)]
        ratings = dict(zip(pairs.items.tolist(), pairs.ratings.tolist(), strict=True))
        rows = [self._bought_row(history, item, ratings) for item in items.tolist() if item >= 0]
        return Purchases(sorted(rows, key=lambda row: -row.rating), len(pairs.items))

    def _bought_row(self, history: Events, item: int, ratings: dict[int, float]) -> Bought:
        events = history[history["item"] == item]
        purchases = events if self.predicts_ratings else events[is_purchase(events)]
        last = purchases if len(purchases) else events  # of what was only viewed, or given back
        last_at = datetime.fromtimestamp(int(last["time"].max()) / 1e6, UTC)
        rating, about = (
            ratings.get(item, 0.0),
            (self.items.title(item), self.items.department(item)),
        )
        return Bought(self.items.id(item), rating, len(events), last_at, *about)

    # --- how ------------------------------------------------------------------------------------

    def _pairs(self, histories: Sequence[Events]) -> Pairs:
        rows = np.repeat(np.arange(len(histories)), [len(each) for each in histories])
        # An event counts whole when nothing is newer: neither of the generation nor of the user.
        newest = [int(each["time"].max(initial=self.histories.newest)) for each in histories]
        events = np.concatenate([*histories, NOTHING])
        return pairs_of_events(rows, events, np.array(newest), self.weighing, self.n_items)

    @property
    def n_items(self) -> int:
        """Items of the generation."""
        return len(self.model.factors)

    def _users(self, pairs: Pairs, n_users: int) -> blend.Users:
        """The users' side of all signals, as `recgraph.spark.blend.users_of` has it."""
        shape = n_users, self.n_items
        factors = self._factors(pairs.matrix(pairs.ratings, shape))
        bought = pairs.bought()
        steps = None
        if len(self.item_sums):
            ratings = bought.matrix(bought.ratings, shape)
            steps = walk.user_steps(ratings.log1p(), self.item_sums)
        return blend.Users(factors, steps, bought.matrix(bought.repeats, shape))

    def _factors(self, ratings: Matrix) -> Floats:
        """The factors of users, one half-step from the items."""
        settings: dict[str, Any] = self.manifest.settings
        regularization = self.manifest.regularization or settings["regularization"]
        if self.manifest.mean_rating is not None:
            return biases.fold_in(
                self.model.factors,
                ratings,
                mean=self.manifest.mean_rating,
                damping=settings["bias_damping"],
                regularization=regularization,
            )
        is_local = settings["engine"] == "local"
        return fold_in_users(
            self.model.factors,
            transformed(ratings, self.transform),
            regularization=settings["local_regularization"] if is_local else regularization,
            alpha=settings["alpha"],
            exponent=settings.get("local_exponent", 0.0) if is_local else 1.0,
            gram=self.gram,
        )

    def _excludes_seen(self, wish: Wish) -> bool:
        as_trained = bool(self.manifest.settings["exclude_seen"])
        return as_trained if wish.exclude_seen is None else wish.exclude_seen

    def _shelf(self, wish: Wish) -> Shelf:
        """The generation's own shelf, without what is not wished for."""
        rules = self.shelf.rules
        away = [self.items.places(wish.hidden)[0]]
        if rules.hidden is not None:
            away.append(rules.hidden)
        if wish.department is not None:
            others = np.ones(self.n_items, bool)
            others[self.items.in_department(wish.department)] = False
            away.append(np.flatnonzero(others))
        hidden = np.unique(np.concatenate(away))
        k = min(wish.k or rules.k, self.n_items)
        return self.shelf._replace(
            rules=rules._replace(k=k, hidden=hidden if len(hidden) else None)
        )

    def _segments(self, wish: Wish, n_users: int) -> Ints | None:
        """The department asked for, as a segment; None where each user's own counts."""
        names = self.shelf.popular.segments
        if wish.department not in names:
            return None
        return np.full(n_users, names.index(wish.department))

    def _rows(self, made: Made) -> list[list[Recommended]]:
        """The rows of each user."""
        listed, sources = made.filled.top.items, made.sources()
        rows: list[list[Recommended]] = [[] for _ in listed]
        for user, place in zip(*(each.tolist() for each in np.nonzero(listed >= 0)), strict=True):
            row = self.items.recommended(
                item=int(listed[user, place]),
                rank=place + 1,
                score=float(made.scores[user, place]),
                parts={name: float(part[user, place]) for name, part in made.parts.items()},
                source=sources[user, place],
                because=[self.items.reason(*each) for each in _at(made.because, user, place)],
            )
            rows[user].append(row)
        return rows


def _at(shares: walk.Shares, user: int, place: int) -> Iterator[tuple[int, float]]:
    """The bought items behind one row, and what each adds."""
    found = zip(
        shares.items[user, place].tolist(), shares.shares[user, place].tolist(), strict=True
    )
    return ((item, share) for item, share in found if item >= 0)
