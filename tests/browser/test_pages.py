"""What holds for every page: axe finds nothing, nothing leaves the origin, little is loaded.

Each page is loaded once, as nginx serves it, and the tests look at what is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.visit import PHONE, Visit, policy, settled, visiting

MODELS = [
    "/models/cats-dogs",
    "/models/membranes",
    "/models/mpg",
    "/models/patents",
    "/models/spam",
]
PATHS = ["/", *MODELS, "/compare", "/status", "/nothing"]
MAX_BYTES = 250_000
each_page = pytest.mark.parametrize("visit", PATHS, indirect=True)
# Swagger UI alone is heavier than all else, but its page is for those who write programs.
# What axe finds in it is in test_docs.py.
each_with_docs = pytest.mark.parametrize("visit", [*PATHS, "/docs"], indirect=True)


@pytest.fixture(scope="module")
def visit(browser: Browser, base_url: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    with visiting(browser, base_url, request.param) as visit:
        yield visit


@each_with_docs
def test_nothing_leaves_the_origin_under_nginx_policy(visit: Visit) -> None:
    """Nor would the policy let it: the `visit` fixture fails on what that blocks."""
    ours = (f"{visit.url}/", "data:", "blob:")
    assert visit.url + visit.path in visit.asked
    assert [url for url in visit.asked if not url.startswith(ours)] == []


def test_the_policy_is_one_that_blocks(context: BrowserContext, base_url: str) -> None:
    """Else the test above could not fail."""
    page = context.new_page()
    seen: list[str] = []
    page.on("console", lambda message: seen.append(message.text))
    page.route(
        f"{base_url}/",
        lambda route: route.fulfill(
            body='<script src="https://other.test/x.js"></script><p style="color: red">x</p>',
            headers={"content-security-policy": policy(), "content-type": "text/html"},
        ),
    )
    page.goto("/")
    assert [text for text in seen if "Content Security Policy" in text] == seen
    assert len(seen) == 2


@each_page
def test_the_first_load_is_light(visit: Visit) -> None:
    assert 0 < visit.size < MAX_BYTES


@each_with_docs
def test_no_cookie(visit: Visit) -> None:
    assert visit.page.context.cookies() == []


@each_with_docs
def test_nothing_is_wider_than_a_phone(visit: Visit) -> None:
    assert visit.width_on_a_phone <= PHONE["width"]


@pytest.mark.parametrize("width", [375, 320])
def test_the_navigation_of_a_phone_is_one_line(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 667})
    settled(page, "/models/mpg")
    links = page.get_by_role("navigation", name="Site").get_by_role("link")
    expect(links.last).to_have_text("API")
    tops = {link.evaluate("link => link.getBoundingClientRect().top") for link in links.all()}
    assert len(tops) == 1


@each_with_docs
def test_dark_is_dark(visit: Visit) -> None:
    def brightness(scheme: Literal["light", "dark"]) -> float:
        visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        color: str = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3

    assert brightness("light") > 230
    assert brightness("dark") < 40


@each_page
def test_every_control_has_a_label_that_is_seen(visit: Visit) -> None:
    unlabelled = visit.page.evaluate(
        """() => [...document.querySelectorAll("input, select, textarea")]
            .filter((field) => field.type !== "hidden" && field.checkVisibility())
            .filter((field) => ![...field.labels,
                    document.getElementById(field.getAttribute("aria-labelledby"))].some(
                (label) => label?.checkVisibility() && label.innerText.trim()))
            .map((field) => field.outerHTML)"""
    )
    assert unlabelled == []


@each_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, scheme: Literal["light", "dark"]) -> None:
    page = visit.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    violations = Axe().run(page).response["violations"]
    assert [(v["id"], v["help"], [n["html"] for n in v["nodes"]]) for v in violations] == []
