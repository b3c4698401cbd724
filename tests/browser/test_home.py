"""The first page, and models on their way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.models import save_text_model
from tests.support import ServerProcess, serving


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Nine models, one of which is broken."""
    folder = tmp_path_factory.mktemp("many")
    models = folder / "models"
    models.mkdir()
    (models / "broken.h5").write_bytes(b"not a model")
    for i in range(8):
        save_text_model(models / f"writer-{i}")
    with serving(models, folder) as server:
        yield server


def test_every_model_has_a_card_that_leads_to_its_page(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    card = page.get_by_role("listitem").filter(has_text="Cat or dog")
    expect(card).to_contain_text("image classification")
    expect(card).to_contain_text("ready")
    expect(card).to_contain_text("94.7 % right on 300 held-out pictures")
    card.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cat or dog")


def test_by_keyboard(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Cat or dog")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cat or dog")


def test_many_models_are_searched_while_one_types(page: Page, many: ServerProcess) -> None:
    page.goto(many.url)
    models = page.locator(".models").get_by_role("listitem")
    expect(models).to_have_count(9)
    page.get_by_label("Search").fill("writer-3 ready")
    expect(models.filter(visible=True)).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("1 of 9 models")
    page.get_by_label("Search").fill("zebra")
    expect(page.get_by_role("status")).to_have_text("0 of 9 models")
    page.get_by_label("Search").fill("")
    expect(models.filter(visible=True)).to_have_count(9)


def test_a_failed_model_says_why(page: Page, many: ServerProcess) -> None:
    page.goto(many.url)
    card = page.get_by_role("listitem").filter(has_text="broken")
    expect(card).to_contain_text("failed")
    reason = many.get("/api/models/broken").json()["reason"]
    expect(card).to_contain_text(reason)
    card.get_by_role("link").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(reason)
    assert "expected" not in alert.inner_text().replace(reason, "")


def test_pages_open_by_themselves_once_their_model_is_ready(page: Page, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "uploads").mkdir()
    save_text_model(tmp_path / "models" / "writer")
    cache = tmp_path / "cache"  # in which nothing is yet
    server = ServerProcess(tmp_path / "models", tmp_path / "uploads", cache_dir=cache)
    try:
        home = page.context.new_page()
        home.goto(server.url)
        page.goto(f"{server.url}/models/writer")
        expect(page.get_by_role("status")).to_contain_text("loading")
        expect(home.get_by_role("listitem")).to_contain_text("loading")
        expect(page.get_by_role("button", name="Write")).to_be_visible(timeout=60_000)
        expect(home.get_by_role("listitem")).to_contain_text("ready", timeout=60_000)
    finally:
        server.stop()
