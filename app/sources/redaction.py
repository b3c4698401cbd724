"""Keeps credentials out of logs, records and pages."""

from __future__ import annotations

import os
import re

MOST_CHARACTERS = 300
# Signed addresses have their signature there.
_QUERY = re.compile(r"(\w+://[^\s?\"'<>]*)\?[^\s\"'<>)]*")
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|SAS|CREDENTIAL", re.IGNORECASE)
# Shorter values are words that appear in any message.
_SHORTEST = 8


def redacted(text: str) -> str:
    """Return a message in one line and of bounded length, without queries of addresses and without
    the values of the environment whose names are those of secrets."""
    text = " ".join(_QUERY.sub(r"\1", text).split())
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name):
            text = text.replace(value, "…")
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
