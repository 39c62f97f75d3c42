import pytest

from dashboards.parts import url, user_link, vertex_link


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
