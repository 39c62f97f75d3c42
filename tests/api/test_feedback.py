"""Feedback: a product leaves the lists at once, in every process, and on the user's page."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from recgraph.accounts import Role
from recgraph.config import Settings
from recgraph.graph import ego_network
from recgraph.services.accounts import MongoAccounts
from recgraph.services.connection import Connection
from recgraph.services.feedback import ConsiderateStore, MongoFeedback
from tests.api.conftest import Api, make_app
from tests.api.test_lists import ids
from tests.dashboards.sending import add_account, sign_in

pytestmark = pytest.mark.services

USER = "u11"
LIST = f"/users/{USER}/recommendations"


@pytest.fixture(autouse=True)
def _clean(api: Api) -> Iterator[None]:
    yield
    for query in ("", f"?user_id={USER}"):
        for row in api.get(f"/feedback{query}").json["items"]:
            target = {key: row[key] for key in ("product_id", "user_id") if row[key]}
            assert api.delete("/feedback", query_string=target).status_code == 204


def say(api: Api, product_id: str, user_id: str | None = USER, kind: str = "hidden") -> Any:
    return api.post("/feedback", json={"kind": kind, "product_id": product_id, "user_id": user_id})


@pytest.mark.parametrize("kind", ["hidden", "not_interested"])
def test_product_leaves_one_users_list_at_once_and_comes_back(api: Api, kind: str) -> None:
    before = ids(api.get(LIST))
    answer = say(api, before[1], kind=kind)
    assert answer.status_code == 201
    now = api.get(LIST)
    assert before[1] not in ids(now)
    assert [row["rank"] for row in now.json["items"]] == list(range(1, len(before) + 1))
    assert before[1] not in ids(api.get(f"{LIST}?k=40"))
    assert before[1] not in ids(api.post(f"/users/{USER}/what-if", json={"k": 40}))
    listed = api.get(f"/feedback?user_id={USER}").json["items"]
    assert [(row["kind"], row["product_id"]) for row in listed] == [(kind, before[1])]
    target = {"product_id": before[1], "user_id": USER}
    assert api.delete("/feedback", query_string=target).status_code == 204
    assert ids(api.get(LIST)) == before
    assert api.delete("/feedback", query_string=target).status_code == 404


def test_product_hidden_from_all_is_in_nobodys_list(api: Api) -> None:
    hidden = ids(api.get("/popular"))[0]
    assert say(api, hidden, user_id=None).status_code == 201
    assert hidden not in ids(api.get("/popular"))
    assert hidden not in ids(api.get("/users/nobody/recommendations"))
    basket = api.post("/baskets/recommendations", json={"product_ids": ["1033"], "k": 150})
    assert hidden not in ids(basket)


def test_list_that_has_changed_has_another_etag(api: Api) -> None:
    before = api.get(LIST)
    known = {"If-None-Match": before.headers["ETag"]}
    assert api.get(LIST, headers=known).status_code == 304
    assert say(api, ids(before)[0]).status_code == 201
    now = api.get(LIST, headers=known)
    assert now.status_code == 200
    assert now.headers["ETag"] != before.headers["ETag"]


@pytest.mark.parametrize(
    ("role", "of_one", "of_all"), [("viewer", 403, 403), ("operator", 201, 201)]
)
def test_operators_hide_and_viewers_do_not(
    api: Api, api_app: Flask, connection: Connection, role: Role, of_one: int, of_all: int
) -> None:
    people, client = MongoAccounts(connection), api_app.test_client()
    add_account(people, role, f"{role}@example.com")
    try:
        assert sign_in(client, f"{role}@example.com").status_code == 302
        for user_id, expected in ((USER, of_one), (None, of_all)):
            said = {"kind": "hidden", "product_id": ids(api.get(LIST))[0], "user_id": user_id}
            assert client.post("/api/v1/feedback", json=said).status_code == expected
    finally:
        people.people.remove(f"{role}@example.com")


def test_not_interested_needs_a_user(api: Api) -> None:
    answer = say(api, "1033", user_id=None, kind="not_interested")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "user_id"


@pytest.mark.parametrize("item_id", ["$gt", "a.b", "\x00", "<img src=x>", "no such product"])
def test_any_id_can_be_said_and_taken_back(api: Api, item_id: str) -> None:
    assert say(api, item_id).status_code == 201
    assert [r["product_id"] for r in api.get(f"/feedback?user_id={USER}").json["items"]] == [
        item_id
    ]


def test_other_processes_and_restarts_know_it_at_once(
    api: Api, api_settings: Settings, connection: Connection
) -> None:
    other: Flask = make_app(api_settings, connection)
    second = Api(other.test_client(use_cookies=False), api.key)
    product = ids(second.get(LIST))[0]
    for _ in range(5):
        assert say(api, product).status_code == 201
        assert product not in ids(second.get(LIST))
        assert (
            second.delete(
                "/feedback", query_string={"product_id": product, "user_id": USER}
            ).status_code
            == 204
        )
        assert product in ids(api.get(LIST))


def test_pages_leave_it_out_as_well(
    api: Api, api_settings: Settings, connection: Connection
) -> None:
    feedback = MongoFeedback(connection, api_settings.data_dir / "dashboard/feedback.changed")
    pages = ConsiderateStore(connection, feedback)  # as `recgraph serve` hands it to the pages
    product = ids(api.get(LIST))[0]
    for is_said in (False, True):
        if is_said:
            assert say(api, product).status_code == 201
        user = pages.user(USER)
        assert user is not None
        listed = [row.item_id for row in user.recommended]
        assert (product in listed) != is_said
        neighbours = ego_network(pages, [f"u:{USER}"])
        assert neighbours.has_edge(f"u:{USER}", f"i:{product}", key="recommended") != is_said
