"""The page of a model that takes a text, with scripts and without."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visit import PHONE, WITH_AND_WITHOUT, check_on_a_phone
from tests.support import ServerProcess

KNOWN = "the film was good"


@pytest.fixture
def answer(assorted: ServerProcess, page: Page) -> Any:
    """The answer on the page of `imdb`."""
    page.goto(f"{assorted.url}/models/imdb")
    return page.get_by_label("The answer", exact=True)


@WITH_AND_WITHOUT
def test_a_text_is_answered(page: Page, answer: Any, script: bool) -> None:
    expect(answer).to_be_hidden()
    page.get_by_label("Text").fill(f"{KNOWN}, zebra")
    if not script:
        page.get_by_role("button", name="Predict", exact=True).click()
    expect(answer.locator(".verdict")).to_have_text(re.compile("^(yes|no)$"))
    expect(answer.locator("meter")).to_have_count(2)
    expect(answer).to_contain_text("20.0 % of the words are not known to the model")


@WITH_AND_WITHOUT
def test_a_problem_is_beside_the_field(page: Page, answer: Any, script: bool) -> None:
    text = page.get_by_label("Text")
    text.fill("zebra")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(text).to_have_accessible_description(
        "Up to 10,000 characters. no known word: expected a text with at least one word that the "
        "model knows"
    )
    expect(answer).to_be_hidden()
    text.fill(KNOWN)
    if not script:
        page.get_by_role("button", name="Predict", exact=True).click()
    expect(answer.locator("meter")).to_have_count(2)
    expect(text).to_have_attribute("aria-invalid", "false")


def test_half_a_word_is_no_mistake(page: Page, answer: Any) -> None:
    text = page.get_by_label("Text")
    text.press_sequentially("fil")
    expect(page.locator("#progress")).to_have_text("No answer yet.")
    expect(text).to_have_attribute("aria-invalid", "false")
    text.press_sequentially("m")
    expect(answer.locator("meter")).to_have_count(2)
    text.fill("")
    expect(answer).to_be_hidden()
    expect(page.locator("#progress")).to_have_text("")


@WITH_AND_WITHOUT
def test_a_table_of_texts(page: Page, answer: Any, script: bool) -> None:
    file: Any = {"name": "texts.csv", "mimeType": "text/csv"}
    file["buffer"] = f'review\n"{KNOWN}, zebra"\ngood\n'.encode()
    page.get_by_label("CSV file").set_input_files(file)
    if not script:
        page.get_by_role("button", name="Predict all rows").click()
    rows = page.get_by_role("region", name="The first rows with their answers").get_by_role("row")
    expect(rows).to_have_count(3)
    head = ["review", "label", "probability", "unknown_share"]
    expect(rows.first.locator("th")).to_have_text(head)
    expect(rows.nth(1).locator("td").last).to_have_text("0.2")
    expect(rows.nth(2).locator("td").last).to_have_text("0")


def test_it_fits_on_a_phone(page: Page, answer: Any) -> None:
    page.set_viewport_size(PHONE)
    page.get_by_label("Text").fill(KNOWN)
    expect(answer.locator("meter")).to_have_count(2)
    check_on_a_phone(page)
