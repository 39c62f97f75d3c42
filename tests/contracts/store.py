"""What every `recgraph.ports.Store` must do; an implementation inherits `StoreContract`.

It gives two fixtures: ``store``, which holds the generation of `tests.sample` in the folder
``generation``, and ``empty_store``, to which nothing was ever published.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import networkx as nx
import pyarrow.dataset as pads
import pytest

from recgraph.errors import NotPublished
from recgraph.generations import read_manifest
from recgraph.ports import Progress, Store
from tests.explored import EXPLORATION
from tests.sample import NASTY_ITEMS, NASTY_TITLES, NASTY_USERS

NOT_AN_ID = [
    "nobody",
    "",
    "\x00",
    "u\x000",
    "$ne",
    '{"$gt": ""}',
    "x" * 10_000,
    "🛒🛒",
    "\ud800",
    ".*",
    {"$gt": ""},
    {"$ne": None},
    None,
    7,
    ["u8"],
]


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    return pads.dataset(folder / table).to_table().to_pylist(maps_as_pydicts="strict")


def nearly(left: datetime, right: datetime) -> bool:
    """Say whether two times are the same millisecond."""
    return abs(left - right) < timedelta(milliseconds=1)


class StoreContract:
    def test_current_is_the_manifest_on_disk(self, store: Store, generation: Path) -> None:
        published = store.current()
        assert published.manifest == read_manifest(generation)
        assert published.is_current
        assert published.published_at.tzinfo is not None

    def test_generations_lists_the_published_one(self, store: Store) -> None:
        assert [each.manifest.id for each in store.generations()] == [store.current().manifest.id]

    def test_user_is_the_row_on_disk_for_every_user(self, store: Store, generation: Path) -> None:
        expected = rows(generation, "users")
        for row in expected:
            user = store.user(row["user_id"])
            assert user is not None
            assert (user.user_id, user.pagerank) == (row["user_id"], row["pagerank"])
            assert user.bought_degree == row["bought_degree"]
            assert [b.item_id for b in user.bought] == [b["item_id"] for b in row["bought"]]
            assert all(
                nearly(mine.last_at, other["last_at"])
                for mine, other in zip(user.bought, row["bought"], strict=True)
            )
            assert [
                (r.item_id, r.rank, r.score, r.parts, r.source, r.title) for r in user.recommended
            ] == [
                (r["item_id"], r["rank"], r["score"], r["parts"], r["source"], r["title"])
                for r in row["recommended"]
            ]
            assert [msgspec.to_builtins(r.because) for r in user.recommended] == [
                r["because"] for r in row["recommended"]
            ]
        assert len(expected) == 40

    def test_recommendations_are_the_list_on_disk(self, store: Store, generation: Path) -> None:
        manifest = read_manifest(generation)
        for row in rows(generation, "users"):
            found, user = store.recommendations(row["user_id"]), store.user(row["user_id"])
            assert found is not None
            assert user is not None
            assert [each.item_id for each in found.rows] == [
                each["item_id"] for each in row["recommended"]
            ]
            assert (found.rows, found.freshness) == (user.recommended, user.freshness)
            assert found.freshness.generation == manifest.id
            assert found.freshness.source == "batch"
            assert found.freshness.computed_at == manifest.created_at

    @pytest.mark.parametrize("wrong", NOT_AN_ID)
    def test_recommendations_of_nobody_are_none(self, store: Store, wrong: Any) -> None:
        assert store.recommendations(wrong) is None

    def test_item_is_the_row_on_disk_for_every_item(self, store: Store, generation: Path) -> None:
        expected = rows(generation, "items")
        for row in expected:
            item = store.item(row["item_id"])
            assert item is not None
            for name in ("item_id", "title", "department", "brand", "category", "pagerank"):
                assert getattr(item, name) == row[name]
            assert [b.user_id for b in item.buyers] == [b["user_id"] for b in row["buyers"]]
            assert [(r.user_id, r.rank, r.score) for r in item.recommended_to] == [
                (r["user_id"], r["rank"], r["score"]) for r in row["recommended_to"]
            ]
            assert msgspec.to_builtins(item.similar) == row["similar"]
        assert len(expected) == 60

    def test_degrees_count_the_lists(self, store: Store) -> None:
        user, item = store.user(NASTY_USERS[0]), store.item(NASTY_ITEMS[0])
        assert user is not None
        assert item is not None
        assert (user.bought_degree, user.recommended_degree) == (
            len(user.bought),
            len(user.recommended),
        )
        assert (item.bought_degree, item.recommended_degree) == (
            len(item.buyers),
            len(item.recommended_to),
        )

    def test_profiles_together_are_the_graph_on_disk(self, store: Store, generation: Path) -> None:
        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        for row in rows(generation, "users"):
            user = store.user(row["user_id"])
            assert user is not None
            for kind in ("bought", "recommended"):
                for other in getattr(user, kind):
                    graph.add_edge(f"u:{user.user_id}", f"i:{other.item_id}", kind)
        assert set(graph.edges) == {
            (e["src"], e["dst"], e["kind"]) for e in rows(generation, "edges")
        }

    @pytest.mark.parametrize("wrong", NOT_AN_ID, ids=lambda value: repr(value)[:20])
    def test_input_of_any_kind_is_only_a_value(self, store: Store, wrong: Any) -> None:
        assert store.user(wrong) is None
        assert store.item(wrong) is None
        assert store.items([wrong, NASTY_ITEMS[0]]).keys() == {NASTY_ITEMS[0]}
        assert store.top_recommended(5, "no " + str(wrong)) == []
        if isinstance(wrong, str):
            assert store.search(wrong) == []

    def test_items_are_the_known_ones_without_lists(self, store: Store) -> None:
        found = store.items([*NASTY_ITEMS, "unknown", *NASTY_ITEMS])
        assert list(found) == NASTY_ITEMS
        assert [item.title for item in found.values()] == NASTY_TITLES
        assert all(not item.buyers and not item.recommended_to for item in found.values())
        assert store.items([]) == {}

    def test_items_takes_more_ids_than_one_find(self, store: Store, generation: Path) -> None:
        known = [row["item_id"] for row in rows(generation, "items")]
        assert list(store.items([*map(str, range(250)), *known])) == known

    def test_top_recommended_stand_in_most_lists(self, store: Store, generation: Path) -> None:
        expected = sorted(
            (r["recommended_degree"] for r in rows(generation, "items")), reverse=True
        )
        assert [i.recommended_degree for i in store.top_recommended(10)] == expected[:10]
        everything = store.top_recommended(1_000)
        assert len(everything) == sum(degree > 0 for degree in expected)

    def test_top_recommended_of_a_department(self, store: Store, generation: Path) -> None:
        for department in store.current().manifest.departments:
            degrees = [
                row["recommended_degree"]
                for row in rows(generation, "items")
                if row["department"] == department and row["recommended_degree"]
            ]
            top = store.top_recommended(1_000, department)
            assert [i.recommended_degree for i in top] == sorted(degrees, reverse=True)
            assert {item.department for item in top} == {department}
        assert store.top_recommended(5, "no such department") == []

    def test_popular_were_bought_by_most(self, store: Store, generation: Path) -> None:
        expected = sorted((r["bought_degree"] for r in rows(generation, "items")), reverse=True)
        assert [item.bought_degree for item in store.popular(1_000)] == expected

    def test_no_items_are_asked_for_and_none_come(self, store: Store) -> None:
        assert store.popular(0) == store.top_recommended(0) == store.search("milk", 0) == []

    @pytest.mark.parametrize("user_id", NASTY_USERS)
    def test_search_finds_a_user_by_id_first(self, store: Store, user_id: str) -> None:
        hit = store.search(user_id)[0]
        assert (hit.kind, hit.external_id) == ("user", user_id)

    @pytest.mark.parametrize("item_id", NASTY_ITEMS)
    def test_search_finds_an_item_by_id_first(self, store: Store, item_id: str) -> None:
        hit = store.search(item_id)[0]
        assert (hit.kind, hit.external_id) == ("item", item_id)

    @pytest.mark.parametrize("text", ["milk", "MIL", "plain gal", "gal whole pla", "1 gal"])
    def test_search_finds_words_by_their_beginnings(self, store: Store, text: str) -> None:
        assert NASTY_ITEMS[0] in [hit.external_id for hit in store.search(text)]

    @pytest.mark.parametrize("text", ["ilk", "milk brulee", "plain whole milkk"])
    def test_search_wants_every_word_from_its_beginning(self, store: Store, text: str) -> None:
        assert NASTY_ITEMS[0] not in [hit.external_id for hit in store.search(text)]

    def test_search_knows_no_accents(self, store: Store) -> None:
        for text in ("crème brûlée", "creme brulee", "CRÈME"):
            assert [hit.external_id for hit in store.search(text)] == ["🍎"]

    def test_search_gives_the_most_bought_first_and_no_more_than_asked(self, store: Store) -> None:
        hits = store.search("no", 5)
        assert len(hits) == 5
        assert [h.bought_degree for h in hits] == sorted(
            (h.bought_degree for h in store.search("no", 100)), reverse=True
        )[:5]

    @pytest.mark.parametrize("text", ["^", ".*", "$", "(", "[q", "\\", "x|q", "*" * 500, " \t\n"])
    def test_search_takes_expressions_as_text(self, store: Store, text: str) -> None:
        assert store.search(text) == []

    def test_search_of_a_long_text_is_bounded(self, store: Store) -> None:
        assert store.search("milk " * 5_000, 10_000)

    def test_progress_is_none_before_the_first_batch(self, empty_store: Store) -> None:
        assert empty_store.progress() is None

    def test_progress_is_what_was_written(self, store: Any) -> None:
        now = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
        for progress in (Progress(5, 1, None, now), Progress(2**40, 2, now, now)):
            store.write_progress(progress)
            assert store.progress() == progress

    def test_exploration_is_what_was_written(self, empty_store: Any, store: Any) -> None:
        assert empty_store.exploration() is None
        for found in (EXPLORATION, msgspec.structs.replace(EXPLORATION, n_users=1)):
            store.write_exploration(found)
            assert store.exploration() == found

    def test_empty_store_says_how_to_publish(self, empty_store: Store) -> None:
        reads = [
            empty_store.current,
            lambda: empty_store.user("a"),
            lambda: empty_store.item("a"),
            lambda: empty_store.items(["a"]),
            lambda: empty_store.popular(3),
            lambda: empty_store.top_recommended(3),
            lambda: empty_store.search("a"),
        ]
        for read in reads:
            with pytest.raises(NotPublished, match="recgraph publish"):
                read()
        assert empty_store.generations() == []

    def test_ping_returns(self, empty_store: Store) -> None:
        empty_store.ping()
