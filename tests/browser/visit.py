"""Pages that are loaded once for several tests, under the policy that nginx sends."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Response, Route, ViewportSize, expect

from tests.support import ROOT

DESKTOP: ViewportSize = {"width": 1280, "height": 720}
PHONE: ViewportSize = {"width": 375, "height": 667}
WITH_AND_WITHOUT = pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])


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


def check_on_a_phone(page: Page) -> None:
    """Check that a page of the size of `PHONE` is accessible and fits."""
    violations = Axe().run(page).response["violations"]
    assert not violations, [(v["id"], v["nodes"][0]["html"]) for v in violations]
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


class Visit:
    """A page that was loaded on a phone, under nginx's policy; its requests and its errors."""

    def __init__(self, page: Page, url: str, path: str) -> None:
        self.page = page
        self.url = url
        self.path = path
        self.asked: list[str] = []
        self.problems: list[str] = []
        bodies: list[Response] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("response", lambda response: bodies.append(response))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on(
            "console",
            lambda message: self.problems.append(message.text) if message.type == "error" else None,
        )
        page.route(lambda asked: asked == url + path, self._with_policy)
        page.set_viewport_size(PHONE)
        settled(page, path)
        self.width_on_a_phone = page.evaluate("document.documentElement.scrollWidth")
        page.set_viewport_size(DESKTOP)
        self.size = sum(len(gzip.compress(r.body(), 5)) for r in bodies if r.status == 200)

    def _with_policy(self, route: Route) -> None:
        response = route.fetch()
        headers = {**response.headers, "content-security-policy": policy()}
        route.fulfill(response=response, headers=headers)


@contextmanager
def visiting(browser: Browser, base_url: str, path: str) -> Iterator[Visit]:
    """The page at a path, in a browser that has seen no other. Fails on any error in its console,
    to which Chromium writes what the policy blocks."""
    with browser.new_context(base_url=base_url) as context:
        context.set_default_timeout(20_000)
        visit = Visit(context.new_page(), base_url, path)
        yield visit
    # Chromium itself writes a line for each answer that is an error.
    assert not [p for p in visit.problems if not p.startswith("Failed to load resource")]
