"""Whatever is sent, the answer is a problem document that says what was wrong: never a 500."""

from typing import Any

import pytest
from flask import Flask

from dashboards.api.limiting import RateLimit
from recgraph.config import Settings
from tests.api.conftest import Api, NewKey

pytestmark = pytest.mark.services

LIST = "/users/u10/recommendations"
BASKET = "/baskets/recommendations"


def assert_problem(answer: Any, status: int) -> None:
    assert answer.status_code == status, answer.text[:300]
    assert answer.mimetype == "application/problem+json"
    document = answer.json
    assert document["status"] == status
    assert document["type"].startswith("urn:recgraph:")
    assert document["detail"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("k", ["0", "-1", "1000000000", "x", "1.5", "", '{"$gt": ""}', "NaN"])
def test_k_that_cannot_be_names_the_field(api: Api, k: str) -> None:
    answer = api.get(LIST, query_string={"k": k})
    assert_problem(answer, 422)
    assert answer.json["errors"][0]["field"] == "k"


@pytest.mark.parametrize(
    "query", ["offset=-1", "offset=10001", "exclude_seen=maybe", "department=", "kk=3", "k[$gt]=1"]
)
def test_other_parameters_are_checked_as_well(api: Api, query: str) -> None:
    assert_problem(api.get(f"{LIST}?{query}"), 422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"product_ids": []}', 422),
        (b'{"product_ids": "1033"}', 422),
        (b'{"product_ids": [{"$gt": ""}]}', 422),
        (b'{"product_ids": ["1033"], "k": 0}', 422),
        (b'{"product_ids": ["1033"], "admin": true}', 422),
        (b'{"product_ids": ["\\ud800"]}', 400),
        (b'{"product_ids": ["\xff"]}', 400),
        (b"[" * 100_000, 422),
        (b'{"product_ids": ["' + b"x" * 1025 + b'"]}', 422),
        (b'{"product_ids": ["' + b"x" * 1_000_000 + b'"]}', 413),
    ],
)
def test_bodies_that_cannot_be(api: Api, body: bytes, status: int) -> None:
    assert_problem(api.post(BASKET, data=body, content_type="application/json"), status)


def test_body_of_another_type_is_415(api: Api) -> None:
    for content_type in ("text/plain", "application/xml", "multipart/form-data", ""):
        assert_problem(api.post(BASKET, data=b"{}", content_type=content_type), 415)


@pytest.mark.parametrize("path", ["/nothing", "/users", "/users/", "/", "/users/u10/nothing"])
def test_path_that_is_not_there_is_404(api: Api, path: str) -> None:
    assert_problem(api.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/popular", "GET"),
        ("GET", "/events", "POST"),
        ("PUT", "/feedback", "GET, POST, DELETE"),
        ("PATCH", LIST, "GET"),
    ],
)
def test_method_that_is_not_there_is_405_and_says_which_are(
    api: Api, method: str, path: str, allowed: str
) -> None:
    answer = api(method, path)
    assert_problem(answer, 405)
    assert answer.headers["Allow"] == allowed


def test_nobody_and_wrong_keys_are_401(api_app: Flask) -> None:
    client = api_app.test_client(use_cookies=False)
    assert_problem(client.get(f"/api/v1{LIST}"), 401)
    for key in ("", "rg_wrong", "x" * 5_000, "é"):
        assert_problem(client.get(f"/api/v1{LIST}", headers={"X-API-Key": key}), 401)


def test_a_scope_opens_its_own_routes_only(api_app: Flask, new_key: NewKey) -> None:
    client = api_app.test_client(use_cookies=False)
    reader, writer = Api(client, new_key("read")), Api(client, new_key("write"))
    assert reader.get(LIST).status_code == 200
    assert_problem(reader.post("/events", json={}), 403)
    assert_problem(reader.post("/feedback", json={}), 403)
    assert_problem(reader.post("/generations/x/activate"), 403)
    assert_problem(writer.get(LIST), 403)
    hide_from_all = {"kind": "hidden", "product_id": "1033"}
    assert_problem(writer.post("/feedback", json=hide_from_all), 403)


def test_a_key_that_has_spent_its_minute_is_told_to_wait(api_app: Flask, new_key: NewKey) -> None:
    limit = api_app.extensions["recgraph_api"].limit
    mine, other = (Api(api_app.test_client(), new_key("read")) for _ in range(2))
    limit.per_minute, before = 3, limit.per_minute
    try:
        answers = [mine.get("/popular") for _ in range(4)]
        assert other.get("/popular").status_code == 200
    finally:
        limit.per_minute = before
    assert [each.status_code for each in answers[:3]] == [200] * 3
    assert_problem(answers[3], 429)
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
    assert answers[2].headers["RateLimit-Remaining"] == "0"


def test_limit_counts_keys_apart_and_forgets_them() -> None:
    limit = RateLimit(2)
    assert [limit.spend("a").remaining for _ in range(3)] == [1, 0, 0]
    assert not limit.spend("b").is_over
    assert limit.spend("a").is_over


def test_each_process_lets_its_part_of_the_limit_pass(
    api_app: Flask, api_settings: Settings
) -> None:
    limit = api_app.extensions["recgraph_api"].limit
    assert limit.per_minute * api_settings.workers <= api_settings.requests_per_minute
    assert (limit.per_minute + 1) * api_settings.workers > api_settings.requests_per_minute
