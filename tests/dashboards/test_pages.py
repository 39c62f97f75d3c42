import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import plotly.io
import pytest

from dashboards.app import PAGES, render
from dashboards.pages import network, overview, reviews
from recgraph.config import Settings
from recgraph.graph import MAX_CENTRES, MAX_EDGES, MAX_VERTICES, vertex_id
from recgraph.ports import Progress
from recgraph.services.embedded import ensure_mongo, service_states, stop_all
from recgraph.services.mongo import MongoStore, open_store
from tests.dashboards.serving import fresh_store
from tests.sample import NASTY_ITEMS, NASTY_TITLES, NASTY_USERS

pytestmark = pytest.mark.services

STRANGE_IDS = [
    *(
        "nobody",
        " ",
        "a b",
        "'",
        '"',
        "🍉",
        "$ne",
        "a.b",
        "{'$gt': ''}",
        "<script>x</script>",
        "a&b#c%d+e",
    ),
    *("\x00", "\ud800", "a" * 5000, "%", "u:1", "../x"),
]


def shown(store: Any, path: str, **query: str) -> str:
    """What a page shows, as the JSON that goes to the browser."""
    search = "?" + urlencode(query, errors="surrogatepass") if query else ""
    return str(plotly.io.json.to_json_plotly(render(store, path, search)))


@pytest.fixture
def empty_store(mongo_uri: str) -> Iterator[MongoStore]:
    with fresh_store(mongo_uri) as store:
        yield store


@pytest.fixture
def store_away(settings: Settings, mongo_uri: str) -> Iterator[MongoStore]:
    """A store whose server was stopped after it had been opened."""
    with open_store(ensure_mongo(settings), "away") as store:
        (pid,) = [state.pid for state in service_states(settings) if state.pid]
        os.kill(pid, signal.SIGKILL)
        yield store
    stop_all(settings)


@pytest.mark.parametrize("path", PAGES)
def test_page_has_a_heading(store: MongoStore, path: str) -> None:
    text = shown(store, path)
    assert text.count('"type":"H1"') == 1


@pytest.mark.parametrize("path", [path for path in PAGES if path != reviews.PATH])
def test_page_of_an_empty_store_says_what_to_run(empty_store: MongoStore, path: str) -> None:
    text = shown(empty_store, path, id="1", vertex="u:1")
    assert "Nothing is published yet" in text
    assert "recgraph train" in text


def test_reviews_nobody_looked_at_say_what_to_run(empty_store: MongoStore) -> None:
    text = shown(empty_store, "/reviews")
    assert "No reviews yet" in text
    assert "recgraph reviews explore" in text


def test_reviews_show_both_sentiments_and_an_estimate(store: MongoStore) -> None:
    text = shown(store, "/reviews")
    assert "kappa 0.25" in text
    assert "The turnover is an estimate" in text
    assert str(NASTY_TITLES[3]) in text
    assert "unknown" in text  # the turnover of what has no price


def test_pages_while_the_store_is_away_say_what_to_run(store_away: MongoStore) -> None:
    with ThreadPoolExecutor(len(PAGES)) as pool:  # each waits for the server a while
        texts = list(pool.map(lambda path: shown(store_away, path, id="1", vertex="u:1"), PAGES))
    assert all("The store is away" in text for text in texts)
    assert all("recgraph up" in text for text in texts)


def test_unknown_page_says_so(store: MongoStore) -> None:
    assert "No such page" in shown(store, "/nowhere")


def test_each_recommendation_says_which_purchases_led_there(store: MongoStore) -> None:
    user = store.user("u20")
    assert user is not None
    page = shown(store, "/user", id="u20")
    assert all(len(row.because) == 1 for row in user.recommended)
    n_rows = len(user.recommended)
    assert page.count("because of ") == page.count("ALS + graph walk") == n_rows > 0


@pytest.mark.parametrize("user_id", NASTY_USERS)
def test_user_with_a_nasty_id_is_found(store: MongoStore, user_id: str) -> None:
    text = shown(store, "/user", id=user_id)
    assert "Recommended to this user" in text
    assert "Unknown user" not in text


@pytest.mark.parametrize("user_id", STRANGE_IDS[2:])
def test_unknown_user_gets_the_popular_list_and_is_told(store: MongoStore, user_id: str) -> None:
    text = shown(store, "/user", id=user_id)
    assert "Unknown user" in text
    assert "The popular list" in text


