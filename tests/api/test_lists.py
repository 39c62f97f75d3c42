"""Lists over REST: a user's, a basket's, a what-if's, the popular one, and why."""

import gzip
import time
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from recgraph.config import Settings
from recgraph.services.connection import Connection, Document
from recgraph.services.mongo import MongoStore
from tests.api.conftest import DATABASE, Api, make_app

pytestmark = pytest.mark.services

USER = "u10"


@pytest.fixture(scope="module")
def store(connection: Connection) -> MongoStore:
    return MongoStore(connection)


def ids(answer: Any) -> list[str]:
    return [row["product_id"] for row in answer.json["items"]]


def test_list_is_the_one_that_the_store_holds(api: Api, store: MongoStore) -> None:
    answer = api.get(f"/users/{USER}/recommendations")
    assert answer.status_code == 200
    user = store.user(USER)
    assert user is not None
    assert ids(answer) == [row.item_id for row in user.recommended]
    first, row = answer.json["items"][0], user.recommended[0]
    assert (first["score"], first["parts"], first["source"]) == (row.score, row.parts, row.source)
    assert [each["product_id"] for each in first["because"]] == [b.item_id for b in row.because]
    assert answer.json["is_known"]
    assert not answer.json["is_stale"]
    assert answer.json["generation"] == store.current().manifest.id


def test_k_and_offset_cut_the_list_and_next_leads_on(api: Api) -> None:
    whole = ids(api.get(f"/users/{USER}/recommendations"))
    first = api.get(f"/users/{USER}/recommendations?k=2")
    assert ids(first) == whole[:2]
    second = api.get(first.json["next"].removeprefix("/api/v1"))
    assert ids(second) == whole[2:4]
    assert [row["rank"] for row in second.json["items"]] == [3, 4]


@pytest.mark.parametrize(
    ("path", "k"),
    [(f"/users/{USER}/recommendations", 40), ("/popular", 40), (f"/users/{USER}/history", 4)],
)
def test_pages_lead_to_an_end_and_name_each_row_once(api: Api, path: str, k: int) -> None:
    whole, found, then = ids(api.get(f"{path}?k=1000")), list[str](), f"{path}?k={k}"
    while then:
        answer = api.get(then)
        assert answer.status_code == 200
        found += ids(answer)
        then = (answer.json["next"] or "").removeprefix("/api/v1")
        assert len(found) <= len(whole)
    assert len(found) > k
    assert found == whole
    assert len(set(found)) == len(found)


def test_more_rows_than_are_stored_are_computed(api: Api) -> None:
    rows = api.get(f"/users/{USER}/recommendations?k=30").json["items"]
    assert len(rows) == 30
    assert all(abs(sum(row["parts"].values()) - row["score"]) < 1e-5 for row in rows)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_a_department_has_its_own_rows_only(api: Api) -> None:
    rows = api.get(f"/users/{USER}/recommendations?department=Dairy").json["items"]
    assert {row["department"] for row in rows} == {"Dairy"}
    assert api.get(f"/users/{USER}/recommendations?department=None").json["items"] == []


def test_seen_products_come_back_when_asked_for(api: Api, store: MongoStore) -> None:
    user = store.user(USER)
    assert user is not None
    bought = {row.item_id for row in user.bought}
    without = set(ids(api.get(f"/users/{USER}/recommendations?k=100&exclude_seen=true")))
    with_seen = set(ids(api.get(f"/users/{USER}/recommendations?k=150&exclude_seen=false")))
    assert not without & bought
    assert bought <= with_seen


@pytest.mark.parametrize("user_id", ["nobody", "$gt", "a%2Fb", "%00", "..%2F..%2Fetc", "🛒🛒"])
def test_unknown_user_gets_the_popular_list_and_is_told_so(
    api: Api, store: MongoStore, user_id: str
) -> None:
    answer = api.get(f"/users/{user_id}/recommendations?k=4")
    assert answer.status_code == 200
    assert not answer.json["is_known"]
    assert answer.json["source"] == "popular"
    assert ids(answer) == [item.item_id for item in store.popular(4)]
    assert ids(api.get("/popular?k=4")) == ids(answer)


