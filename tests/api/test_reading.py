"""Products, histories and neighbourhoods over REST."""

import pytest

from recgraph.services.connection import Connection
from recgraph.services.mongo import MongoStore
from tests.api.conftest import Api
from tests.sample import NASTY_ITEMS, NASTY_USERS

pytestmark = pytest.mark.services


@pytest.mark.parametrize("product_id", [*NASTY_ITEMS, "1033"])
def test_product_is_found_whatever_its_id(
    api: Api, connection: Connection, product_id: str
) -> None:
    answer = api.get(f"/products/{product_id}")
    assert answer.status_code == 200
    item = MongoStore(connection).item(product_id)
    assert item is not None
    assert (answer.json["product_id"], answer.json["buyers"]) == (product_id, item.bought_degree)
    assert answer.json["title"] == item.title  # as it is: escaping is for whoever shows it
    similar = api.get(f"/products/{product_id}/similar?k=1").json["items"]
    assert [row["product_id"] for row in similar] == [row.item_id for row in item.similar[:1]]


@pytest.mark.parametrize("user_id", [*NASTY_USERS, "u10"])
def test_history_is_found_whatever_the_id(api: Api, user_id: str) -> None:
    from urllib.parse import quote

    first = api.get(f"/users/{quote(user_id, safe='')}/history?k=3")
    assert first.status_code == 200
    assert first.json["user_id"] == user_id
    assert len(first.json["items"]) == 3
    rest = api.get(first.json["next"].removeprefix("/api/v1"))
    assert first.json["n_products"] >= 3 + len(rest.json["items"]) > 3


def test_ego_graph_is_bounded_and_closed(api: Api) -> None:
    answer = api.get("/graph/ego?vertex=u:u10")
    assert answer.status_code == 200
    vertices = {vertex["id"] for vertex in answer.json["vertices"]}
    assert "u:u10" in vertices
    assert len(vertices) <= 300
    assert 0 < len(answer.json["edges"]) <= 2_000
    assert all({edge["src"], edge["dst"]} <= vertices for edge in answer.json["edges"])
    assert {edge["kind"] for edge in answer.json["edges"]} == {"bought", "recommended"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/products/nothing", 404),
        ("/products/nothing/similar", 404),
        ("/users/nobody/history", 404),
        ("/graph/ego?vertex=u:nobody", 404),
        ("/graph/ego?vertex=x:1", 422),
        ("/graph/ego", 422),
        ("/products/../../etc/passwd", 404),
        ("/products/%00", 404),
        ("/users//history", 404),
    ],
)
def test_what_is_not_there_is_a_problem(api: Api, path: str, status: int) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
