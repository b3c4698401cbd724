"""What this process, and the container it runs in, take of the memory."""

from __future__ import annotations

import os
from pathlib import Path

from app.status.shape import Memory

# cgroup v1 says "no limit" as the largest number of pages.
_NO_LIMIT = 2**60


def memory(statm: Path = Path("/proc/self/statm"), cgroup: Path = Path("/sys/fs/cgroup")) -> Memory:
    """From /proc, and from cgroup v2, then v1. The page cache that the kernel would give back is
    left out of what is used, as `docker stats` does."""
    resident = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    v1 = cgroup / "memory"
    for limit_file, used_file, stat_file, cache in (
        (cgroup / "memory.max", cgroup / "memory.current", cgroup / "memory.stat", "inactive_file"),
        (
            v1 / "memory.limit_in_bytes",
            v1 / "memory.usage_in_bytes",
            v1 / "memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            limit = int(limit_file.read_text())
            used = int(used_file.read_text())
            stat = dict(line.split() for line in stat_file.read_text().splitlines())
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
        if limit < _NO_LIMIT:
            return Memory(rss=resident, used=max(0, used - int(stat.get(cache, 0))), limit=limit)
    return Memory(rss=resident)
