import pytest
from flask import Flask

from dashboards.headers import content_security_policy
from dashboards.pages.details import details
from dashboards.parts import IMAGE_HOSTS, picture, url, user_link, vertex_link
from recgraph.ports import ItemProfile


@pytest.mark.parametrize(
    ("external_id", "encoded"),
    [("a&b#c%d+e", "a%26b%23c%25d%2Be"), ("x y", "x+y"), ("<b>'\"", "%3Cb%3E%27%22"), ("", "")],
)
def test_links_are_safe_for_any_id(external_id: str, encoded: str) -> None:
    assert url("/user", id=external_id) == f"/user?id={encoded}"
    assert user_link(external_id).href == f"/user?id={encoded}"
    assert vertex_link("item", external_id, "x").href == f"/network?vertex=i%3A{encoded}"


def test_url_without_a_query_is_the_path() -> None:
    assert url("/top") == "/top"


def test_pictures_are_shown_only_from_servers_that_somebody_allowed() -> None:
    app = Flask(__name__)
    here, elsewhere = "https://img.example/a.jpg", "https://img.example.evil/a.jpg"
    with app.app_context():
        assert picture(here, "Tea") is None
        app.config[IMAGE_HOSTS] = frozenset(["img.example"])
        for url_ in (None, "", elsewhere, "http://img.example/a.jpg", "javascript:alert(1)"):
            assert picture(url_, "Tea") is None
        shown = picture(here, "Tea")
        assert (shown.src, shown.alt, shown.referrerPolicy) == (here, "Tea", "no-referrer")
        item = ItemProfile("tea", "Tea", None, None, None, 1, 1, 1.0, image_url=here)
        assert here in str(details(item))
    assert here not in str(details(item))


def test_the_policy_allows_pictures_of_the_servers_that_are_named() -> None:
    assert "img-src 'self' data:;" in content_security_policy()
    policy = content_security_policy(image_hosts=["img.example"])
    assert "img-src 'self' data: https://img.example;" in policy
