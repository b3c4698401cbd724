"""What a page tells of its model."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import ServerProcess


def told(page: Page, url: str) -> dict[str, list[str]]:
    """The terms and what is said of each."""
    page.goto(url)
    entries = page.get_by_role("region", name="About this model").locator("dl > div")
    return {
        entry.locator("dt").inner_text(): entry.locator("dd").all_inner_texts()
        for entry in entries.all()
    }


def test_of_pictures(shipped: ServerProcess, page: Page) -> None:
    about = shipped.get("/api/models/cats-dogs").json()
    found = told(page, f"{shipped.url}/models/cats-dogs")
    assert found["Task"] == ["Says what a picture shows (image-classification)"]
    (name,) = (spec["name"] for spec in about["signature"]["inputs"])
    assert found["Inputs"] == [f"{name}: float32, any number of pictures × 150 × 150 × 3"]
    assert found["Labels"] == ["cat, dog"]
    assert found["Parameters"] == [f"{about['parameters']:,}"]
    assert found["Precision"] == ["float32"]
    assert found["Version"] == ["1"]
    assert found["Measured"] == ["94.7 % right on 300 held-out pictures"]


def test_of_several_inputs_and_outputs(assorted: ServerProcess, page: Page) -> None:
    found = told(page, f"{assorted.url}/models/two")
    assert found["Inputs"] == [
        "left: float32, any number of rows × 3",
        "right: int32, any number of rows × 2",
    ]
    assert len(found["Outputs"]) == 2
    assert "Measured" not in found
    assert "Labels" not in found


def test_of_texts(assorted: ServerProcess, page: Page) -> None:
    found = told(page, f"{assorted.url}/models/writer")
    assert found["Vocabulary"] == ["204 words"]
    assert found["Random beginnings"] == ["1"]
    assert found["How it writes"] == ["One step per word: the model remembers what it has read"]
    assert "Random beginnings" not in told(page, f"{assorted.url}/models/plain")


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC"])
def test_when_it_was_loaded_by_the_reader_s_clock(
    assorted: ServerProcess, browser: Browser, zone: str
) -> None:
    context = browser.new_context(timezone_id=zone)
    page = context.new_page()
    loaded = assorted.get("/api/models/wide").json()["loaded_at"]
    page.goto(f"{assorted.url}/models/wide")
    time = page.locator("#about time")
    moment = datetime.fromtimestamp(int(loaded), UTC)
    expect(time).to_have_attribute("datetime", moment.isoformat())
    hour = (moment.hour + (9 if zone == "Asia/Tokyo" else 0)) % 24
    expect(time).to_have_text(re.compile(rf"\d{{4}} at {hour:02}:{moment.minute:02}$"))
    context.close()


def test_names_are_text_and_no_html(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/awkward.rows_1")
    expect(page.get_by_role("heading", level=1)).to_have_text('It\'s <b>awkward</b> & "quoted"')
