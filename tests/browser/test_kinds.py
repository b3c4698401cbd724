"""The page made of the parts of kinds, in a browser: with scripts and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserType, Page, expect

from tests.browser.visit import PHONE, WITH_AND_WITHOUT, check_on_a_phone, visiting
from tests.support import ServerProcess, serving


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over models with several inputs and outputs."""
    from tests.kinds import save_kinds
    from tests.time_kinds import save_time_kinds

    folder = tmp_path_factory.mktemp("kinds")
    save_kinds(folder / "models")
    save_time_kinds(folder / "models", ("sound", "series", "together"))
    with serving(folder / "models", folder) as server:
        yield server


def upload(value: int) -> Any:
    from tests.kinds import grey

    return {"name": f"{value}.png", "mimeType": "image/png", "buffer": grey(value)}


@WITH_AND_WITHOUT
def test_two_pictures_and_fields_give_three_readings(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/couple")
    page.get_by_label("left").set_input_files(upload(51))
    page.get_by_label("right").set_input_files(upload(7))
    expect(page.get_by_label("weight")).to_have_value("40")
    page.get_by_role("button", name="Predict").click()
    answer = page.get_by_label("The answer", exact=True)
    expect(answer).to_contain_text("47.2 years")
    expect(answer).to_contain_text("female")
    expect(answer).to_contain_text("3 numbers, length 40.0286")


@WITH_AND_WITHOUT
def test_problems_are_beside_their_fields(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/couple")
    page.get_by_label("left").set_input_files(upload(51))
    page.get_by_label("weight").fill("400")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_label("weight")).to_have_accessible_description(
        "0 to 100 kg out of range: expected a number from 0 to 100 (kg)"
    )
    expect(page.locator("#input1-problem")).to_contain_text("missing: expected JPEG")
    expect(page.get_by_label("The answer", exact=True)).to_be_hidden()


def test_a_mistake_that_was_corrected_is_gone(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/couple")
    page.get_by_label("left").set_input_files(upload(51))
    page.get_by_role("button", name="Predict").click()
    right = page.get_by_label("right")
    expect(right).to_be_focused()
    expect(page.locator("#progress")).to_have_text("No answer.")
    right.set_input_files(upload(7))
    expect(page.locator(".kind-preview")).to_have_count(2)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#progress")).to_have_text("Done.")
    expect(page.locator("#input1-problem")).to_have_text("")
    expect(right).to_have_attribute("aria-invalid", "false")


@WITH_AND_WITHOUT
def test_a_number_from_a_picture(kinds: ServerProcess, page: Page, script: bool) -> None:
    page.goto(f"{kinds.url}/models/ages")
    page.get_by_label("Choose pictures").set_input_files([upload(200), upload(20)])
    if not script:
        page.get_by_role("button", name="Predict").click()
    values = page.locator(".reading-value")
    expect(values).to_have_count(2)
    expect(values.first).to_have_text("1 years")
    expect(values.last).to_have_text("0 years")


@WITH_AND_WITHOUT
def test_vectors_are_compared(kinds: ServerProcess, page: Page, script: bool) -> None:
    page.goto(f"{kinds.url}/models/features")
    page.get_by_label("Choose pictures").set_input_files(upload(200))
    if script:
        expect(page.locator(".reading-vector")).to_have_count(1)
        page.get_by_label("Choose pictures").set_input_files(upload(100))
    else:
        page.get_by_label("Choose pictures").set_input_files([upload(200), upload(100)])
        page.get_by_role("button", name="Predict").click()
    expect(page.get_by_text("Cosine similarity with 200.png: 1.000")).to_be_visible()


@WITH_AND_WITHOUT
def test_a_row_with_several_outputs(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/tables")
    page.get_by_label("a", exact=True).fill("1")
    page.get_by_label("b", exact=True).fill("2")
    page.get_by_label("c", exact=True).fill("3")
    page.get_by_role("button", name="Predict", exact=True).click()
    answer = page.get_by_label("The answer", exact=True)
    expect(answer).to_contain_text("6.00")
    expect(answer).to_contain_text("x: 1")


@WITH_AND_WITHOUT
def test_a_table_of_rows_with_several_inputs(
    kinds: ServerProcess, page: Page, script: bool
) -> None:
    page.goto(f"{kinds.url}/models/tables")
    file: Any = {"name": "rows.csv", "mimeType": "text/csv", "buffer": b"a,b,c\n1,2,3\n4,5,6\n"}
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Predict all rows").click()
    answers = page.get_by_role("region", name="The first rows with their answers")
    expect(answers.get_by_role("row")).to_have_count(3)
    expect(answers.get_by_role("row").nth(1)).to_contain_text("6.0")
    expect(answers.get_by_role("row").nth(2)).to_contain_text("15.0")
    if not script:
        page.get_by_label("CSV file").set_input_files(file)
    link = page.get_by_role("link", name="Download with answers")
    button = page.get_by_role("button", name="Predict and download")
    with page.expect_download() as download:
        (link if script else button).click()
    rows = download.value.path().read_text().splitlines()
    assert len(rows) == 3
    assert rows[0].startswith("a,b,c,")


def test_another_scale_keeps_what_was_filled_in(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/bare")
    page.get_by_label("left").set_input_files(upload(51))
    page.get_by_label("right").set_input_files(upload(7))
    page.get_by_label("x0").fill("40")
    page.get_by_label("x1").fill("1.5")
    page.get_by_role("link", name="none", exact=True).click()
    answer = page.get_by_label("The answer", exact=True)
    expect(answer).to_contain_text("98")
    expect(page.get_by_label("x0")).to_have_value("40")
    expect(page.locator("#code pre > code").first).to_contain_text("/api/bare?scale=none")
    expect(page.locator("#about")).to_contain_text("scaled 0..1 (a guess; this page tries none)")
    assert page.url.endswith("?scale=none")


@WITH_AND_WITHOUT
def test_a_scale_that_is_tried_is_in_programs_and_facts(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/ages")
    page.get_by_role("link", name="-1..1", exact=True).click()
    for code in page.locator("#code pre > code").all():
        expect(code).to_contain_text("/api/ages?scale=-1..1")
    expect(page.locator("#about")).to_contain_text("scaled 0..1 (a guess; this page tries -1..1)")
    expect(page.locator("#scales-title")).to_contain_text("scaled -1..1")


SERIES = "temp,wind\n" + "\n".join(f"{i / 10},{i % 3}" for i in range(6))


def sound(name: str = "voice.wav") -> Any:
    from tests.sounds import recording
    from tests.time_kinds import spoken

    return {"name": name, "mimeType": "audio/wav", "buffer": recording(spoken(), 8_000)}


@WITH_AND_WITHOUT
def test_a_series_is_plotted_with_what_comes_next(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/series")
    text = page.get_by_label("table", exact=True)
    expect(text).to_have_value(re.compile("^temp,wind\\n0.5,0.5"))
    text.fill(SERIES)
    page.get_by_role("button", name="Predict").click()
    plots = page.get_by_label("The answer", exact=True).locator("svg.curve")
    expect(plots).to_have_count(2)
    expect(plots.first).to_have_attribute(
        "aria-label", re.compile("^temp: 6 values from 0 to 0.5; then 3 more")
    )
    expect(plots.first.locator("polyline")).to_have_count(2)
    short: Any = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"1,2\n" * 3}
    page.get_by_label("table, as a file").set_input_files(short)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#input0-problem")).to_contain_text("3 rows: expected a list of at least 6")


@WITH_AND_WITHOUT
def test_a_recording_is_chosen(kinds: ServerProcess, page: Page, script: bool) -> None:
    page.goto(f"{kinds.url}/models/sound")
    expect(page.locator("#input0-help")).to_have_text(
        "WAV, FLAC or Ogg (Vorbis or Opus); the model hears the first 0.2 s."
    )
    page.get_by_label("wave").first.set_input_files(sound())
    if script:
        wave = page.get_by_role("img", name="The recording, 0.3 s, of which the model hears the")
        expect(wave).to_be_visible()
        expect(page.locator(".kind-audio audio")).to_have_attribute("aria-label", "voice.wav")
    page.get_by_role("button", name="Predict").click()
    answer = page.get_by_label("The answer", exact=True)
    expect(answer).to_contain_text("5 numbers, length")
    other: Any = {"name": "a.mp3", "mimeType": "audio/mpeg", "buffer": b"ID3" + bytes(50)}
    page.get_by_label("wave").first.set_input_files(other)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#input0-problem")).to_contain_text("MP3 is not supported")


def test_a_recording_is_made(
    kinds: ServerProcess, browser_type: BrowserType, browser_type_launch_args: dict[str, Any]
) -> None:
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    args = [*browser_type_launch_args["args"], *flags]
    browser = browser_type.launch(**{**browser_type_launch_args, "args": args})
    try:
        page = browser.new_page()
        page.goto(f"{kinds.url}/models/sound")
        # It ends by itself, after what the model hears.
        page.get_by_role("button", name="Record").click()
        player = page.locator(".kind-audio audio")
        expect(player).to_have_attribute("aria-label", "recording.wav")
        expect(page.get_by_role("button", name="Record")).to_be_visible()
        page.get_by_role("button", name="Predict").click()
        expect(page.get_by_label("The answer", exact=True)).to_contain_text("5 numbers, length")
    finally:
        browser.close()


def test_a_recording_is_dropped(kinds: ServerProcess, page: Page) -> None:
    page.goto(f"{kinds.url}/models/sound")
    page.evaluate(
        """(bytes) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], "dropped.wav"));
          const field = document.querySelector(".kind-audio .field");
          field.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
        }""",
        list(sound()["buffer"]),
    )
    expect(page.locator(".kind-audio audio")).to_have_attribute("aria-label", "dropped.wav")


@pytest.mark.parametrize(("name", "scheme"), [("together", "light"), ("together", "dark")])
def test_pages_of_sound_and_series_are_accessible(
    kinds: ServerProcess, browser: Browser, name: str, scheme: Any
) -> None:
    with visiting(browser, kinds.url, f"/models/{name}") as visit:
        page = visit.page
        assert visit.size < 250_000
        assert {urlsplit(url).netloc for url in visit.asked} == {urlsplit(kinds.url).netloc}
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(PHONE)
        page.get_by_label("wave").first.set_input_files(sound())
        expect(page.locator(".waveform")).to_be_visible()
        page.get_by_label("table", exact=True).fill(SERIES)
        page.get_by_role("button", name="Predict", exact=True).click()
        expect(page.locator("#progress")).to_have_text("Done.")
        expect(page.locator("svg.curve")).to_have_count(2)
        check_on_a_phone(page)
