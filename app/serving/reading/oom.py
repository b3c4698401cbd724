"""Chooses the process that the kernel kills when memory runs out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def die_first() -> None:
    """Make the kernel kill this process first, not a server beside it (`oom_score_adj` in proc(5)).
    Every process may raise its own score."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
