"""Pages of detectors, and of a picture with fields beside it: with scripts and without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import FilePayload, FloatRect, Page, expect

from tests.browser.visit import PHONE, WITH_AND_WITHOUT, check_on_a_phone
from tests.support import ServerProcess, serving


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over detectors, and models of a picture and fields."""
    from tests.detectors import save_detectors

    folder = tmp_path_factory.mktemp("detectors")
    save_detectors(folder / "models")
    with serving(folder / "models", folder) as server:
        yield server


def picture(name: str, *colours: str, size: tuple[int, int] = (400, 100)) -> FilePayload:
    from tests.detectors import Box, drawing

    boxes: dict[str, Box] = {"red": (0.25, 0.2, 0.5, 0.5), "blue": (0.6, 0.1, 0.9, 0.9)}
    data = drawing(size, *((boxes[colour], colour) for colour in colours))
    return {"name": name, "mimeType": "image/png", "buffer": data}


@WITH_AND_WITHOUT
def test_boxes_are_listed(detectors: ServerProcess, page: Page, script: bool) -> None:
    page.goto(f"{detectors.url}/models/ssd")
    files = [picture("both.png", "red", "blue"), picture("none.png")]
    page.get_by_label("Choose pictures").set_input_files(files)
    if not script:
        page.get_by_role("button", name="Predict").click()
    first, second = page.locator(".picture").all()
    expect(first.get_by_role("listitem")).to_have_text(
        ["1 0.75 100, 20 to 200, 50", "2 0.625 240, 10 to 360, 90"]
    )
    expect(first).to_contain_text("boxes (scores, not probabilities)")
    expect(second).to_contain_text("No boxes")
    expect(page.locator(".boxed")).to_have_count(1 if script else 0)


def _sides(box: FloatRect | None) -> tuple[float, float, float, float]:
    assert box
    return box["x"], box["y"], box["width"], box["height"]


@pytest.mark.parametrize("width", [1280, PHONE["width"]])
@pytest.mark.parametrize("size", [(400, 100), (100, 400), (3000, 1000)])
def test_boxes_are_drawn_where_they_are(
    detectors: ServerProcess, page: Page, width: int, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{detectors.url}/models/ssd")
    page.get_by_label("Choose pictures").set_input_files(picture("a.png", "blue", size=size))
    found = [page.locator(each).bounding_box() for each in (".boxed img", ".box-frame")]
    (x, y, across, down), frame = (_sides(box) for box in found)
    # The picture keeps its proportions, and fits.
    assert across / down == pytest.approx(size[0] / size[1], rel=0.02)
    assert x + across <= width
    drawn = [(frame[0] - x) / across, (frame[1] - y) / down, frame[2] / across, frame[3] / down]
    assert drawn == pytest.approx([0.6, 0.1, 0.3, 0.8], abs=0.02)
    expect(page.locator(".box-tag")).to_have_text("1 2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answered_page_is_accessible(
    detectors: ServerProcess, page: Page, scheme: Literal["light", "dark"]
) -> None:
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size(PHONE)
    page.goto(f"{detectors.url}/models/ssd")
    page.get_by_label("Choose pictures").set_input_files(picture("a.png", "red", "blue"))
    expect(page.locator(".box-frame")).to_have_count(2)
    check_on_a_phone(page)
    page.set_viewport_size({"width": 1280, "height": 900})
    violations = Axe().run(page).response["violations"]
    assert not violations, [(v["id"], v["nodes"][0]["html"]) for v in violations]
    assert not errors


@WITH_AND_WITHOUT
def test_boxes_of_a_form_are_drawn_on_its_picture(
    detectors: ServerProcess, page: Page, script: bool
) -> None:
    page.goto(f"{detectors.url}/models/pointer")
    page.get_by_label("scene").set_input_files(picture("a.png", size=(400, 100)))
    page.get_by_role("button", name="Predict").click()
    answer = page.get_by_label("The answer", exact=True)
    expect(answer.get_by_role("listitem")).to_have_text("here 75.0 % 200, 25 to 225, 50")
    expect(answer.locator(".box-tag")).to_have_count(1 if script else 0)


@WITH_AND_WITHOUT
def test_a_picture_and_fields_are_one_form(
    detectors: ServerProcess, page: Page, script: bool
) -> None:
    page.goto(f"{detectors.url}/models/person")
    expect(page.get_by_label("height")).to_have_value("170")
    page.get_by_label("face").set_input_files(picture("a.png", size=(8, 8)))
    page.get_by_label("smoker").select_option("yes")
    page.get_by_label("height").fill("300")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_label("height")).to_have_accessible_description(
        "0 to 250 cm out of range: expected a number from 0 to 250 (cm)"
    )
    page.get_by_label("height").fill("150.5")
    if not script:
        page.get_by_label("face").set_input_files(picture("a.png", size=(8, 8)))
    page.get_by_role("button", name="Predict").click()
    answer = page.get_by_label("The answer", exact=True)
    expect(answer).to_contain_text("150.5 years")
    expect(answer).to_contain_text("male")
    expect(page.get_by_label("smoker")).to_have_value("1")
