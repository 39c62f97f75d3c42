"""Generations over REST: the list, a switch, and what cannot be switched to."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from recgraph.config import Settings
from recgraph.services.connection import Connection
from recgraph.services.mongo import MongoStore
from recgraph.services.publish import publish
from tests.api.conftest import Api
from tests.sample import GENERATION_ID, make_rated, write_sample_generation

pytestmark = pytest.mark.services

NEWER = "20260106-120000-5a3e"


@pytest.fixture
def two(api: Api, api_settings: Settings, connection: Connection) -> Iterator[None]:
    """The store holds a newer generation as well, which is current."""
    folder = write_sample_generation(
        api_settings.generations_dir,
        generation_id=NEWER,
        created_at=datetime(2026, 1, 6, 12, tzinfo=UTC),
        n_users=60,
        n_items=150,
        seed=8,
    )
    publish(MongoStore(connection), folder, keep=3)
    yield
    api.post(f"/generations/{GENERATION_ID}/activate")


def current_of(api: Api) -> str:
    items = api.get("/generations").json["items"]
    (current,) = [each["id"] for each in items if each["is_current"]]
    return str(current)


@pytest.mark.usefixtures("two")
def test_activate_goes_back_and_lists_follow_at_once(api: Api) -> None:
    assert current_of(api) == NEWER
    answer = api.post(f"/generations/{GENERATION_ID}/activate")
    assert answer.status_code == 200
    assert answer.json["is_current"]
    assert current_of(api) == GENERATION_ID
    for path in ("/users/u10/recommendations", "/users/u10/recommendations?k=30", "/popular"):
        assert api.get(path).json["generation"] == GENERATION_ID
    api.post(f"/generations/{NEWER}/activate")
    assert api.get("/users/u10/recommendations?k=30").json["generation"] == NEWER


@pytest.mark.parametrize("generation", ["nothing", "..%2F..%2Fetc", "20990101-000000-0000", "%00"])
def test_what_the_store_does_not_hold_is_404(api: Api, generation: str) -> None:
    before = current_of(api)
    answer = api.post(f"/generations/{generation}/activate")
    assert answer.status_code == 404
    assert answer.json["type"] == "urn:recgraph:unknown-generation"
    assert current_of(api) == before


@pytest.fixture
def rated(api: Api, api_settings: Settings, connection: Connection) -> Iterator[str]:
    """The current generation predicts ratings."""
    generation = "20260107-120000-5a3e"
    folder = write_sample_generation(
        api_settings.generations_dir, generation_id=generation, n_users=60, n_items=150
    )
    publish(MongoStore(connection), make_rated(folder), keep=3)
    yield generation
    api.post(f"/generations/{GENERATION_ID}/activate")


def test_predicted_ratings_have_lists_but_no_purchases(api: Api, rated: str) -> None:
    chosen, purchase = {"product_ids": ["1033"]}, {"purchases": [{"product_id": "1033"}]}
    for answer in (
        api.post("/baskets/recommendations", json=chosen),
        api.post("/users/u10/what-if", json=purchase),
        api.get("/users/u10/because?product_id=1033"),
    ):
        assert answer.status_code == 409
        assert answer.json["type"] == "urn:recgraph:predicts-ratings"
        assert rated in answer.json["detail"]
    longer = api.get("/users/u10/recommendations?k=30").json
    assert len(longer["items"]) == 30
    assert longer["source"] == "als"
    out = longer["items"][0]["product_id"]
    left = api.post("/users/u10/what-if", json={"out_of_stock": [out], "k": 29}).json["items"]
    assert [row["product_id"] for row in left] == [row["product_id"] for row in longer["items"][1:]]
    counts = [row["score"] for row in api.get("/popular?department=Dairy&k=9").json["items"]]
    assert counts == sorted(counts, reverse=True)
