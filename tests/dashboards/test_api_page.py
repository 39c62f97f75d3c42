"""The page to try the API, in a real browser: all from this server, and it works."""

from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.services]


@pytest.mark.parametrize("width", [1280, 400])
def test_page_lists_the_operations_and_sends_one(open_browser: Any, width: int) -> None:
    watched = open_browser(width=width)
    page = watched.page
    page.get_by_role("button", name="Your account").click()
    page.get_by_role("link", name="REST API").click()
    operation = page.locator("#operations-Recommendations-popular")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table tbody .response-col_status")
    expect(answer.first).to_contain_text("200")
    expect(page).to_have_title("API · recgraph")


def test_nobody_is_led_to_the_sign_in_page(site: Any, browser: Any) -> None:
    page = browser.new_page()
    answer = page.goto(f"{site.url}/api-docs")
    assert answer.status == 401
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.close()
