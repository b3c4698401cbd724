"""Real Chromium against a real server. Without Chromium these tests are skipped, in one line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support import ServerProcess

CHROMIUM = shutil.which("chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        skip = pytest.mark.skip(reason="no chromium here (Debian: apt-get install chromium)")
        for item in items:
            if item.path.is_relative_to(__file__.rpartition("/")[0]):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    # No sandbox: it needs user namespaces, which containers and CI do not give to root.
    return {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}


@pytest.fixture(scope="session")
def base_url(shipped: ServerProcess) -> str:
    """Pages are named by their path: `page.goto("/")`."""
    return shipped.url


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
