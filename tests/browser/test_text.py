"""Texts that appear word by word, and all that can come between."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.models import save_text_model
from tests.support import ServerProcess, serving

EVENTS = {"Accept": "text/event-stream"}


def written(page: Page) -> Locator:
    return page.locator("#written mark")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def await_free_place(server: ServerProcess, page: Page) -> None:
    """Until the server knows that nobody waits for `endless` any more: the test's limit is the end
    of it."""
    while server.get("/api/models/endless").json()["waiting"]:
        page.wait_for_timeout(50)


def test_words_appear_and_are_told_apart_from_the_seed(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/writer")
    page.get_by_label("Beginning").fill("w1 zebra w2")
    page.get_by_label("Number of words").fill("20")
    press(page, "Write")
    expect(page.get_by_role("status").filter(has_text="Done")).to_have_text("Done: 20 words.")
    expect(page.locator("#written .seed")).to_have_text("w1 zebra w2")
    expect(written(page)).to_have_text(re.compile(r"^w\d+( w\d+|[.,]){19}$"))
    expect(page.locator("#written")).to_have_text(
        re.compile(r"^Your beginning: w1 zebra w2\. Written by the model: +[w.,]")
    )
    # By more than colour.
    style = "(element) => getComputedStyle(element).textDecorationLine"
    assert written(page).evaluate(style) == "underline"
    assert page.locator("#written .seed").evaluate(style) == "none"
    expect(page.get_by_text("Not known to the model: zebra")).to_be_visible()


def test_no_word_is_read_out_by_itself(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/writer")
    live = "(element) => element.closest('[aria-live], [role=status], [role=alert]') !== null"
    assert not written(page).evaluate(live)
    assert page.locator("#progress").evaluate(live)


def test_stop_keeps_the_words_and_frees_the_place(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/endless")
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Writing…")
    expect(written(page)).not_to_be_empty()
    assert assorted.get("/api/models/endless").json()["waiting"] == 1
    press(page, "Stop")
    expect(page.locator("#progress")).to_have_text(re.compile(r"^Stopped after \d+ words?\.$"))
    count = int((page.locator("#progress").text_content() or "").split()[2])
    text = written(page).text_content() or ""
    assert len(re.findall(r"w\d+|[.,]", text)) == count > 0
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_role("button", name="Again")).to_be_focused()
    await_free_place(assorted, page)
    assert written(page).text_content() == text


def test_again_asks_for_the_same_and_gets_another_text(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/writer")
    page.get_by_label("Number of words").fill("30")
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Done: 30 words.")
    first = written(page).text_content() or ""
    page.get_by_label("Number of words").fill("10")  # for the next one, not for this
    with page.expect_request("**/api/writer") as sent:
        press(page, "Again")
    assert json.loads(sent.value.post_data or "")["words"] == 30
    expect(page.locator("#progress")).to_have_text("Done: 30 words.")
    expect(written(page)).not_to_have_text(first)


def test_a_new_text_takes_the_place_of_one_that_is_written(
    assorted: ServerProcess, page: Page
) -> None:
    page.goto(f"{assorted.url}/models/hasty")
    page.route("**/api/hasty", lambda route: route.continue_(url=f"{assorted.url}/api/endless"))
    press(page, "Write")
    expect(written(page)).not_to_be_empty()
    page.unroute("**/api/hasty")
    page.get_by_label("Beginning").fill("w77")
    page.get_by_label("Number of words").fill("10")
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Done: 10 words.")
    expect(page.locator("#written .seed")).to_have_text("w77")


@pytest.mark.parametrize("clipboard", [True, False], ids=["https", "http"])
def test_copy(
    assorted: ServerProcess, context: BrowserContext, page: Page, clipboard: bool
) -> None:
    if not clipboard:  # as where the page came by plain HTTP
        page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{assorted.url}/models/plain")
    page.get_by_label("Beginning").fill("w1 w2")
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Done: 50 words.")
    text = f"w1 w2 {written(page).text_content()}"
    copy = page.locator("#copy")
    copy.click()
    expect(copy).to_have_text("Copied")
    expect(page.locator("#copied")).to_have_text("Copied")
    expect(copy).to_be_focused()
    page.get_by_label("Beginning").fill("")
    page.get_by_label("Beginning").press("Control+V")
    # Punctuation right after the seed stands against it.
    assert page.get_by_label("Beginning").input_value() in (text, text.replace("w2 ", "w2", 1))
    expect(copy).to_have_text("Copy")


@pytest.mark.parametrize("width", [1280, 375])
def test_a_random_start_and_how_it_really_goes_on(
    assorted: ServerProcess, page: Page, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{assorted.url}/models/writer")
    page.get_by_label("At random").check()
    expect(page.get_by_label("Beginning")).to_be_hidden()
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Done: 50 words.")
    model = page.get_by_role("heading", name="How the model continues").bounding_box()
    real = page.get_by_role("heading", name="The original continuation").bounding_box()
    assert model is not None
    assert real is not None
    if width == 1280:
        assert model["y"] == real["y"]
        assert model["x"] < real["x"]
    else:
        assert model["y"] < real["y"]
        assert model["x"] == real["x"]
    expect(page.locator("#written")).to_have_text(re.compile("^Random beginning: w1 it's"))
    expect(page.locator("#actual .rest")).to_have_text(re.compile(r"über w3 w4 w5\.$"))


def test_how_a_random_start_goes_on_when_it_is_stopped(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/endless")
    page.get_by_label("At random").check()
    press(page, "Write")
    expect(written(page)).not_to_be_empty()
    press(page, "Stop")
    expect(page.locator("#actual .rest")).to_have_text(
        "This is shown when a text is written to its end."
    )


def test_everything_that_is_wrong_is_said_beside_its_field(
    assorted: ServerProcess, page: Page
) -> None:
    page.goto(f"{assorted.url}/models/writer")
    page.get_by_label("Beginning").fill("zebra")
    page.get_by_role("spinbutton", name="Diversity").fill("9")
    page.get_by_label("Number of words").fill("")
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Nothing was written.")
    seed = page.get_by_label("Beginning")
    expect(seed).to_be_focused()
    expect(seed).to_have_accessible_description(re.compile("no known word"))
    expect(page.get_by_role("spinbutton", name="Diversity")).to_have_accessible_description(
        re.compile(r"out of range: expected a number from 0\.5 to 5")
    )
    expect(page.get_by_label("Number of words")).to_have_accessible_description(
        re.compile("missing: expected a whole number from 10 to 100")
    )
    expect(page.get_by_role("alert")).to_have_count(0)
    # Mended, nothing of it is left.
    seed.fill("w1")
    page.get_by_role("spinbutton", name="Diversity").fill("1")
    page.get_by_label("Number of words").fill("10")
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Done: 10 words.")
    expect(page.locator(".problem:visible")).to_have_count(0)
    expect(seed).to_have_attribute("aria-invalid", "false")


def test_an_error_in_the_middle_keeps_the_words(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/hasty")
    press(page, "Write")
    expect(page.get_by_role("alert")).to_contain_text("not finished within the time allowed")
    expect(page.locator("#progress")).to_have_text("The text breaks off.")
    expect(written(page)).not_to_be_empty()
    expect(page.get_by_role("button", name="Again")).to_be_visible()
    # What went wrong is forgotten with the next text.
    page.get_by_label("Number of words").fill("10")
    press(page, "Write")
    expect(page.locator("#progress")).to_have_text("Done: 10 words.")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_model_that_is_busy_says_so(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/endless")
    body = {"seed": "w1"}
    with httpx.stream("POST", f"{assorted.url}/api/endless", json=body, headers=EVENTS) as other:
        assert other.status_code == 200
        press(page, "Write")
        expect(page.get_by_role("alert")).to_contain_text("1 requests waiting")
    expect(page.locator("#progress")).to_have_text("Nothing was written.")


def test_the_server_goes_away_in_the_middle(tmp_path: Path, page: Page) -> None:
    models = tmp_path / "models"
    save_text_model(models / "writer")
    card = models / "writer" / "model.yaml"
    long = "text: {words: {min: 10, max: 1000000, default: 1000000}, "
    card.write_text(card.read_text().replace("text: {", long))
    with serving(models, tmp_path) as server:
        page.goto(f"{server.url}/models/writer")
        press(page, "Write")
        expect(written(page)).not_to_be_empty()
        server.process.kill()
        expect(page.get_by_role("alert")).to_contain_text("connection to the server was lost")
        expect(page.locator("#progress")).to_have_text("The text breaks off.")
        text = written(page).text_content()
        assert text
        press(page, "Again")
        expect(page.get_by_role("alert")).to_contain_text("server cannot be reached")
        expect(page.get_by_role("alert")).to_have_count(1)
        assert written(page).text_content() == text


def test_with_the_keyboard_only(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/endless")
    page.locator("main").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("With words of my own")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("At random")).to_be_checked()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("w5 w6")
    page.keyboard.press("Tab")
    expect(page.get_by_role("slider", name="Diversity")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    expect(page.get_by_role("spinbutton", name="Diversity")).to_have_value("1.1")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(written(page)).not_to_be_empty()
    page.keyboard.press("Tab")  # Write
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Again")).to_be_focused()
    await_free_place(assorted, page)
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#written .seed")).to_have_text("w5 w6")


def test_slider_and_number_are_one(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/writer")
    slider = page.get_by_role("slider", name="Diversity")
    slider.fill("2.5")
    expect(page.get_by_role("spinbutton", name="Diversity")).to_have_value("2.5")
    page.get_by_role("spinbutton", name="Diversity").fill("3")
    expect(slider).to_have_value("3")


def test_a_model_without_random_starts_offers_none(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/plain")
    expect(page.get_by_role("radio", name="At random")).to_have_count(0)
    expect(page.get_by_label("Beginning")).not_to_be_empty()


def test_without_a_script(assorted: ServerProcess, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{assorted.url}/models/writer")
    for dead in ("Stop", "Copy", "Again"):
        expect(page.get_by_role("button", name=dead, exact=True)).to_have_count(0)
    expect(page.get_by_role("slider")).to_have_count(0)
    page.get_by_label("Beginning").fill("w1 zebra")
    page.get_by_label("Number of words").fill("10")
    press(page, "Write")
    expect(page.locator("#written")).to_have_text(re.compile("Your beginning: w1 zebra"))
    expect(written(page)).to_have_text(re.compile(r"^[w.,]"))
    expect(page.get_by_text("Not known to the model: zebra")).to_be_visible()
    expect(page.get_by_label("Number of words")).to_have_value("10")
    page.get_by_label("At random").check()
    expect(page.get_by_label("Beginning")).to_be_hidden()
    press(page, "Write")
    expect(page.locator("#actual")).to_contain_text("über w3 w4 w5.")
    page.get_by_label("With words of my own").check()
    page.get_by_label("Beginning").fill("")
    page.get_by_label("Number of words").fill("1000")
    press(page, "Write")
    expect(page.get_by_label("Number of words")).to_have_accessible_description(
        re.compile("expected a whole number from 10 to 100")
    )
    expect(page.locator("#answer")).to_be_hidden()
    context.close()
