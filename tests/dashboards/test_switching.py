"""Operators choose the generation on the overview; viewers only see which it is."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from recgraph.services.mongo import MongoStore
from recgraph.services.publish import publish
from tests.dashboards.sending import PASSWORD, add_account
from tests.dashboards.serving import Site, fresh_store, served
from tests.sample import GENERATION_ID, write_sample_generation

pytestmark = [pytest.mark.browser, pytest.mark.services]

NEWER = "20260106-120000-5a3e"


@pytest.fixture
def two(mongo_uri: str, tmp_path: Path) -> Iterator[MongoStore]:
    """A store with two generations, the newer one current."""
    with fresh_store(mongo_uri) as store:
        for generation, day in ((GENERATION_ID, 5), (NEWER, 6)):
            created_at = datetime(2026, 1, day, 12, tzinfo=UTC)
            folder = write_sample_generation(
                tmp_path / "generations", generation_id=generation, created_at=created_at
            )
            publish(store, folder, keep=3)
        yield store


def test_operator_rolls_back_with_a_click(two: MongoStore, tmp_path: Path, browser: Any) -> None:
    with served(two, tmp_path) as site:
        page = browser.new_page()
        page.goto(site.link())
        button = page.get_by_role("button", name=f"Make {GENERATION_ID} current")
        button.click()
        lead = page.locator("main code").first
        expect(lead).to_have_text(GENERATION_ID)
        assert two.pointer().generation == GENERATION_ID  # type: ignore[union-attr]
        expect(page.get_by_role("button", name=f"Make {NEWER} current")).to_be_visible()
        page.close()


def test_viewer_sees_no_button(two: MongoStore, tmp_path: Path, browser: Any) -> None:
    with served(two, tmp_path) as site:
        sign_in_as_viewer(site, page := browser.new_page())
        expect(page.get_by_role("region", name="Generations in the store")).to_contain_text("kept")
        assert page.get_by_role("button", name=re.compile("Make")).count() == 0
        page.close()


def sign_in_as_viewer(site: Site, page: Any) -> None:
    account = add_account(site.accounts, "viewer", "vera@example.com")
    page.goto(site.url)
    page.get_by_label("E-mail address").fill(account.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
