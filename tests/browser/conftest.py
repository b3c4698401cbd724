"""Real Chromium against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.chromium import LAUNCH
from tests.support import ServerProcess, serving

# A machine that runs other tests meanwhile needs more than the usual 5 s.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return LAUNCH


@pytest.fixture(scope="session")
def base_url(shipped: ServerProcess) -> str:
    """Pages are named by their path: `page.goto("/")`."""
    return shipped.url


@pytest.fixture(scope="session")
def assorted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over small models of all tasks but pictures. It believes a proxy on this machine."""
    from tests.browser.assorted import save_assorted  # Keras takes seconds to import

    folder = tmp_path_factory.mktemp("assorted")
    save_assorted(folder / "models")
    with serving(folder / "models", folder, forwarded_allow_ips="127.0.0.1") as server:
        yield server


@pytest.fixture
def script() -> bool:
    """Whether `page` runs scripts; `WITH_AND_WITHOUT` tries both."""
    return True


@pytest.fixture
def browser_context_args(
    browser_context_args: dict[str, Any], base_url: str, script: bool
) -> dict[str, Any]:
    """Of the plugin, which keeps the first `base_url` for all: files of tests have their own."""
    return {**browser_context_args, "base_url": base_url, "java_script_enabled": script}


@pytest.fixture
def context(context: BrowserContext) -> BrowserContext:
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    return context


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    """A page whose tests fail on any error in its console."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    yield page
    # Chromium itself writes a line for each answer that is an error, such as a 422.
    assert not [p for p in problems if not p.startswith("Failed to load resource")]


@pytest.fixture
def plain_page(browser: Browser, base_url: str) -> Iterator[Page]:
    """A page of a browser that runs no scripts."""
    with browser.new_context(java_script_enabled=False, base_url=base_url) as context:
        context.set_default_timeout(20_000)
        yield context.new_page()
