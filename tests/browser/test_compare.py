"""One picture to every image model, side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.visit import PHONE, check_on_a_phone
from tests.models import save_image_models
from tests.support import ROOT, ServerProcess, picture, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("compare")
    save_image_models(folder / "models")
    with serving(folder / "models", folder) as server:
        yield server


@pytest.fixture
def address(server: ServerProcess) -> str:
    return f"{server.url}/compare"


def file(name: str, data: bytes) -> Any:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def choose(page: Page, *files: Any) -> None:
    page.get_by_label("Choose a picture").set_input_files(list(files))


def compare(page: Page) -> None:
    page.get_by_role("button", name="Compare").click()


def card(page: Page, title: str) -> Locator:
    return page.get_by_role("article").filter(has=page.get_by_role("heading", name=title))


def test_every_model_answers_beside_the_others(
    page: Page, server: ServerProcess, address: str
) -> None:
    whole = server.post("/predict", content=picture(1)).json()
    page.goto(address)
    expect(page.get_by_role("article")).to_have_count(3)
    # What failed says why before anything is asked.
    expect(card(page, "Night camera")).to_contain_text("failed")
    expect(card(page, "Night camera")).to_contain_text("not a Keras model", ignore_case=True)
    choose(page, file("pet.jpg", picture(1)))
    for name, title in {"cats-dogs": "Cat or dog", "three": "Three animals"}.items():
        (prediction,) = whole[name]["predictions"]
        expect(card(page, title).locator(".verdict")).to_have_text(prediction["label"])
        expect(card(page, title).get_by_role("meter")).to_have_count(len(prediction["top"]))
    expect(card(page, "Night camera").locator(".verdict")).to_have_count(0)
    expect(card(page, "Night camera")).to_contain_text("failed to load")
    expect(page.get_by_text("2 of 3 models answered.")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("broken: no answer; cats-dogs: ")
    three = card(page, "Three animals")
    three.get_by_text("The answer as JSON").click()
    expect(three.locator("pre")).to_contain_text('"model": "three"')
    three.get_by_role("link", name="Three animals").click()
    expect(page).to_have_url(re.compile("/models/three$"))


def test_another_picture_takes_the_place_of_the_first(page: Page, address: str) -> None:
    page.goto(address)
    rows = page.locator(".pictures > li")
    choose(page, file("one.jpg", picture(1)))
    expect(page.locator(".verdict")).to_have_count(2)
    held: list[Route] = []
    page.route("**/predict", lambda route: held.append(route))
    choose(page, file("two.jpg", picture(2)))
    # Answers about the one before are gone at once; the reason of what failed is back.
    expect(page.locator(".verdict")).to_have_count(0)
    expect(card(page, "Night camera")).to_contain_text("not a Keras model", ignore_case=True)
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("two.jpg")
    held[0].continue_()
    expect(page.locator(".verdict")).to_have_count(2)
    page.get_by_role("button", name="Remove two.jpg").click()
    expect(page.locator(".verdict")).to_have_count(0)
    expect(rows).to_have_count(0)


def test_one_picture_at_a_time(page: Page, address: str) -> None:
    page.goto(address)
    page.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          for (const name of ["a.jpg", "b.jpg"]) {
            dataTransfer.items.add(new File(["x"], name, { type: "image/jpeg" }));
          }
          document.body.dispatchEvent(
            new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }"""
    )
    expect(page.locator(".pictures > li")).to_have_count(1)
    expect(page.get_by_text("One picture at a time: the first one was taken.")).to_be_visible()


def test_a_picture_that_none_can_read(page: Page, address: str) -> None:
    page.goto(address)
    choose(page, file("notes.jpg", b"%PDF-1.4"))
    expect(page.locator(".pictures > li")).to_contain_text("not a picture in a supported format")
    expect(page.get_by_role("status")).to_contain_text("notes.jpg: not a picture")
    expect(page.locator(".verdict")).to_have_count(0)


def test_with_the_keyboard_alone(page: Page, address: str) -> None:
    # From the start: when Chromium is told only just before the key, the key may win.
    page.on("filechooser", lambda _: None)
    page.goto(address)
    page.get_by_label("Choose a picture").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    assert not chooser.value.is_multiple()
    chooser.value.set_files(file("pet.jpg", picture(1)))
    expect(page.locator(".verdict")).to_have_count(2)


def test_without_javascript(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    choose(page, file("pet.jpg", picture(1)))
    compare(page)
    expect(card(page, "Cat or dog").locator(".verdict")).to_be_visible()
    expect(card(page, "Three animals").get_by_role("meter")).to_have_count(3)
    expect(card(page, "Night camera")).to_contain_text("failed to load")
    choose(page, file("notes.jpg", b"%PDF-1.4"))
    compare(page)
    expect(page.get_by_label("Choose a picture")).to_have_accessible_description(
        re.compile("not a picture")
    )
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_a_phone(page: Page, address: str, scheme: Any) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    page.goto(address)
    check_on_a_phone(page)
    choose(page, file("pet.jpg", picture(1)))
    expect(page.locator(".verdict")).to_have_count(2)
    check_on_a_phone(page)


def test_a_model_that_was_loading_when_the_page_came(page: Page, tmp_path: Path) -> None:
    """Its name is not known yet: a file without a card says what it is once it is read."""
    (tmp_path / "models").mkdir()
    (tmp_path / "uploads").mkdir()
    model = ROOT / "models" / "cats-dogs" / "model.h5"
    (tmp_path / "models" / "cats-dogs.h5").symlink_to(model)
    cache = tmp_path / "cache"  # in which nothing is yet
    server = ServerProcess(tmp_path / "models", tmp_path / "uploads", cache_dir=cache)
    try:
        page.goto(server.url + "/compare")
        expect(page.get_by_text("Some models are still loading")).to_be_visible()
        expect(page.get_by_role("article")).to_have_count(0)
        choose(page, file("pet.jpg", picture(1)))
        expect(page.locator(".pictures > li")).to_contain_text("still loading")
        server.await_ready()
        page.get_by_role("button", name="Try pet.jpg again").click()
        expect(card(page, "cats-dogs").locator(".verdict")).to_be_visible()
    finally:
        server.stop()
