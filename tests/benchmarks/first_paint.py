"""First paint of each page: ``python -m tests.benchmarks.first_paint [LINK]``.

Prints, in milliseconds after the navigation began, the median of a few visits: the browser's first
contentful paint, and when the page's own content stood (its heading; figures follow). The first
line is a first visit, with an empty cache. With a one-time link (`recgraph link`) it measures that
dashboard; without one, the sample generation on services of its own.
"""

import shutil
import statistics
import sys
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from dashboards.app import PAGES
from tests.dashboards.screenshots import given, sample_link
from tests.dashboards.serving import CHROMIUM_FLAGS

VISITS = 5
PAINT = """() => {
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return paint === undefined ? null : paint.startTime;
}"""
CONTENT = """() => document.querySelector("#main h1") !== null && performance.now()"""


def visit(page: Page, url: str) -> tuple[float, float]:
    """Return first contentful paint and content of one visit, in milliseconds."""
    page.goto(url, wait_until="commit")
    content = page.wait_for_function(CONTENT, polling="raf").json_value()
    page.wait_for_load_state("load")
    return float(page.wait_for_function(PAINT).json_value()), float(content)


def measure(browser: Browser, link: str) -> list[tuple[str, float, float]]:
    """Return a row a page, the first visit of all on top."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    site = link.partition("/sign-in")[0]
    context.request.get(link)
    page = context.new_page()
    rows = [("/ with an empty cache", *visit(page, site + "/"))]
    for path in PAGES:
        visits = [visit(page, site + path) for _ in range(VISITS)]
        paint, content = (statistics.median(column) for column in zip(*visits, strict=True))
        rows.append((path, paint, content))
    return rows


def as_table(rows: list[tuple[str, Any, Any]]) -> Table:
    """Return the rows as a table."""
    table = Table("page", "first contentful paint, ms", "content, ms")
    for path, paint, content in rows:
        table.add_row(path, f"{paint:,.0f}", f"{content:,.0f}")
    return table


def main(link: str | None) -> None:
    """Measure and print."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    with sample_link() if link is None else given(link) as opened, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        Console().print(as_table(measure(browser, opened)))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
