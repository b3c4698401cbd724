"""The page of the API's documentation: Swagger UI under nginx's policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.visit import DESKTOP, Visit, visiting
from tests.support import ServerProcess

# What axe finds in Swagger UI's own markup, which is not ours to fix: the field of the body has no
# label, and the button that opens an operation holds a link.
OF_SWAGGER_UI = {"label", "nested-interactive"}


@pytest.fixture(scope="module")
def visit(browser: Browser, base_url: str) -> Iterator[Visit]:
    with visiting(browser, base_url, "/docs") as visit:
        expect(visit.page.locator(".opblock").first).to_be_visible()
        yield visit


@pytest.fixture(scope="module")
def docs(visit: Visit) -> Page:
    """The page with its operations, of which each test opens another."""
    return visit.page


@pytest.fixture(scope="module")
def changed(browser: Browser, base_url: str) -> Iterator[Page]:
    """The page with the answer to an example that was changed."""
    with visiting(browser, base_url, "/docs") as visit:
        block = operation(visit.page, "mpg")
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        # It is offered once something was changed.
        block.get_by_role("textbox").last.press_sequentially(" ")
        expect(block.get_by_role("button", name="Reset")).to_be_visible()
        block.get_by_role("button", name="Execute").click()
        status = block.locator(".live-responses-table .response-col_status").nth(1)
        expect(status).to_have_text("200")
        yield visit.page


def operation(page: Page, name: str) -> Locator:
    return page.locator(f"#operations-Predictions-predict_{name}")


def execute(page: Page, name: str) -> dict[str, Any]:
    """What the server answers to the example that the page offers for a model."""
    return execute_in(page, operation(page, name), f"/api/{name}")


def execute_in(page: Page, block: Locator, path: str) -> dict[str, Any]:
    """The same for any operation, which asks for `path`."""
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    with page.expect_response(f"**{path}") as asked:
        block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status").nth(1)).to_have_text("200")
    answer: dict[str, Any] = asked.value.json()
    return answer


def test_it_lists_each_model_and_nothing_leaves_the_origin(visit: Visit) -> None:
    for name in ("cats-dogs", "membranes", "mpg", "patents", "spam"):
        expect(operation(visit.page, name)).to_contain_text(f"/api/{name}")
    expect(visit.page.get_by_role("navigation", name="Site")).to_be_visible()
    assert f"{visit.url}/openapi.json" in visit.asked
    assert [url for url in visit.asked if not url.startswith((f"{visit.url}/", "data:"))] == []


def test_the_example_of_a_table_gets_a_prediction(docs: Page, shipped: ServerProcess) -> None:
    answer = execute(docs, "mpg")
    first = shipped.get("/api/models/mpg/example").json()
    assert answer["predictions"] == shipped.post("/api/mpg", json=first).json()["predictions"]
    expect(operation(docs, "mpg").locator(".live-responses-table")).to_contain_text('"mpg"')


def test_the_example_of_a_text_gets_one(docs: Page) -> None:
    (text,) = execute(docs, "patents")["predictions"]
    assert text["generated"]


@pytest.mark.parametrize(
    ("name", "path", "answer"),
    [
        ("v1_predict", "/v1/models/cats-dogs:predict", "predictions"),
        ("v2_model_infer", "/v2/models/cats-dogs/infer", "outputs"),
    ],
)
def test_the_first_example_of_a_standard_protocol_gets_a_prediction(
    docs: Page, name: str, path: str, answer: str
) -> None:
    assert execute_in(docs, docs.locator(f"[id^=operations-][id$='-{name}']"), path)[answer]


def test_a_picture_can_be_chosen(docs: Page) -> None:
    block = operation(docs, "cats-dogs")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("combobox", name="Request content type").select_option("image/png")
    expect(block.locator("input[type=file]")).to_be_visible()


@pytest.mark.parametrize("width", [375, 320])
def test_on_a_phone_nothing_sticks_out_of_an_operation(changed: Page, width: int) -> None:
    changed.set_viewport_size({"width": width, "height": 667})
    block = operation(changed, "mpg")
    outside = """(block) => [...block.querySelectorAll("*")]
        .filter((e) => e.getBoundingClientRect().right > block.getBoundingClientRect().right)
        .map((e) => e.outerHTML.slice(0, 100))"""
    assert block.evaluate(outside) == []
    assert block.locator(".curl").evaluate("curl => curl.scrollWidth - curl.clientWidth") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_of_ours(changed: Page, scheme: Literal["light", "dark"]) -> None:
    changed.set_viewport_size(DESKTOP)
    changed.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    # Swagger UI fades what opens, and what changes its colour, once that is drawn.
    # One that another takes the place of is never finished.
    settled = """async () => {
        const frame = () => new Promise(requestAnimationFrame);
        await frame();
        await frame();
        const running = () => document.getAnimations().filter((a) => a.playState === "running");
        while (running().length > 0) {
            await Promise.allSettled(running().map((a) => a.finished));
        }
    }"""
    changed.evaluate(settled)
    violations = Axe().run(changed).response["violations"]
    found = {(v["id"], n["html"]) for v in violations for n in v["nodes"]}
    assert [each for each in found if each[0] not in OF_SWAGGER_UI] == []
    # Else the exception could go.
    assert {name for name, _ in found} == OF_SWAGGER_UI


def test_without_scripts_it_points_to_the_document(browser: Browser, base_url: str) -> None:
    with browser.new_context(java_script_enabled=False, base_url=base_url) as context:
        page = context.new_page()
        page.goto("/docs")
        note = page.locator(".instead-of-script")
        expect(note).to_contain_text("This page needs JavaScript")
        expect(note.get_by_role("link")).to_have_attribute("href", "/openapi.json")


def test_with_scripts_it_says_nothing_of_them(docs: Page) -> None:
    expect(docs.locator(".instead-of-script")).to_be_hidden()
