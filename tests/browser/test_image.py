"""The page of a model that takes pictures."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.image_page import API, PAGE, choose, classify, file, row, rows, sent, status
from tests.support import ROOT, ServerProcess, padded_picture, picture, serving


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with low limits."""
    folder = tmp_path_factory.mktemp("strict")
    models = folder / "models"
    models.mkdir()
    (models / "cats-dogs").symlink_to(ROOT / "models" / "cats-dogs")
    with serving(models, folder, max_body_mb=0.1, max_pixels=200_000) as server:
        yield server


def test_a_chosen_picture_is_classified(page: Page, shipped: ServerProcess) -> None:
    answer = shipped.post("/api/cats-dogs", content=picture(1)).json()["predictions"][0]
    page.goto(PAGE)
    expect(page.get_by_role("button", name="Classify")).to_be_hidden()  # nothing to do yet
    choose(page, file("pet.jpg", picture(1)))
    pet = row(page, "pet.jpg")
    expect(pet).to_contain_text("320 × 240 pixels")
    expect(pet.locator("img")).to_be_visible()
    expect(pet.locator(".verdict")).to_have_text(answer["label"])
    expect(pet.get_by_role("meter")).to_have_count(2)
    for one in answer["top"]:
        expect(pet.get_by_role("meter", name=one["label"])).to_have_attribute(
            "value", str(one["probability"])
        )
        expect(pet).to_contain_text(f"{one['probability'] * 100:.1f} %")
    for bar in pet.get_by_role("listitem").all():
        whole, meter = bar.bounding_box(), bar.get_by_role("meter").bounding_box()
        assert whole
        assert meter
        assert meter["width"] > whole["width"] / 2, "the bar has room"
        assert whole["height"] < 40, "label, bar and number are on one line"
    expect(status(page)).to_contain_text(f"pet.jpg: {answer['label']}")
    expect(pet.locator("pre")).to_be_hidden()
    pet.get_by_text("The answer as JSON").click()
    expect(pet.locator("pre")).to_contain_text('"model": "cats-dogs"')


def test_twenty_pictures_three_at_a_time(page: Page) -> None:
    page.goto(PAGE)
    most, now = 0, 0

    def begins(request: Request) -> None:
        nonlocal most, now
        if request.method == "POST":
            now += 1
            most = max(most, now)

    def ends(request: Request) -> None:
        nonlocal now
        now -= request.method == "POST"

    page.on("request", begins)
    page.on("requestfinished", ends)
    # The same picture twice is two pictures.
    choose(page, *(file(f"{i}.jpg", picture(i)) for i in range(19)), file("0.jpg", picture(0)))
    expect(rows(page)).to_have_count(20)
    expect(status(page)).to_have_text("20 pictures answered.")
    expect(page.locator(".count")).to_have_text("20 pictures answered.")
    expect(page.locator(".verdict")).to_have_count(20)
    assert 1 < most <= 3
    twins = row(page, "0.jpg").locator(".bars")
    assert twins.nth(0).inner_text() == twins.nth(1).inner_text()


