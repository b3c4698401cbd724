"""Credentials in a file, for containers whose secrets are files."""

from __future__ import annotations

from pathlib import Path

from app.errors import PullError


def read_environment(path: Path) -> dict[str, str]:
    """Read variables, `NAME=VALUE` on lines of their own, with values as they are; lines that are
    empty or begin with # are left out. Raises PullError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PullError(f"{path} cannot be read: {reason}") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.isidentifier():
            # What stands there may be secret.
            raise PullError(f"{path}, line {number}: expected NAME=VALUE")
        found[name] = value
    return found
