"""The pages as people open them: Chromium, HTTPS, the security policy in force."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import LAUNCH
from tests.stack.compose import Stack, eventually, run
from tests.support import picture


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return LAUNCH


@pytest.fixture(scope="session")
def base_url(stack: Stack) -> str:
    return stack.url


@pytest.fixture(scope="session")
def browser_context_args(base_url: str) -> dict[str, Any]:
    return {"base_url": base_url, "ignore_https_errors": True}


@pytest.fixture
def problems(page: Page) -> list[str]:
    """What the console says, policy violations among it."""
    found: list[str] = []
    page.on("console", lambda m: found.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/models/cats-dogs",
        "/models/mpg",
        "/models/patents",
        "/models/spam",
        "/compare",
        "/status",
    ],
)
def test_a_page_loads_light_and_without_complaint(
    page: Page, problems: list[str], path: str
) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    protocols: set[str] = set()
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    session.on("Network.responseReceived", lambda e: protocols.add(e["response"]["protocol"]))
    page.goto(path)
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert problems == []
    assert 0 < sum(sizes) < 250_000
    assert protocols - {"data"} == {"h2"}


def test_a_picture_is_answered(page: Page, problems: list[str]) -> None:
    page.goto("/models/cats-dogs")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture()}
    )
    expect(page.get_by_role("meter").first).to_be_visible()
    assert problems == []


# Notes how the text grows: the states that a task finds, since all words that come in one piece are
# shown within one task.
WATCH = """() => {
    const written = document.querySelector("#written mark");
    window.states = new Set();
    const note = () => setTimeout(() => window.states.add(written.textContent));
    new MutationObserver(note).observe(written, {childList: true});
}"""


def test_words_come_one_by_one(page: Page, problems: list[str]) -> None:
    """Nginx holds none back: the text grows in many pieces, however fast the machine is."""
    page.goto("/models/writer")
    page.get_by_role("textbox").first.fill("w1 w2")
    page.get_by_label("Number of words").fill("500")
    page.evaluate(WATCH)
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#progress")).to_have_text("Done: 500 words.", timeout=120_000)
    assert page.evaluate("window.states.size") > 20
    assert problems == []


def test_the_status_tells_the_replicas_apart(page: Page, stack: Stack) -> None:
    page.goto("/status")
    for name in ("app-1", "app-2"):
        expect(page.get_by_text(name).first).to_be_visible()
    run("docker", "pause", stack.container("app-2"))
    try:
        # Which of the two answers is nginx's choice, and what it calls the other, whether it knows.
        expect(page.get_by_role("status")).to_contain_text("cannot be reached", timeout=30_000)
    finally:
        run("docker", "unpause", stack.container("app-2"))
    expect(page.get_by_role("status")).not_to_contain_text("cannot be reached", timeout=30_000)
    assert eventually(lambda: stack.health("app-2") == "healthy")