@pytest.mark.parametrize("user_id", ["", " "])
def test_no_user_offers_some(store: MongoStore, user_id: str) -> None:
    assert "Some to begin with" in shown(store, "/user", id=user_id)


@pytest.mark.parametrize("item_id", NASTY_ITEMS)
def test_item_with_a_nasty_id_has_a_neighbourhood(store: MongoStore, item_id: str) -> None:
    text = shown(store, "/network", vertex=vertex_id("item", item_id))
    assert "Showing" in text
    assert "Unknown product" not in text


@pytest.mark.parametrize("kind", ["u", "i"])
@pytest.mark.parametrize("external_id", STRANGE_IDS)
def test_unknown_vertex_is_explained(store: MongoStore, kind: str, external_id: str) -> None:
    assert "The current generation knows no " in shown(
        store, "/network", vertex=f"{kind}:{external_id}"
    )


@pytest.mark.parametrize("vertex", ["x", "x:1", "u:", ":", "1", "<img>"])
def test_text_that_is_no_vertex_is_explained(store: MongoStore, vertex: str) -> None:
    assert "No such vertex" in shown(store, "/network", vertex=vertex)


def test_path_between_the_wrong_ends_is_explained(store: MongoStore) -> None:
    text = shown(store, "/network", vertex="i:1008", why="u:u8")
    assert "A path runs from a user to a product" in text


def test_top_of_a_department_holds_that_department(store: MongoStore) -> None:
    grid = _grid(render(store, "/top", "?department=Dairy"))
    assert {row["department"] for row in grid} == {"Dairy"}
    everything = _grid(render(store, "/top", ""))
    assert len({row["department"] for row in everything}) > 1
    counts = [row["recommended"] for row in everything]
    assert counts == sorted(counts, reverse=True)


def test_top_of_an_unknown_department_is_explained(store: MongoStore) -> None:
    assert "Nothing to show" in shown(store, "/top", department="<b>Toys</b>")


def _grid(children: list[Any]) -> list[dict[str, Any]]:
    (grid,) = [
        part
        for child in children
        for part in [child, *child._traverse()]
        if getattr(part, "id", None) == "top-grid"
    ]
    rows: list[dict[str, Any]] = grid.rowData
    return rows


def test_expanding_keeps_the_places_of_what_is_shown(store: MongoStore) -> None:
    graph, _ = network._graph(store, "i:1010", None)
    before = network._elements(graph, network.graphs.layout_positions(graph))
    places = network._positions(before)
    vertex = next(vertex for vertex in graph if vertex.startswith("u:"))
    after, centres, _, _, _ = network._expanded(store, vertex, ["i:1010"], before)
    assert centres == ["i:1010", vertex]
    grown = network._positions(after)
    assert len(grown) > len(places)
    assert {vertex: grown[vertex] for vertex in places} == places


def test_names_that_have_no_room_are_kept_for_closer_looks(store: MongoStore) -> None:
    graph, _ = network._graph(store, "i:1010", None)
    elements = network._elements(graph, dict.fromkeys(graph, (0.0, 0.0)))
    classes = {each["data"]["id"]: each["classes"] for each in elements if "position" in each}
    assert "centre" in classes["i:1010"]
    assert "crowded" not in classes["i:1010"]
    assert all("crowded" in classes[vertex] for vertex in classes if vertex != "i:1010")


def test_expanding_everything_stays_within_bounds(store: MongoStore) -> None:
    elements: list[dict[str, Any]] = []
    centres = ["i:1010"]
    for number in range(8, 36):
        elements, centres, _, count, _ = network._expanded(store, f"u:u{number}", centres, elements)
    vertices = [element for element in elements if "position" in element]
    assert len(vertices) <= MAX_VERTICES
    assert len(elements) - len(vertices) <= MAX_EDGES
    assert len(centres) == MAX_CENTRES
    text = str(count)
    assert "It is full" in text


def test_overview_shows_progress_and_what_training_has_not_seen(store: MongoStore) -> None:
    text = shown(store, "/")
    assert "1,469,307" in text
    counts = store.current().manifest.counts
    waiting = 1_469_307 - counts.events - counts.duplicates
    assert f"{waiting:,}" in text


def test_rate_is_what_arrived_since_the_last_look() -> None:
    progress = Progress(1_469_307, 12, None, datetime.now(UTC))
    before = [progress.accepted - 500.0, progress.updated_at.timestamp() - 2.0]
    assert overview._rate(progress, before) == "250 events a second"
    assert overview._rate(progress, [float(progress.accepted), 0.0]) == "up to date"
