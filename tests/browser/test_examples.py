"""Examples at a click, where a model looks, and answers as a file, in a browser."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.visit import PHONE, WITH_AND_WITHOUT, check_on_a_phone, visiting
from tests.support import ServerProcess, serving


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over models whose cards have examples."""
    from tests.examples import save_examples

    folder = tmp_path_factory.mktemp("examples")
    save_examples(folder / "models")
    with serving(folder / "models", folder) as server:
        yield server


def upload(name: str, data: bytes | None = None) -> Any:
    from tests.examples import spot_picture

    return {"name": name, "mimeType": "image/png", "buffer": data or spot_picture()}


@WITH_AND_WITHOUT
@pytest.mark.parametrize(
    ("name", "example", "said"),
    [
        ("spot", "Spot", "light"),
        ("spot", "All grey", "dark"),
        ("couple", "Example 1", "37.2 years"),
        ("tables", "Example 2", "60.00"),
        ("lists", "Example 1", "21"),
        ("writer", "Another", "w3"),
        ("review", "the film was good", " %"),
    ],
)
def test_one_click_answers_an_example(
    examples: ServerProcess, page: Page, name: str, example: str, said: str
) -> None:
    page.goto(f"{examples.url}/models/{name}")
    page.locator("#examples").get_by_role("button", name=example).click()
    expect(page.locator("#answer")).to_contain_text(said)


@WITH_AND_WITHOUT
def test_the_form_holds_the_example(examples: ServerProcess, page: Page, script: bool) -> None:
    page.goto(f"{examples.url}/models/couple")
    page.get_by_role("button", name="Example 1").click()
    expect(page.locator("#answer")).to_contain_text("37.2 years")
    expect(page.get_by_label("weight")).to_have_value("30")
    if script:
        # To be changed and sent again, with its files.
        expect(page.locator(".kind-preview")).to_have_count(2)
        page.get_by_label("weight").fill("31")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer")).to_contain_text("38.2 years")


def test_an_example_whose_file_is_gone_is_sent_as_a_form(
    examples: ServerProcess, page: Page
) -> None:
    page.goto(f"{examples.url}/models/spot")
    page.route("**/examples/0/0", lambda route: route.fulfill(status=404))
    page.get_by_role("button", name="Spot").click()
    expect(page.locator(".verdict")).to_have_text("light")
    expect(page).to_have_url(f"{examples.url}/models/spot?example=0#answer")


def test_the_home_page_shows_an_example_of_each(examples: ServerProcess, page: Page) -> None:
    page.goto(examples.url)
    picture = page.get_by_alt_text("An example: Spot")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    expect(page.get_by_text("“w1 w2”")).to_be_visible()


@WITH_AND_WITHOUT
def test_where_a_model_looks(examples: ServerProcess, page: Page, script: bool) -> None:
    page.goto(f"{examples.url}/models/spot")
    page.get_by_label("Choose pictures").set_input_files(upload("a.png"))
    page.get_by_role("button", name="Where does it look?").click()
    heat = page.get_by_role("img", name="The redder a patch, the more is taken from light")
    expect(heat).to_be_visible()
    expect(heat.locator("rect")).to_have_count(64)
    strongest = heat.locator("rect.falls[fill-opacity='0.750']")
    expect(strongest.first).to_have_attribute("y", "0")
    expect(page.locator(".verdict")).to_have_text("light")
    if script:
        expect(page.get_by_role("button", name="Where does it look?")).to_be_hidden()


@WITH_AND_WITHOUT
def test_where_a_model_of_two_pictures_looks(examples: ServerProcess, page: Page) -> None:
    page.goto(f"{examples.url}/models/couple")
    page.get_by_label("left").set_input_files(upload("a.png"))
    page.get_by_label("right").set_input_files(upload("b.png"))
    page.get_by_role("button", name="Where does it look?").click()
    expect(page.locator("#answer figure.heat")).to_have_count(4)
    expect(page.locator("#answer")).to_contain_text("left: ")


@WITH_AND_WITHOUT
def test_which_words_count(examples: ServerProcess, page: Page) -> None:
    page.goto(f"{examples.url}/models/review")
    page.get_by_label("Text", exact=True).fill("the film was good")
    page.get_by_role("button", name="Which words count?").click()
    words = page.locator("#answer .heat-text span")
    expect(words).to_have_count(4)
    expect(page.locator("#answer .falls-4, #answer .rises-4")).not_to_have_count(0)
    expect(page.locator("#answer figcaption")).to_contain_text("left out")


def test_a_model_that_does_not_say_where_it_looks(examples: ServerProcess, page: Page) -> None:
    page.goto(f"{examples.url}/models/quiet")
    page.get_by_label("Choose pictures").set_input_files(upload("a.png"))
    expect(page.locator(".verdict")).to_have_text("light")
    expect(page.get_by_role("button", name="Where does it look?")).to_have_count(0)


def test_answers_to_pictures_are_a_file(examples: ServerProcess, page: Page) -> None:
    from tests.kinds import grey

    page.goto(f"{examples.url}/models/spot")
    button = page.get_by_role("button", name="Download answers")
    expect(button).to_be_hidden()
    files = [upload("=1+1.png"), upload("a, b.png", grey(20)), upload("c.png")]
    page.get_by_label("Choose pictures").set_input_files(files)
    expect(page.locator(".verdict")).to_have_count(3)
    page.get_by_role("button", name="Remove c.png").click()
    with page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == "spot-answers.csv"
    rows = [*csv.DictReader(io.StringIO(download.value.path().read_text()))]
    assert [row["file"] for row in rows] == ["'=1+1.png", "a, b.png"]
    assert [row["label"] for row in rows] == ["light", "dark"]
    light, dark = (float(rows[0][f"probability of {label}"]) for label in ("light", "dark"))
    assert light + dark == pytest.approx(1, abs=1e-5)
    assert float(rows[0]["probability"]) == light
    page.get_by_role("button", name="Clear all").click()
    expect(button).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    examples: ServerProcess, browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    with visiting(browser, examples.url, "/models/spot") as visit:
        page = visit.page
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.get_by_role("button", name="Spot").click()
        page.get_by_role("button", name="Where does it look?").click()
        expect(page.locator("figure.heat")).to_be_visible()
        violations = Axe().run(page).response["violations"]
        assert not violations, [(v["id"], v["nodes"][0]["html"]) for v in violations]
        page.set_viewport_size(PHONE)
        check_on_a_phone(page)
        assert visit.size <= 250_000
        page.goto("/models/review")
        page.get_by_role("button", name="the film was good").click()
        page.get_by_role("button", name="Which words count?").click()
        expect(page.locator(".heat-text")).to_be_visible()
        violations = Axe().run(page).response["violations"]
        assert not violations, [(v["id"], v["nodes"][0]["html"]) for v in violations]
        page.goto("/")
        violations = Axe().run(page).response["violations"]
        assert not violations, [(v["id"], v["nodes"][0]["html"]) for v in violations]
