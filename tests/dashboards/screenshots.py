"""Make the pictures in docs/images: ``python -m tests.dashboards.screenshots [LINK]``.

With a one-time link (`recgraph link`) they show that dashboard, where `recgraph live` must run, for
the shop is shown after a purchase; without one, the sample generation on services of their own, and
no shop.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from playwright.sync_api import Page, sync_playwright

from recgraph.config import load_settings
from recgraph.services.embedded import ensure_mongo, stop_all
from tests.dashboards.serving import CHROMIUM_FLAGS, sample_store, served

FOLDER = Path(__file__).parents[2] / "docs" / "images"
PAGES = {
    "overview": "/",
    "network": "/network",
    "degrees": "/degrees",
    "top": "/top",
    "user": "/user",
}
MAX_BYTES = 300_000


def main(link: str | None) -> None:
    """Write one picture a page."""
    pages = PAGES if link is None else PAGES | {"shop": "/shop"}
    with sample_link() if link is None else given(link) as opened:
        FOLDER.mkdir(parents=True, exist_ok=True)
        take_pictures(opened, pages)


@contextmanager
def given(link: str) -> Iterator[str]:
    """Give the link."""
    yield link


@contextmanager
def sample_link() -> Iterator[str]:
    """Give a link into a dashboard over the sample generation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = load_settings(data_dir=folder)
        try:
            with (
                sample_store(ensure_mongo(settings), folder / "generations") as store,
                served(store, folder) as site,
            ):
                yield site.link()
        finally:
            stop_all(settings)


def take_pictures(link: str, pages: dict[str, str]) -> None:
    """Sign in by the link and take a picture of each page."""
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
        page.goto(link)
        site = link.partition("/sign-in")[0]
        for name, path in pages.items():
            page.goto(site + path)
            take_picture(page, FOLDER / f"{name}.png")
        browser.close()


def take_picture(page: Page, path: Path) -> None:
    """Write what the page shows once it is drawn."""
    page.wait_for_selector("#main h1")
    if page.locator(".chips a").count():  # the user page: somebody to look at
        page.locator(".chips a").first.click()
        page.wait_for_selector(".score, .buy")
    if page.locator("#shop-shelf").count():
        page.locator("#shop-shelf .buy").first.click()
        page.get_by_text("ms after the click").wait_for()
    page.wait_for_timeout(1_500)  # figures and the network are drawn after their data came
    page.screenshot(path=path)
    size = path.stat().st_size
    typer.echo(f"{path}: {size:,} bytes")
    if size > MAX_BYTES:
        message = f"{path} has {size:,} bytes, at most {MAX_BYTES:,} were expected"
        raise SystemExit(message)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
