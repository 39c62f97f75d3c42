"""The dashboard in a real browser; `open_browser` fails a test on any console problem."""

import base64
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from dashboards.app import PAGES
from dashboards.pages.overview import REFRESH_MS
from recgraph.config import Settings
from recgraph.services.embedded import ensure_mongo, service_states, stop_all
from recgraph.services.mongo import MongoStore
from tests.dashboards.conftest import Watched
from tests.dashboards.sending import OTHER_PASSWORD, PASSWORD, add_account
from tests.dashboards.serving import Site, new_context, sample_store, served

pytestmark = [pytest.mark.browser, pytest.mark.services]

Open = Callable[..., Watched]

DEEP_LINKS = [
    *("/user?id=u20", "/user?id=nobody", "/user?id=" + "long" * 60, "/top?department=Dairy"),
    *("/network?vertex=u%3Au20", "/network?vertex=u%3Au20&why=i%3A1010", "/network?vertex=u%3Ax"),
]
NASTY_TITLE = "<img src=x onerror=alert(1)>"

UNNAMED = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), img")]
  .filter((e) => e.offsetParent !== null && !e.closest("[role=img], .ag-root-wrapper"))
  .filter((e) => !(e.textContent || e.ariaLabel || e.alt === "" || e.labels?.length || e.alt))
  .map((e) => e.outerHTML.slice(0, 120))"""

CLICK_POINT = """(id) => {
  const drawing = document.getElementById("network");
  const box = drawing.getBoundingClientRect();
  const at = drawing._cyreg.cy.getElementById(id).renderedPosition();
  return [box.x + at.x, box.y + at.y];
}"""
SPILLED = """() => [...document.querySelectorAll(".card")]
  .filter((card) => getComputedStyle(card).overflowY === "visible")
  .filter((card) => card.scrollHeight > card.clientHeight + 1)
  .map((card) => card.className)"""
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SHOWN_NAMES = """() => {
  const cy = document.getElementById("network")._cyreg.cy;
  const size = (n, name) => n.numericStyle(name);
  return cy.nodes()
    .filter((n) => size(n, "font-size") * cy.zoom() >= size(n, "min-zoomed-font-size"))
    .map((n) => ({ id: n.id(), box: n.boundingBox({ includeNodes: false, includeEdges: false }) }));
}"""
VERTICES = """() => document.getElementById("network")._cyreg.cy.nodes().map((n) => n.id())"""


def vertices(page: Page) -> list[str]:
    page.wait_for_function("document.getElementById('network')?._cyreg?.cy.nodes().length > 0")
    found: list[str] = page.evaluate(VERTICES)
    return found


@pytest.mark.parametrize("width", [400, 1280])
def test_every_page_fits_and_is_named(open_browser: Open, scheme: str, width: int) -> None:
    watched = open_browser(width, scheme)
    page = watched.page
    for path in [*PAGES, *DEEP_LINKS]:
        watched.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator("h1").count() == 1
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate(SPILLED) == [], path
        assert page.title().endswith("· recgraph")
        current = page.locator('nav [aria-current="page"]')
        assert current.count() == 1
        expect(current).to_be_in_viewport()
        assert page.get_attribute("html", "data-mantine-color-scheme") == scheme
    if width == 400:
        assert page.locator("nav").bounding_box()["y"] > 800  # type: ignore[index]


def test_the_account_page_fits_a_narrow_screen(open_browser: Open) -> None:
    watched = open_browser(400)
    watched.page.goto(watched.site.url + "/account")
    expect(watched.page.locator("h1")).to_have_text("Your account")
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_names_in_the_network_do_not_cover_each_other(open_browser: Open) -> None:
    watched = open_browser()
    watched.open("/network?vertex=i%3A1010")
    page = watched.page
    assert len(vertices(page)) > 20
    names = page.evaluate(SHOWN_NAMES)
    assert len(names) > 5
    covered = [(a, b) for i, a in enumerate(names) for b in names[:i] if _meet(a["box"], b["box"])]
    assert covered == []


def _meet(one: dict[str, float], other: dict[str, float]) -> bool:
    across = min(one["x2"], other["x2"]) - max(one["x1"], other["x1"])
    down = min(one["y2"], other["y2"]) - max(one["y1"], other["y1"])
    return across > 4 and down > 4  # the boxes are a little larger than what is drawn


def test_pictures_are_drawn_from_an_allowed_server_and_from_no_other(
    mongo_uri: str, browser: Browser, tmp_path: Path
) -> None:
    allowed, other = "https://img.example/a.png", "https://other.example/b.png"
    asked: list[str] = []

    def give(asking: Route) -> None:
        asked.append(asking.request.url)
        asking.fulfill(body=PIXEL, content_type="image/png")

    context = new_context(browser)
    context.route(re.compile("^https://"), give)
    page = context.new_page()
    with (
        sample_store(mongo_uri, tmp_path / "generations") as store,
        served(store, tmp_path, image_hosts=["img.example"]) as site,
    ):
        items = store.collection("items", store.current().manifest.id)
        for item_id, address in (("1010", allowed), ("1011", other)):
            items.update_one({"_id": item_id}, {"$set": {"image_url": address}})
        page.goto(site.link())
        page.goto(f"{site.url}/network?vertex=i%3A1010")
        page.wait_for_function("() => document.querySelector('.product-image')?.naturalWidth === 1")
        page.goto(f"{site.url}/network?vertex=i%3A1011")
        expect(page.locator("#network-panel h2")).to_be_visible()
        expect(page.locator(".product-image")).to_have_count(0)
        context.close()
    assert asked == [allowed]


def test_link_signs_in_and_leaves_the_address(open_browser: Open) -> None:
    page = open_browser().page
    assert "token" not in page.url
    assert page.evaluate("document.cookie") == ""
    assert "token" not in page.evaluate("document.referrer")


def test_second_browser_pastes_a_token(site: Site, browser: Browser) -> None:
    link = site.link()
    context = new_context(browser)
    page = context.new_page()
    assert page.goto(site.url + "/top?department=Dairy").status == 401  # type: ignore[union-attr]
    for token in ("wrong", link.rpartition("=")[2]):
        page.get_by_text("Sign in with a one-time link").click()
        page.get_by_label("Or paste the token").fill(token)
        page.get_by_role("button", name="Use the token").click()
        if token == "wrong":
            expect(page.get_by_role("alert")).to_contain_text("used already")
    expect(page.locator("h1")).to_have_text("Top recommended products")
    assert page.url.endswith("/top?department=Dairy")
    context.close()


def test_navigation_works_without_a_reload(open_browser: Open) -> None:
    page = open_browser().page
    page.evaluate("window.stayed = true")
    headings = {"Network": "Network", "Degrees": "Degree distribution", "User": "User"}
    for name, heading in headings.items():
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page.locator("h1")).to_have_text(heading)
    page.go_back()
    expect(page.locator("h1")).to_have_text("Degree distribution")
    assert page.evaluate("window.stayed")


def test_ingest_numbers_move(open_browser: Open) -> None:
    assert REFRESH_MS <= 6_000
    page = open_browser().page
    with page.expect_response("**/_dash-update-component*") as answer:
        pass
    assert answer.value.ok
    expect(page.locator("#ingest")).to_contain_text("1,469,307")


def test_search_leads_to_a_neighbourhood(open_browser: Open) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/network")
    box = page.get_by_role("textbox", name="User or product")
    box.click()
    box.press_sequentially("brea", delay=20)
    hits = page.locator("#network-hits").get_by_role("link")
    expect(hits.first).to_contain_text("Bread")
    expect(box).to_have_value("brea")
    chosen = hits.nth(1).inner_text()
    hits.nth(1).click()
    expect(page).to_have_url(re.compile("/network\\?vertex=i%3A"))
    expect(page.locator("#network-panel h2")).to_have_text(chosen)
    expect(hits).to_have_count(0)
    expect(page.locator("#network-count")).to_contain_text("Showing")
    expect(page.locator("#network-count")).to_contain_text("The strongest first")


def test_enter_leads_to_the_best_hit(open_browser: Open) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/network")
    box = page.get_by_role("textbox", name="User or product")
    box.fill("u21")
    box.press("Enter")
    expect(page).to_have_url(re.compile("/network\\?vertex=u%3Au21$"))
    expect(page.locator("#network-panel h2")).to_have_text("u21")


def test_search_for_nothing_known_says_so(open_browser: Open) -> None:
    watched = open_browser()
    watched.open("/network")
    box = watched.page.get_by_role("textbox", name="User or product")
    box.press_sequentially("<b>zzz")
    expect(watched.page.get_by_text("Nothing begins like this")).to_be_visible()


def test_click_expands_a_vertex_and_shows_its_details(open_browser: Open) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/network?vertex=i:1010")
    before = vertices(page)
    vertex = next(v for v in reversed(before) if v.startswith("u:u"))
    page.mouse.click(*page.evaluate(CLICK_POINT, vertex))
    expect(page.locator("#network-panel h2")).to_have_text(vertex[2:])
    after = vertices(page)
    assert set(before) < set(after)
    expect(page.locator("#network-count")).to_contain_text(f"{len(after)} vertices")
    page.get_by_text("The same as a table").click()
    expect(page.locator("#network-table tbody tr").first).to_be_visible()


def test_network_can_be_walked_without_the_drawing(open_browser: Open) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/network?vertex=u:u20")
    summary = page.get_by_text("The same as a table")
    summary.focus()
    page.keyboard.press("Enter")
    for _ in ("the table", "the user", "the product"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#network-panel h2")).not_to_have_text("u20")


def test_recommendation_is_explained_by_paths(open_browser: Open) -> None:
    watched = open_browser()
    watched.open("/user?id=u20")
    watched.page.get_by_role("link", name="Why?").first.click()
    expect(watched.page.locator("#network-count")).to_contain_text("paths behind")


def test_user_is_looked_up(open_browser: Open, store: MongoStore) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/user")
    field = page.get_by_label("User id")
    field.fill("u20")
    field.press("Enter")
    page.wait_for_url("**/user?id=u20")
    user = store.user("u20")
    assert user is not None
    rows = page.get_by_role("region", name="Recommended to this user").locator("tbody tr")
    expect(rows).to_have_count(len(user.recommended))
    expect(rows.first).to_contain_text(f"{user.recommended[0].score:.3f}")
    expect(rows.first).to_contain_text("ALS + graph walk")
    (reason,) = user.recommended[0].because
    expect(rows.first).to_contain_text(f"because of {reason.title}")


@pytest.mark.parametrize(
    "user_id", ["nobody", "<img src=x onerror=alert(1)>2", "a'b\"c", "🍉", "$ne", "a&b#c%d+e"]
)
def test_unknown_user_gets_the_popular_list(open_browser: Open, user_id: str) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/user")
    page.get_by_label("User id").fill(user_id)
    page.get_by_role("button", name="Look up").click()
    expect(page.locator(".notice")).to_contain_text(f"no user {user_id}.")
    expect(page.get_by_role("region", name="The popular list")).to_be_visible()
    assert page.locator("#main img").count() == 0


def test_html_in_a_title_is_shown_and_not_run(open_browser: Open) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/network?vertex=" + quote("i:$gt"))
    expect(page.locator("#network-panel h2")).to_have_text(NASTY_TITLE)
    assert page.locator("#main img").count() == 0
    watched.open("/top")
    expect(page.locator("#top-grid").get_by_role("link", name=NASTY_TITLE)).to_be_visible()
    expect(page.locator(".figure").get_by_text(NASTY_TITLE)).to_be_visible()
    assert page.locator("#main img").count() == 0
    watched.open("/network")
    box = page.get_by_role("textbox", name="User or product")
    box.press_sequentially("img")
    page.locator("#network-hits").get_by_role("link", name=NASTY_TITLE).click()
    expect(page.locator("#network-panel h2")).to_have_text(NASTY_TITLE)


def test_department_filters_the_products(open_browser: Open) -> None:
    watched = open_browser()
    page = watched.page
    watched.open("/top")
    page.get_by_label("Department").first.click()
    page.get_by_role("option", name="Dairy").click()
    page.wait_for_url("**/top?department=Dairy")
    cells = page.locator('#top-grid .ag-row [col-id="department"]')
    expect(cells.first).to_have_text("Dairy")
    assert set(cells.all_inner_texts()) == {"Dairy"}


def test_scheme_is_switched_and_kept(open_browser: Open) -> None:
    watched = open_browser(scheme="light")
    page = watched.page
    watched.open("/degrees")
    tick = page.locator(".xtick text").first
    colours = [tick.evaluate("e => getComputedStyle(e).fill")]
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    page.wait_for_function(
        "c => getComputedStyle(document.querySelector('.xtick text')).fill !== c", arg=colours[0]
    )
    watched.open("/degrees")
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    assert tick.evaluate("e => getComputedStyle(e).fill") != colours[0]


def test_skip_link_leads_to_the_content(open_browser: Open) -> None:
    page = open_browser().page
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#main') !== null")


@pytest.mark.parametrize("width", [400, 1280])
def test_account_menu_says_who_it_is_and_signs_out(
    open_browser: Open, scheme: str, width: int
) -> None:
    watched = open_browser(width, scheme)
    watched.open("/degrees")  # which asks for nothing more: who has signed out gets no answer
    page = watched.page
    page.wait_for_load_state("networkidle")
    button = page.get_by_role("button", name="Your account")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_contain_text("this machine")
    expect(page.locator("#who")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("link", name="Account and password")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#who")).to_have_count(0)
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.locator("h1")).to_have_text("Sign in to recgraph")


@pytest.mark.parametrize("width", [400, 1280])
def test_password_signs_in_and_is_changed(
    site: Site, browser: Browser, scheme: str, width: int
) -> None:
    email = f"ann-{scheme}-{width}@example.com"
    add_account(site.accounts, "viewer", email)
    context = new_context(browser, width, scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(site.url + "/top")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type(email)
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("do not go together")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Top recommended products")
    page.get_by_role("button", name="Your account").click()
    expect(page.locator("#who")).to_contain_text(email)
    page.get_by_role("link", name="Account and password").click()
    expect(page.locator("h1")).to_have_text("Your account")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(UNNAMED) == []
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password, 12").fill(OTHER_PASSWORD)
    page.get_by_label("New password again").fill(OTHER_PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("status")).to_contain_text("Your password is changed")
    page.get_by_role("link", name="Back to the pages").click()
    expect(page.locator("h1")).to_have_text("Overview")
    context.close()


def test_session_that_is_ended_elsewhere_leads_to_the_sign_in_page(
    site: Site, browser: Browser
) -> None:
    account = add_account(site.accounts, "viewer", "bob@example.com")
    context = new_context(browser)
    page = context.new_page()
    page.goto(site.url)
    page.get_by_label("E-mail address").fill(account.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Overview")
    site.accounts.people.set_active(account.email, is_active=False)
    # The page asks again by itself, and may be gone before anybody can click.
    page.evaluate("document.querySelector('nav a[href=\"/top\"]')?.click()")
    expect(page.locator("h1")).to_have_text("Sign in to recgraph")
    context.close()


def test_session_that_ended_leads_to_the_sign_in_page(site: Site, browser: Browser) -> None:
    context = new_context(browser)
    page = context.new_page()
    page.goto(site.link())
    page.goto(site.url + "/degrees")  # the overview asks again by itself, and would be led there
    expect(page.locator("h1")).to_have_text("Degree distribution")
    context.clear_cookies()
    page.get_by_role("navigation").get_by_role("link", name="Top").click()
    expect(page.locator("h1")).to_have_text("Sign in to recgraph")
    context.close()


def test_store_that_goes_away_is_explained_and_comes_back(
    settings: Settings, mongo_uri: str, browser: Browser, tmp_path: Path
) -> None:
    context = new_context(browser)
    page = context.new_page()
    with (
        sample_store(ensure_mongo(settings), settings.generations_dir) as store,
        served(store, tmp_path) as site,
    ):
        page.goto(site.link())
        page.get_by_role("navigation").get_by_role("link", name="Network").click()
        field = page.get_by_role("textbox", name="User or product")
        expect(field).to_be_visible()
        (pid,) = [state.pid for state in service_states(settings) if state.pid]
        os.kill(pid, signal.SIGKILL)
        field.fill("milk")
        expect(page.locator("#notice")).to_contain_text("The store is away")
        ensure_mongo(settings)
        page.wait_for_timeout(2_000)  # the server is asked again once a second
        page.reload()
        expect(field).to_be_visible()
        expect(page.locator("#notice")).to_be_empty()
    context.close()
    stop_all(settings)
