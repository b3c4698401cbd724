"""What holds for every page: axe finds nothing, nothing leaves the origin, little is loaded."""

from __future__ import annotations

import gzip
import re
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Response, Route, ViewportSize, expect

from tests.support import ROOT

MODELS = ["/models/cats-dogs", "/models/mpg", "/models/patents"]
PATHS = ["/", *MODELS, "/compare", "/status", "/nothing"]
MAX_BYTES = 250_000
PHONE: ViewportSize = {"width": 375, "height": 667}
each_page = pytest.mark.parametrize("path", PATHS)
# Swagger UI alone is heavier than all else, but its page is for those who write programs.
# What axe finds in it is in test_docs.py.
each_with_docs = pytest.mark.parametrize("path", [*PATHS, "/docs"])


def policy() -> str:
    """The Content-Security-Policy that nginx sends."""
    text = (ROOT / "nginx" / "conf.d" / "headers.conf").read_text(encoding="utf-8")
    found = re.search(r'Content-Security-Policy "([^"]+)"', text)
    assert found
    return found[1]


def settled(page: Page, path: str) -> None:
    page.goto(path)
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


@each_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, path: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    settled(page, path)
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    violations = Axe().run(page).response["violations"]
    assert [(v["id"], v["help"], [n["html"] for n in v["nodes"]]) for v in violations] == []


@each_with_docs
def test_nothing_leaves_the_origin_under_nginx_policy(page: Page, path: str, base_url: str) -> None:
    """The `page` fixture fails on what the policy blocks: Chromium writes it to the console."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    def with_policy(route: Route) -> None:
        response = route.fetch()
        headers = {**response.headers, "content-security-policy": policy()}
        route.fulfill(response=response, headers=headers)

    page.route(lambda url: url == base_url + path, with_policy)
    settled(page, path)
    ours = (f"{base_url}/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(ours)] == []
    assert base_url + path in asked


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
def test_the_first_load_is_light(page: Page, path: str) -> None:
    bodies: list[Response] = []
    page.on("response", lambda response: bodies.append(response))
    settled(page, path)
    size = sum(len(gzip.compress(r.body(), 5)) for r in bodies if r.status == 200)
    assert 0 < size < MAX_BYTES


@each_with_docs
def test_nothing_is_wider_than_a_phone(page: Page, path: str) -> None:
    page.set_viewport_size(PHONE)
    settled(page, path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize("width", [375, 320])
def test_the_navigation_of_a_phone_is_one_line(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 667})
    settled(page, "/models/mpg")
    links = page.get_by_role("navigation", name="Site").get_by_role("link")
    expect(links.last).to_have_text("API")
    tops = {link.evaluate("link => link.getBoundingClientRect().top") for link in links.all()}
    assert len(tops) == 1


@each_with_docs
def test_dark_is_dark(page: Page, path: str) -> None:
    def brightness(scheme: Literal["light", "dark"]) -> float:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3

    page.goto(path)
    assert brightness("light") > 230
    assert brightness("dark") < 40


@each_page
def test_every_control_has_a_label_that_is_seen(page: Page, path: str) -> None:
    settled(page, path)
    unlabelled = page.evaluate(
        """() => [...document.querySelectorAll("input, select, textarea")]
            .filter((field) => field.type !== "hidden" && field.checkVisibility())
            .filter((field) => ![...field.labels,
                    document.getElementById(field.getAttribute("aria-labelledby"))].some(
                (label) => label?.checkVisibility() && label.innerText.trim()))
            .map((field) => field.outerHTML)"""
    )
    assert unlabelled == []


@each_with_docs
def test_no_cookie(page: Page, path: str) -> None:
    settled(page, path)
    assert page.context.cookies() == []