def test_each_row_has_its_answer_as_it_arrives(page: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route(API, hold_the_first)
    page.goto(PAGE)
    choose(page, *(file(f"{i}.jpg", picture(i)) for i in range(5)))
    expect(page.locator(".verdict")).to_have_count(4)
    expect(row(page, "0.jpg").locator(".verdict")).to_have_count(0)
    expect(page.locator(".count")).to_have_text("4 of 5 done")
    # Another one joins those that are under way.
    choose(page, file("late.jpg", picture(9)))
    expect(row(page, "late.jpg").locator(".verdict")).to_be_visible()
    held[0].continue_()
    expect(row(page, "0.jpg").locator(".verdict")).to_be_visible()
    expect(status(page)).to_have_text("6 pictures answered.")


DROP = """([names, types]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(window.pictureText), (c) => c.charCodeAt(0));
  for (const name of names) transfer.items.add(new File([bytes], name, { type: "image/png" }));
  for (const [type, text] of types) transfer.setData(type, text);
  return transfer;
}"""


def transfer(page: Page, *names: str, texts: list[list[str]] | None = None) -> Any:
    """A DataTransfer in the page with pictures of these names, and texts as [type, text]."""
    page.evaluate(
        "(text) => { window.pictureText = text }", b64encode(picture(1, format="PNG")).decode()
    )
    return page.evaluate_handle(DROP, [list(names), texts or []])


def test_pictures_are_dropped_anywhere(page: Page) -> None:
    page.goto(PAGE)
    event = {"dataTransfer": transfer(page, "a.png", "b.png"), "cancelable": True}
    footer = page.get_by_role("contentinfo")
    footer.dispatch_event("dragover", event)
    expect(page.locator(".drop")).to_have_class(re.compile("dropping"))
    footer.dispatch_event("drop", event)
    expect(page.locator(".drop")).not_to_have_class(re.compile("dropping"))
    expect(rows(page)).to_have_count(2)
    # Dragged text is none of our business.
    text = {"dataTransfer": transfer(page, texts=[["text/plain", "x"]]), "cancelable": True}
    footer.dispatch_event("dragover", text)
    expect(page.locator(".drop")).not_to_have_class(re.compile("dropping"))
    footer.dispatch_event("drop", text)
    expect(rows(page)).to_have_count(2)


def test_a_picture_is_pasted_from_the_clipboard(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(PAGE)
    page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(30, 20);
          canvas.getContext("2d").fillRect(0, 0, 30, 20);
          const blob = await canvas.convertToBlob();
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }"""
    )
    page.keyboard.press("Control+V")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("30 × 20 pixels")
    # With the focus in a field or on a button as well.
    page.get_by_role("button", name="Clear all").focus()
    page.keyboard.press("Control+V")
    expect(rows(page)).to_have_count(2)
    page.evaluate("document.querySelector('main').append(document.createElement('textarea'))")
    page.locator("textarea").press("Control+V")
    expect(rows(page)).to_have_count(3)
    # Text goes where text goes.
    page.evaluate("navigator.clipboard.writeText('some text')")
    page.locator("textarea").press("Control+V")
    expect(page.locator("textarea")).to_have_value("some text")
    expect(rows(page)).to_have_count(3)


def test_text_with_a_picture_of_it_is_text_in_a_field(page: Page) -> None:
    page.goto(PAGE)
    page.evaluate("document.querySelector('main').append(document.createElement('textarea'))")
    both = transfer(page, "cells.png", texts=[["text/plain", "1 2 3"]])
    paste = """(element, clipboardData) => element.dispatchEvent(
      new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }))"""
    assert page.locator("textarea").evaluate(paste, both) is True
    expect(rows(page)).to_have_count(0)
    assert page.locator("body").evaluate(paste, both) is False
    expect(rows(page)).to_have_count(1)


def test_removed_pictures_are_forgotten(page: Page) -> None:
    page.goto(PAGE)
    choose(page, *(file(f"{i}.jpg", picture(i)) for i in range(3)))
    expect(page.locator(".thumb img")).to_have_count(3)
    expect(status(page)).to_have_text("3 pictures answered.")
    address = row(page, "1.jpg").locator("img").get_attribute("src")
    page.evaluate("window.img = new Image()")
    loads = """(url) => new Promise((resolve) => {
      img.onload = () => resolve(true); img.onerror = () => resolve(false); img.src = url; })"""
    assert page.evaluate(loads, address) is True
    page.get_by_role("button", name="Remove 1.jpg").click()
    expect(rows(page)).to_have_count(2)
    expect(page.get_by_role("button", name="Remove 2.jpg")).to_be_focused()
    expect(status(page)).to_have_text("1.jpg removed.")
    assert page.evaluate(loads, address) is False
    page.get_by_role("button", name="Remove 2.jpg").click()
    expect(page.get_by_role("button", name="Remove 0.jpg")).to_be_focused()
    page.get_by_role("button", name="Remove 0.jpg").click()
    expect(page.get_by_label("Choose pictures")).to_be_focused()
    expect(page.get_by_role("button", name="Clear all")).to_be_hidden()


def test_clear_and_go_on(page: Page) -> None:
    page.goto(PAGE)
    for seed in (1, 2):
        choose(page, file("pet.jpg", picture(seed)))
        expect(page.locator(".verdict")).to_have_count(1)
        page.get_by_role("button", name="Clear all").click()
        expect(rows(page)).to_have_count(0)
        expect(page.get_by_label("Choose pictures")).to_be_focused()
    choose(page, file("pet.jpg", picture(3)))
    expect(page.locator(".verdict")).to_have_count(1)
    # Only what is new is sent.
    requests = sent(page)
    choose(page, file("other.jpg", picture(4)))
    expect(page.locator(".verdict")).to_have_count(2)
    assert len(requests) == 1


def test_limits_are_stated_and_checked_before_anything_is_sent(
    page: Page, strict: ServerProcess
) -> None:
    page.goto(strict.url + PAGE)
    limits = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF; at most 0.1 MB and 0.2 million pixels each."
    expect(page.get_by_text(limits)).to_be_visible()
    requests = sent(page)
    choose(
        page,
        file("good.jpg", picture(1)),
        file("exact.jpg", padded_picture(100_000)),
        file("heavy.jpg", padded_picture(100_001)),
        file("wide.jpg", picture(1, (500, 401))),
        file("empty.jpg", b""),
        file("phone.heic", b"x", "image/heic"),
        file("phone.HEIC", b"x", ""),
        file("notes.txt", b"x", "text/plain"),
        file("drawing.svg", b"<svg/>", "image/svg+xml"),
    )
    for name, problem in {
        "heavy.jpg": "Too large: this file has 100,001 bytes, at most 100,000 can be sent.",
        "wide.jpg": "Too many pixels: 0.201 million, at most 0.2 million are read.",
        "empty.jpg": "This file is empty.",
        "phone.heic": "Convert this picture to JPEG or PNG",
        "phone.HEIC": "Convert this picture to JPEG or PNG",
        "notes.txt": "Not a picture in a supported format",
        "drawing.svg": "Not a picture in a supported format",
    }.items():
        expect(row(page, name)).to_contain_text(problem)
    expect(page.locator(".verdict")).to_have_count(2)
    assert len(requests) == 2
    choose(page, file("empty.jpg", b""))
    expect(status(page)).to_have_text("empty.jpg: This file is empty.")


def test_a_phone_picture_of_12_mb(page: Page) -> None:
    page.goto(PAGE)
    choose(page, file("phone.jpg", padded_picture(12_000_000)))
    expect(row(page, "phone.jpg")).to_contain_text("12 MB")
    expect(row(page, "phone.jpg").locator(".verdict")).to_be_visible()


def test_what_the_browser_cannot_show_the_server_decides(page: Page) -> None:
    page.goto(PAGE)
    choose(
        page,
        file("scan.tiff", picture(format="TIFF"), "image/tiff"),
        file("paper.jpg", b"%PDF-1.4 no picture"),
        file("pet.jpg", picture()),
    )
    expect(page.get_by_text("no preview")).to_have_count(2)
    expect(row(page, "scan.tiff").locator(".verdict")).to_be_visible()
    expect(row(page, "pet.jpg").locator(".verdict")).to_be_visible()
    paper = row(page, "paper.jpg")
    expect(paper).to_contain_text("not a picture in a supported format: expected JPEG")
    # It would fail again.
    expect(paper.get_by_role("button", name="Try")).to_have_count(0)
    expect(status(page)).to_have_text("2 pictures answered, 1 failed.")


def test_with_the_keyboard_alone(page: Page) -> None:
    # From the start: when Chromium is told only just before the key, the key may win.
    page.on("filechooser", lambda _: None)
    page.goto(PAGE)

    def tab_to(control: Locator) -> None:
        for _ in range(12):
            page.keyboard.press("Tab")
            if control.evaluate("(element) => element === document.activeElement"):
                return
        raise AssertionError(f"{control} is not reached")

    tab_to(page.get_by_label("Choose pictures"))
    label = page.locator("label", has_text="Choose pictures")
    expect(label).to_have_css("outline-style", "solid")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    assert chooser.value.is_multiple()
    chooser.value.set_files([file("a.jpg", picture(1)), file("b.jpg", picture(2))])
    expect(status(page)).to_have_text("2 pictures answered.")
    tab_to(page.get_by_role("button", name="Remove a.jpg"))
    tab_to(page.get_by_text("The answer as JSON").first)
    page.keyboard.press("Enter")
    expect(row(page, "a.jpg").locator("pre")).to_be_visible()
    tab_to(page.get_by_role("button", name="Remove b.jpg"))
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_role("button", name="Remove a.jpg")).to_be_focused()


def test_without_javascript(plain_page: Page) -> None:
    plain_page.goto(PAGE)
    expect(plain_page.locator("#picture-limits")).to_contain_text(
        "16 MB together", use_inner_text=True
    )
    for name in ("Use the camera", "Cancel", "Clear all"):
        expect(plain_page.get_by_role("button", name=name)).to_have_count(0)
    classify(plain_page)  # the browser itself asks for a file
    expect(plain_page).to_have_url(re.compile(f"{PAGE}$"))
    choose(plain_page, file("a.jpg", picture(1)), file("notes.jpg", b"x"), file("b.jpg", picture()))
    classify(plain_page)
    expect(rows(plain_page)).to_have_count(3)
    expect(plain_page.get_by_role("meter")).to_have_count(4)
    expect(row(plain_page, "notes.jpg")).to_contain_text("not a picture")
    choose(plain_page, file("notes.jpg", b"x"))
    classify(plain_page)
    expect(plain_page.get_by_label("Choose pictures")).to_have_accessible_description(
        re.compile("not a picture")
    )
