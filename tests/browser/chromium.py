"""The Chromium of this machine, for Playwright, which would bring one of its own."""

from __future__ import annotations

import shutil
from typing import Any

CHROMIUM = shutil.which("chromium")
# No sandbox: it needs user namespaces, which containers and CI do not give to root.
LAUNCH: dict[str, Any] = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}


def no_chromium() -> str | None:
    """Why pages cannot be tested here, if they cannot."""
    return None if CHROMIUM else "there is no Chromium here (Debian: apt-get install chromium)"
