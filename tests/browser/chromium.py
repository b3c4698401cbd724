"""The Chromium of this machine, for Playwright, which would bring one of its own."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
# No sandbox: it needs user namespaces, which containers and CI do not give to root.
LAUNCH: dict[str, Any] = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}


@pytest.fixture(scope="session", autouse=True)
def chromium() -> None:
    """In one place, so that the tests that are skipped make one line."""
    if CHROMIUM is None:
        pytest.skip("tests/browser: no Chromium here (Debian: apt-get install chromium)")
