"""Whatever is sent, the answer is a problem document that says what was wrong: never a 500."""

from io import BytesIO
from typing import Any

import pytest
from flask import Flask

from dashboards.api.limiting import RateLimit
from dashboards.api.routing import ROUTES
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
@pytest.mark.parametrize("path", [LIST, "/popular", "/users/u10/history", "/products/1033/similar"])
def test_k_that_cannot_be_names_the_field(api: Api, path: str, k: str) -> None:
    answer = api.get(path, query_string={"k": k})
    assert_problem(answer, 422)
    assert answer.json["errors"][0]["field"] == "k"


@pytest.mark.parametrize("k", [0, -1, 10**9, 10**30, "x", "3", 1.5, None, {"$gt": ""}, True])
@pytest.mark.parametrize("path", [BASKET, "/users/u10/what-if"])
def test_k_of_a_body_that_cannot_be_names_the_field(api: Api, path: str, k: Any) -> None:
    asked = {"k": k} | ({"product_ids": ["1033"]} if path == BASKET else {})
    answer = api.post(path, json=asked)
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


TAKE_A_BODY = [r.rule.replace("<id:user_id>", "u10") for r in ROUTES if r.body is not None]


@pytest.mark.parametrize("path", TAKE_A_BODY)
def test_body_of_another_type_is_415(api: Api, path: str) -> None:
    for content_type in ("text/plain", "application/xml", "multipart/form-data", ""):
        assert_problem(api.post(path, data=b"{}", content_type=content_type), 415)


@pytest.mark.parametrize("path", TAKE_A_BODY)
def test_body_of_a_megabyte_is_413(api: Api, path: str) -> None:
    text = b'{"k": "' + b"x" * 1_000_000 + b'"}'
    assert_problem(api.post(path, data=text, content_type="application/json"), 413)
    chunked = {"input_stream": BytesIO(text), "environ_overrides": {"wsgi.input_terminated": True}}
    without_length = {
        "content_type": "application/json",
        "headers": {"Transfer-Encoding": "chunked"},
    }
    assert_problem(api.post(path, **chunked, **without_length), 413)


def test_body_where_none_is_expected_is_left_alone(api: Api) -> None:
    answer = api.get(LIST, data=b"x" * 1_000_000, content_type="application/json")
    assert answer.status_code == 200


OPERATOR = {"$gt": ""}
AS_TEXT = '{"$gt": ""}'


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", f"/users/{AS_TEXT}/history", {}, 404),
        ("GET", f"/users/{AS_TEXT}/because?product_id=1033", {}, 404),
        ("GET", f"/products/{AS_TEXT}", {}, 404),
        ("GET", f"/products/{AS_TEXT}/similar", {}, 404),
        ("GET", "/users/u10/because", {"query_string": {"product_id": AS_TEXT}}, 404),
        ("GET", "/users/u10/because?product_id[$gt]=", {}, 422),
        ("GET", "/graph/ego", {"query_string": {"vertex": "u:" + AS_TEXT}}, 404),
        ("GET", "/graph/ego?vertex[$gt]=", {}, 422),
        ("GET", "/feedback?user_id[$ne]=", {}, 422),
        ("POST", f"/generations/{AS_TEXT}/activate", {}, 404),
        ("POST", "/users/u10/what-if", {"json": {"out_of_stock": [OPERATOR]}}, 422),
        ("POST", "/users/u10/what-if", {"json": {"purchases": [{"product_id": OPERATOR}]}}, 422),
        ("POST", "/users/u10/what-if", {"json": {"department": OPERATOR}}, 422),
        ("POST", "/feedback", {"json": {"kind": "hidden", "product_id": OPERATOR}}, 422),
        ("POST", "/feedback", {"json": {"kind": OPERATOR, "product_id": "1033"}}, 422),
        (
            *("POST", "/feedback"),
            *({"json": {"kind": "hidden", "product_id": "1", "user_id": OPERATOR}}, 422),
        ),
        ("DELETE", "/feedback", {"query_string": {"product_id": AS_TEXT, "user_id": "u10"}}, 404),
        ("DELETE", "/feedback?product_id[$gt]=&user_id=u10", {}, 422),
    ],
)
def test_operator_is_no_id_and_finds_nothing(
    api: Api, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    assert_problem(api(method, path, **options), status)


@pytest.mark.parametrize("unknown", ["$ne", "a.b", "a%2Fb", "%00", "u10%00", "..%2Fu10", "%FF"])
def test_id_that_nobody_has_finds_nothing(api: Api, unknown: str) -> None:
    for path in (
        f"/users/{unknown}/history",
        f"/products/{unknown}",
        f"/products/{unknown}/similar",
        f"/graph/ego?vertex=u:{unknown}",
        f"/users/u10/because?product_id={unknown}",
        f"/users/{unknown}/because?product_id=1033",
    ):
        assert_problem(api.get(path), 404)
    said = api.post(f"/users/{unknown}/what-if", json={"k": 3})
    assert (said.status_code, said.json["is_known"]) == (200, False)


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


def test_limit_counts_keys_apart_and_forgets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 6_000.0
    monkeypatch.setattr("dashboards.api.limiting.time.time", lambda: now)
    limit = RateLimit(2)
    assert [limit.spend("a").remaining for _ in range(3)] == [1, 0, 0]
    assert not limit.spend("b").is_over
    now = 6_059.0
    assert limit.spend("a") == (True, 0, 1)
    now = 6_060.0
    assert limit.spend("a") == (False, 1, 60)


def test_each_process_lets_its_part_of_the_limit_pass(
    api_app: Flask, api_settings: Settings
) -> None:
    limit = api_app.extensions["recgraph_api"].limit
    assert limit.per_minute * api_settings.workers <= api_settings.requests_per_minute
    assert (limit.per_minute + 1) * api_settings.workers > api_settings.requests_per_minute
