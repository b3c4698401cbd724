"""Masks and pictures on the pages of their models: laid over what was sent, and downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zipfile import ZipFile

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.visit import PHONE, WITH_AND_WITHOUT, check_on_a_phone
from tests.support import ServerProcess, serving


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over a model of masks and one of pictures."""
    from tests.drawn import save_drawn

    folder = tmp_path_factory.mktemp("drawn")
    save_drawn(folder / "models", "membranes", "digits")
    with serving(folder / "models", folder) as server:
        yield server


def upload(height: int, width: int) -> Any:
    from tests.drawn import encoded, noise

    buffer = encoded(noise((height, width), 1))
    return {"name": "slice.png", "mimeType": "image/png", "buffer": buffer}


def answered(page: Page, url: str, *, script: bool, size: tuple[int, int] = (60, 40)) -> None:
    page.goto(url)
    page.get_by_label("Choose pictures").set_input_files(upload(*size))
    if not script:
        page.get_by_role("button", name="Predict").click()
    expect(page.locator(".drawn-stage img").last).to_be_visible()


@WITH_AND_WITHOUT
def test_a_mask_has_a_legend_and_a_file(drawn: ServerProcess, page: Page, script: bool) -> None:
    answered(page, f"{drawn.url}/models/membranes", script=script)
    legend = page.locator(".legend li")
    expect(legend).to_have_count(2)
    expect(legend.last).to_contain_text("cell")
    image = page.get_by_role("img", name="Mask:")
    expect(image).to_have_js_property("naturalWidth", 40)
    expect(image).to_have_js_property("naturalHeight", 60)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the mask").click()
    assert download.value.suggested_filename == "cells.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    page.get_by_text("The answer as JSON").click()
    json = page.locator("pre.json")
    expect(json).to_contain_text('"classes"')


def test_a_mask_lies_over_its_picture(drawn: ServerProcess, page: Page) -> None:
    answered(page, f"{drawn.url}/models/membranes", script=True)
    slider = page.get_by_role("slider", name="Opacity of the mask")
    mask = page.get_by_role("img", name="Mask:")
    expect(mask).to_have_css("opacity", "0.5")
    slider.press("End")
    expect(mask).to_have_css("opacity", "1")
    expect(slider).to_have_attribute("aria-valuetext", "100 %")
    sent, out = page.locator(".drawn-sent").bounding_box(), mask.bounding_box()
    assert sent == out


def test_all_masks_are_downloaded_at_once(drawn: ServerProcess, page: Page) -> None:
    page.goto(f"{drawn.url}/models/membranes")
    first, second = upload(60, 40), upload(30, 20)
    page.get_by_label("Choose pictures").set_input_files([first, second])
    expect(page.locator(".drawn-stage")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all pictures").click()
    assert download.value.suggested_filename == "membranes-answers.zip"
    with ZipFile(download.value.path()) as found:
        assert found.testzip() is None
        assert found.namelist() == ["slice.png", "slice-2.png"]
        for name, sent in zip(found.namelist(), (first, second), strict=True):
            wanted = drawn.post(
                "/api/membranes", content=sent["buffer"], headers={"Accept": "image/png"}
            )
            assert found.read(name) == wanted.content
    with page.expect_download() as download:
        page.get_by_role("button", name="Download answers").click()
    first_line, row, *_ = download.value.path().read_text().splitlines()
    assert first_line == "file,cells share of membrane,cells share of cell"
    assert row.startswith("slice.png,0.")


def test_a_picture_has_a_slider_of_before_and_after(drawn: ServerProcess, page: Page) -> None:
    answered(page, f"{drawn.url}/models/digits", script=True, size=(28, 28))
    out = page.locator(".drawn-stage img:not(.drawn-sent)")
    expect(out).to_have_css("clip-path", "inset(0px 0px 0px 50%)")
    page.get_by_role("slider", name="Before and after").press("Home")
    expect(out).to_have_css("clip-path", "inset(0px 0px 0px 100%)")
    expect(page.get_by_role("link", name="Download the picture")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_answers_are_accessible_also_on_a_phone(
    drawn: ServerProcess, page: Page, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    answered(page, f"{drawn.url}/models/membranes", script=True, size=(300, 900))
    violations = Axe().run(page).response["violations"]
    assert not violations, [(v["id"], v["nodes"][0]["html"]) for v in violations]
    page.set_viewport_size(PHONE)
    check_on_a_phone(page)