def test_popular_pages_have_no_gap(api: Api) -> None:
    whole = ids(api.get("/popular?k=9"))
    assert ids(api.get("/popular?k=3")) + ids(api.get("/popular?k=6&offset=3")) == whole
    rows = api.get("/popular?department=Dairy&k=5").json["items"]
    assert {row["department"] for row in rows} == {"Dairy"}
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]


def test_basket_leaves_its_products_out_and_names_the_unknown(api: Api) -> None:
    asked = {"product_ids": ["1033", "1040", "no such product"], "k": 5}
    answer = api.post("/baskets/recommendations", json=asked)
    assert answer.status_code == 200
    assert len(ids(answer)) == 5
    assert not {"1033", "1040"} & set(ids(answer))
    assert answer.json["unknown_products"] == ["no such product"]
    assert answer.json["is_known"]


def test_basket_of_unknown_products_is_the_popular_list(api: Api) -> None:
    answer = api.post("/baskets/recommendations", json={"product_ids": ["x", "y"], "k": 3})
    assert not answer.json["is_known"]
    assert {row["source"] for row in answer.json["items"]} == {"popular"}


def test_what_if_changes_the_answer_and_keeps_nothing(api: Api) -> None:
    before = api.get(f"/users/{USER}/recommendations?k=12")
    out = ids(before)[0]
    asked = {"purchases": [{"product_id": ids(before)[1]}], "out_of_stock": [out], "k": 12}
    answer = api.post(f"/users/{USER}/what-if", json=asked)
    assert answer.status_code == 200
    assert not {out, ids(before)[1]} & set(ids(answer))
    assert api.get(f"/users/{USER}/recommendations?k=12").json == before.json


def test_what_if_of_nothing_is_the_list(api: Api) -> None:
    expected = ids(api.get(f"/users/{USER}/recommendations?k=20"))
    assert ids(api.post(f"/users/{USER}/what-if", json={"k": 20})) == expected


def test_because_names_own_purchases_with_buyers_of_both(api: Api, store: MongoStore) -> None:
    user = store.user(USER)
    assert user is not None
    bought = {row.item_id for row in user.bought}
    for row in user.recommended[:3]:
        answer = api.get(f"/users/{USER}/because", query_string={"product_id": row.item_id})
        assert answer.status_code == 200
        assert {each["product_id"] for each in answer.json["items"]} <= bought
        shares = [each["share"] for each in answer.json["items"]]
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"/users/{USER}/because?product_id=nothing", "unknown-product"),
        ("/users/nobody/because?product_id=1033", "unknown-user"),
    ],
)
def test_because_of_the_unknown_is_404(api: Api, path: str, kind: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json["type"] == f"urn:recgraph:{kind}"


def test_etag_saves_the_body_and_gzip_packs_it(api: Api) -> None:
    path = f"/users/{USER}/recommendations?k=30"
    plain = api.get(path)
    packed = api.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2
    refused = api.get(path, headers={"Accept-Encoding": "br, gzip;q=0"})
    assert refused.data == plain.data
    assert plain.headers["ETag"] == packed.headers["ETag"]
    for known in (plain.headers["ETag"], f'"x", {plain.headers["ETag"]}', "*"):
        again = api.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.data) == (304, b"")
    assert api.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


class Finds(CommandListener):
    """Counts the reads that a client asks the server for."""

    n = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.n += event.command_name not in ("hello", "ping", "endSessions")

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


def test_a_list_costs_one_find(api: Api, api_settings: Settings, mongo_uri: str) -> None:
    finds = Finds()
    with MongoClient[Document](mongo_uri, event_listeners=[finds], tz_aware=True) as client:
        app = make_app(api_settings, Connection(client, DATABASE, "a test"))
        counted = Api(app.test_client(use_cookies=False), api.key)
        counted.get(f"/users/{USER}/recommendations")
        before, started = finds.n, time.monotonic()
        for _ in range(100):
            assert counted.get(f"/users/{USER}/recommendations").status_code == 200
        # The pointer, the key and the feedback are read once a second.
        each_second = 3 * (2 + int(time.monotonic() - started))
    assert 100 <= finds.n - before <= 100 + each_second
