"""The values of the status page, formatted for people.

`frontend/static/js/status.js` writes the same words while the page is open.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from app.status.schema import (
    Event,
    LostReplica,
    Memory,
    ModelStatus,
    ReplicaStatus,
    Status,
)
from app.web.about import moment

CHART_HEIGHT = 16
# The script fills copies of these with what arrives.
_BLANK = {
    "blank_replica": ReplicaStatus(
        name="", state="loading", started_at=0, uptime_s=0, memory=Memory(rss=0), models=[]
    ),
    "blank_model": ModelStatus(name="", title="", state="loading", version=0),
    "blank_event": Event(time=0, replica="", kind="started"),
}


def status_context(status: Status) -> dict[str, Any]:
    """Return the values for `status.html`.

    peaks: for each model, the most requests in a second on any replica, so that its charts share a
    scale.
    """
    peaks: dict[str, int] = {}
    for replica in status.replicas:
        if isinstance(replica, ReplicaStatus):
            for model in replica.models:
                peaks[model.name] = max([peaks.get(model.name, 0), *model.history])
    return {
        "status": status,
        "now": time.time(),
        "peaks": peaks,
        "number": number,
        "count": count,
        "megabytes": megabytes,
        "moment": moment,
        "requests": requests,
        "memory": memory,
        "points": points,
        **_BLANK,
    }


def number(value: float | None) -> str:
    """Format a measure: `–`, `0`, `<0.1`, `3.2`, `1,234`."""
    if value is None:
        return "–"
    tenths = math.floor(value * 10 + 0.5)
    if tenths == 0:
        return "<0.1" if value else "0"
    if tenths < 100:
        return f"{tenths / 10:.1f}"
    return count(math.floor(value + 0.5))


def count(value: int | None) -> str:
    """Format a count: `–`, `7`, `1,234`."""
    return "–" if value is None else f"{value:,}"


def megabytes(value: int | None) -> str:
    """Format bytes as a number of megabytes (10^6 bytes)."""
    return number(None if value is None else value / 1e6)


def requests(replica: ReplicaStatus | LostReplica) -> str:
    """Describe how many requests a replica has had since it started."""
    if isinstance(replica, LostReplica):
        return ""
    total = sum(model.requests_total or 0 for model in replica.models)
    if total == 0:
        return "no request yet"
    return f"{total:,} request{'' if total == 1 else 's'} so far"


def memory(replica: ReplicaStatus | LostReplica) -> str:
    """Describe the memory that a replica uses, and its limit."""
    if isinstance(replica, LostReplica):
        return ""
    taken = replica.memory
    if taken.limit is None or taken.used is None:
        return f"{megabytes(taken.rss)} MB of memory"
    return f"{megabytes(taken.used)} of {megabytes(taken.limit)} MB of memory"


def points(history: Sequence[int], peak: int) -> str:
    """Return the points of a chart's line for SVG: one unit of width per second, up to 1 below the
    top."""
    top = CHART_HEIGHT - 2
    return " ".join(
        f"{x},{CHART_HEIGHT - 1 - (top * y / peak if peak else 0):.1f}"
        for x, y in enumerate(history)
    )
