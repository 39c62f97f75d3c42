"""The shop in a real browser, over a broker, `recgraph live`, `recgraph serve` and its stream."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards.auth import Links
from recgraph.cli.listening import find_stream
from recgraph.config import Settings
from recgraph.live_status import read_statuses
from recgraph.services import kafka
from recgraph.services.accounts import MongoAccounts
from recgraph.services.mongo import open_store
from recgraph.services.publish import publish
from tests.dashboards.conftest import Watched
from tests.dashboards.sending import PASSWORD, add_account
from tests.dashboards.serving import Site, new_context
from tests.sample import make_rated, write_sample_generation

pytestmark = [pytest.mark.browser, pytest.mark.services]

PATIENCE_S = 90.0
CHANGED = re.compile(r"is bought\. The list changed (\d+) ms after the click: .*\.")


@dataclass
class Street:
    """All that stands between a click and a list."""

    settings: Settings
    site: Site
    live: subprocess.Popen[bytes]
    folder: Path


def variables(settings: Settings) -> dict[str, str]:
    names = ("data_dir", "kafka_bootstrap", "topic", "live_topic", "mongo_database")
    found = {f"RECGRAPH_{name.upper()}": str(getattr(settings, name)) for name in names}
    assert settings.mongo_uri is not None
    return os.environ | found | {"RECGRAPH_MONGO_URI": settings.mongo_uri.get_secret_value()}


@contextmanager
def command(settings: Settings, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block ends, and see that it then ends in time and well."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recgraph.cli", *arguments],
            env=variables(settings),
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=log.parent,
        )
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()


def wait_until(is_done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def street(
    request: pytest.FixtureRequest, service_settings: Settings, tmp_path: Path
) -> Iterator[Street]:
    """All of it over a sample generation; a parameter is a function that changes that one."""
    settings = service_settings.model_copy(update={"live_topic": f"lists-{service_settings.topic}"})
    assert settings.kafka_bootstrap is not None
    assert settings.mongo_uri is not None
    folder = write_sample_generation(settings.generations_dir, n_users=60, n_items=150, k=10)
    if change := getattr(request, "param", None):
        change(folder)
    kafka.ensure_topic(settings.kafka_bootstrap, settings.topic, n_partitions=2)
    with ExitStack() as stack:
        uri = settings.mongo_uri.get_secret_value()
        store = stack.enter_context(open_store(uri, settings.mongo_database))
        publish(store, folder, keep=3)
        live = stack.enter_context(command(settings, tmp_path / "live.log", "live"))
        log = tmp_path / "serve.log"
        serve = stack.enter_context(command(settings, log, "serve", "--port", "0", "--json"))
        assert serve.stdout is not None
        line = serve.stdout.readline()
        assert line, log.read_text()
        url = json.loads(line)["url"].partition("/sign-in")[0]
        links = Links(settings.data_dir / "dashboard" / "links")
        site = Site(url, links, MongoAccounts(store.connection))
        wait_until(lambda: read_statuses(settings.live_status_dir), "recgraph live")
        yield Street(settings, site, live, tmp_path)


@contextmanager
def watched(
    street: Street, browser: Browser, *, width: int = 1280, scheme: str = "light", link: str = ""
) -> Iterator[Watched]:
    """Give a signed-in page; whatever its console said fails the test."""
    context = new_context(browser, width, scheme)
    watched = Watched(street.site, context.new_page())
    watched.page.goto(link or street.site.link())
    yield watched
    stream = find_stream(street.settings)
    assert stream is not None
    assert [url for url in watched.foreign if not url.startswith(stream.url)] == []
    assert watched.problems == []
    context.close()


def is_live(page: Page) -> None:
    expect(page.locator('.live-mark[data-state="live"]')).to_be_visible()


def buy(page: Page, shelf: str = "#shop-shelf") -> int:
    """Buy the first product of a shelf; return the milliseconds that the page tells."""
    told = page.locator("#shop-told")
    before = told.inner_text()
    page.locator(shelf).get_by_role("button", name="Buy").first.click()
    expect(told).not_to_have_text(before)
    expect(told).to_have_text(CHANGED)
    found = CHANGED.search(told.inner_text())
    assert found is not None
    return int(found[1])


def test_purchase_changes_the_list_on_the_page(
    street: Street, browser: Browser, tmp_path: Path
) -> None:
    with watched(street, browser) as shop, watched(street, browser, width=400) as other:
        page = shop.page
        shop.open("/shop")
        page.get_by_role("link", name="as a new customer").click()
        rows = page.locator("#shop-shelf li")
        expect(rows).to_have_count(5)
        expect(page.locator("#shop-shelf")).to_contain_text("Nothing is known of you yet")
        is_live(page)
        guest = page.url.rpartition("=")[2]
        other.open(f"/user?id={guest}")
        expect(other.page.locator(".notice")).to_contain_text(f"no user {guest}.")
        is_live(other.page)

        bought = rows.first.locator(".name a").inner_text()
        took_ms = [buy(page)]
        expect(rows).to_have_count(10)
        expect(page.locator("#shop-shelf")).to_contain_text("Chosen for you")
        expect(page.locator("#shop-shelf")).to_contain_text(f"because of {bought}")
        expect(page.locator(".change.new").first).to_be_visible()
        region = other.page.get_by_role("region", name="Recommended to this user")
        expect(region.locator("tbody tr")).to_have_count(10)
        expect(other.page.locator("#live-said")).to_contain_text("the list changed at")
        for _ in range(3):
            took_ms.append(buy(page))
        page.get_by_label("Product").press_sequentially("brea", delay=20)
        expect(page.locator("#shop-hits li").first).to_contain_text("Bread")
        took_ms.append(buy(page, "#shop-hits"))
        print("milliseconds from click to list:", took_ms)  # noqa: T201
        page.screenshot(path=tmp_path / "shop.png", full_page=True)
        assert page.evaluate("document.querySelectorAll('#main img').length") == 0


def test_a_click_counts_when_the_list_is_drawn_anew_under_it(
    street: Street, browser: Browser
) -> None:
    with watched(street, browser) as shop:
        page = shop.page
        shop.open("/shop?id=u20")
        is_live(page)
        row = page.locator("#shop-shelf li").first
        name = row.locator(".name a").inner_text()
        row.get_by_role("button", name="Buy").hover()
        page.mouse.down()
        page.evaluate("dash_clientside.set_props('shop-shelf', {children: []})")
        expect(row).to_have_count(0)
        page.mouse.up()
        told = page.locator("#shop-told")
        expect(told).to_have_text(CHANGED)
        expect(told).to_contain_text(f"{name} is bought")
        expect(page.locator("#shop-shelf li")).to_have_count(10)


def test_household_enters_on_a_narrow_screen(
    street: Street, browser: Browser, scheme: str, tmp_path: Path
) -> None:
    with watched(street, browser, width=400, scheme=scheme) as shop:
        page = shop.page
        shop.open("/shop")
        expect(page.locator(".chips a").first).to_be_visible()
        ink = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}[scheme]
        expect(page.get_by_role("button", name="Enter")).to_have_css("color", ink)
        field = page.get_by_label("Household")
        field.fill("u20")
        field.press("Enter")
        page.wait_for_url("**/shop?id=u20")
        is_live(page)
        buy(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.screenshot(path=tmp_path / f"shop-{scheme}.png", full_page=True)


def test_viewer_may_look_and_not_buy(street: Street, browser: Browser) -> None:
    add_account(street.site.accounts)
    with watched(street, browser, link=street.site.url + "/sign-in") as shop:
        page = shop.page
        shop.problems.clear()  # the sign-in page
        page.get_by_label("E-mail").fill("ann@example.com")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").first.click()
        expect(page.locator("h1")).to_have_text("Overview")
        shop.open("/shop?id=u20")
        expect(page.locator(".notice")).to_contain_text("may look")
        expect(page.get_by_role("button", name="Buy").first).to_be_disabled()
        is_live(page)


@pytest.mark.parametrize("street", [make_rated], indirect=True)
def test_where_ratings_are_predicted_a_purchase_is_said_to_change_nothing(
    street: Street, browser: Browser
) -> None:
    with watched(street, browser) as shop:
        page = shop.page
        shop.open("/shop?id=u20")
        is_live(page)
        expect(page.locator(".notice")).to_contain_text("predicts ratings")
        names, told = page.locator("#shop-shelf .name a"), page.locator("#shop-told")
        shelves = []
        for place in range(2):  # the sample's first list is not of its factors
            name = names.nth(place).inner_text()
            page.get_by_role("button", name=f"Buy {name}", exact=True).first.click()
            known = rf"{re.escape(name)} is bought\. It is known \d+ ms after .* changes no list"
            expect(told).to_have_text(re.compile(known))
            shelves.append(names.all_inner_texts())
        assert shelves[0] == shelves[1]


def test_what_is_missing_is_said_and_comes_back(street: Street, browser: Browser) -> None:
    with watched(street, browser) as shop:
        page = shop.page
        shop.open("/shop?id=u21")
        is_live(page)
        street.live.send_signal(signal.SIGTERM)
        assert street.live.wait(20) == 0
        page.locator("#shop-shelf").get_by_role("button", name="Buy").first.click()
        expect(page.locator("#shop-told")).to_contain_text("`recgraph live`")
        page.reload()
        expect(page.locator(".notice")).to_contain_text("no `recgraph live` runs")
        with command(street.settings, street.folder / "live-2.log", "live"):
            # The sale that waited is folded in, and the page follows without a reload.
            said = page.locator("#live-said")
            expect(said).to_contain_text("the list changed at", timeout=PATIENCE_S * 1000)
            buy(page)
        assert shop.problems == []
