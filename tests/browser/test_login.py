"""Pages of a server with API keys: the way in, and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.table_page import answer, field, send_csv
from tests.browser.test_code import LANGUAGES, predictions, run
from tests.browser.test_docs import execute
from tests.keys import Keyed
from tests.support import picture

CSV = "cylinders,displacement,horsepower,weight,acceleration,year,origin\n8,307,130,3504,12,70,1\n"


@pytest.fixture(scope="session")
def base_url(keyed: Keyed) -> str:
    return keyed.server.url


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_asked_once_and_everything_works(keyed: Keyed, page: Page) -> None:
    page.goto("/models/writer")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_label("API key")).to_be_focused()
    assert not Axe().run(page).response["violations"]
    sign_in(page, keyed.keys["operator"])
    expect(page).to_have_url(f"{keyed.server.url}/models/writer")

    page.get_by_label("Number of words").fill("12")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.locator("#progress")).to_have_text("Done: 12 words.")

    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text("miles per gallon")
    send_csv(page, CSV)
    expect(page.locator("#csv-result")).to_contain_text("1 row")

    page.goto("/models/shades")
    page.get_by_label("Choose pictures").set_input_files(
        {"name": "p.jpg", "mimeType": "image/jpeg", "buffer": picture()}
    )
    expect(page.locator(".verdict")).to_be_visible()

    page.goto("/status")
    expect(page.get_by_text("Updated every two seconds, last at")).to_be_visible()
    page.goto("/docs")
    execute(page, "mpg")
    assert page.context.cookies()[0]["httpOnly"]
    kept = "document.cookie + JSON.stringify([{...localStorage}, {...sessionStorage}])"
    assert page.evaluate(kept) == "[{},{}]"

    page.goto("/")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_wrong_key_is_told_and_may_be_corrected(keyed: Keyed, page: Page) -> None:
    page.goto("/status")
    sign_in(page, "kp_wrong")
    expect(page.get_by_text("This key is not known.")).to_be_visible()
    expect(page.get_by_label("API key")).to_have_value("")
    sign_in(page, keyed.keys["operator"])
    expect(page).to_have_url(f"{keyed.server.url}/status")


def test_without_javascript(keyed: Keyed, browser: Browser) -> None:
    with browser.new_context(java_script_enabled=False, base_url=keyed.server.url) as context:
        page = context.new_page()
        page.goto("/models/mpg")
        sign_in(page, keyed.keys["laboratory"])
        page.get_by_role("button", name="Predict", exact=True).click()
        expect(answer(page)).to_contain_text("miles per gallon")
        page.goto("/")
        expect(page.get_by_role("link", name="Miles per gallon")).to_be_visible()
        expect(page.locator(".models li")).to_have_count(1)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_link_of_another_site_finds_who_is_signed_in(keyed: Keyed, page: Page) -> None:
    page.goto("/")
    sign_in(page, keyed.keys["operator"])
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    other = keyed.server.url.replace("127.0.0.1", "localhost")
    page.goto(f"{other}/login")
    page.evaluate(f"location.href = '{keyed.server.url}/status'")
    expect(page.get_by_role("heading", name="Status")).to_be_visible()


def test_a_key_that_is_removed_ends_what_is_open(keyed: Keyed, page: Page) -> None:
    key = keyed.keys.add("visitor")
    page.goto("/models/mpg")
    sign_in(page, key)
    expect(page.get_by_role("heading", name="Miles per gallon")).to_be_visible()
    status = page.context.new_page()
    status.goto("/status")
    keyed.keys.remove("visitor")
    field(page, "weight").fill("3001")
    expect(page.get_by_text("You are signed out, or your key was removed.").first).to_be_visible()
    expect(status.get_by_role("heading", name="Sign in")).to_be_visible()


def test_programs_show_where_the_key_goes_and_run_with_it(
    keyed: Keyed, page: Page, tmp_path: Path
) -> None:
    page.goto("/models/mpg")
    sign_in(page, keyed.keys["laboratory"])
    first = keyed.ask("/api/models/mpg/example").json()
    wanted = keyed.ask("/api/mpg", json=first).json()["predictions"]
    for language in LANGUAGES:
        page.get_by_role("radio", name=language).check()
        (code,) = page.locator("#code pre:visible").all_inner_texts()
        assert "YOUR_KEY" in code
        code = code.replace("YOUR_KEY", keyed.keys["laboratory"])
        assert predictions(run(code, language, tmp_path), language) == wanted
