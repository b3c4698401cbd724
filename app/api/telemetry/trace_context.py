"""The trace that a client's request belongs to (W3C Trace Context)."""

from __future__ import annotations

import re
from typing import Any

# https://www.w3.org/TR/trace-context/#traceparent-header: later versions may have further fields.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.*")


def given_trace_id(environ: dict[str, Any]) -> str | None:
    """Return the trace id of the client's `traceparent`, if that is one."""
    given = environ.get("HTTP_TRACEPARENT")
    if given is None:
        return None
    found = _TRACEPARENT.fullmatch(given)
    return None if found is None else found[1]
