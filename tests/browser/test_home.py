"""The first page."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def test_every_model_has_a_card_that_leads_to_its_page(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    page.get_by_role("link", name="Cat or dog").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cat or dog")
