"""Memory and cores of the container that this process runs in, or else of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_sharing = 1
# cgroup v1 says "no limit" as the largest number of pages.
_NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class ContainerMemory:
    """In bytes. used: without the page cache that nothing has used lately, as `docker stats` shows
    it. left: what could be allocated now, all of the page cache that is not mapped given up."""

    limit: int
    used: int
    left: int


def container_memory(cgroup: Path = CGROUP) -> ContainerMemory | None:
    """From cgroup v2, then v1; None if there is no limit."""
    v1 = cgroup / "memory"
    for limit_file, used_file, stat_file, total in (
        (cgroup / "memory.max", cgroup / "memory.current", cgroup / "memory.stat", ""),
        (
            v1 / "memory.limit_in_bytes",
            v1 / "memory.usage_in_bytes",
            v1 / "memory.stat",
            "total_",
        ),
    ):
        try:
            limit = int(limit_file.read_text())
            used = int(used_file.read_text())
            stat = _numbers(stat_file.read_text().splitlines())
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
        if limit >= _NO_LIMIT:
            continue
        inactive = stat.get(f"{total}inactive_file", 0)
        cached = inactive + stat.get(f"{total}active_file", 0)
        # Nothing counts as mapped in cgroup v1 but `mapped_file`, in v2 but `file_mapped`.
        mapped = stat.get("total_mapped_file", 0) if total else stat.get("file_mapped", 0)
        free = max(inactive, cached - mapped) + stat.get("slab_reclaimable", 0)
        used_now = max(0, used - inactive)
        return ContainerMemory(limit, used_now, min(limit, max(0, limit - used + free)))
    return None


def machine_memory(meminfo: Path = Path("/proc/meminfo")) -> tuple[int, int] | None:
    """Return the bytes that could be allocated without swapping, and all there are (`MemAvailable`
    and `MemTotal` of proc(5)); None if neither is known."""
    try:
        stat = _numbers(meminfo.read_text().splitlines())
        return stat["MemAvailable"] * 1024, stat["MemTotal"] * 1024
    except (OSError, ValueError, KeyError):
        return None


def memory_advice(*, in_container: bool) -> str:
    """Return advice on how to get more memory."""
    if not in_container:
        return "serve fewer or smaller models, or give this machine more memory"
    if os.environ.get("KERAPORT_APP_MEMORY"):  # docker-compose.yml
        return "raise KERAPORT_APP_MEMORY"
    return "raise the memory limit of this container"


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return the number of cores that the scheduler and the container's CPU quota leave to this
    process, at least 1.

    `os.cpu_count()` says what the host has; in a container limited to half of it, a thread pool of
    that size is throttled for most of each period. Reads cgroup v2 (`cpu.max`), then v1
    (`cpu.cfs_quota_us`); a fraction of a core counts as one more.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def own_cores() -> int:
    """Return how many threads of its own a process should have for work that takes a core each:
    as many as usable cores, or its part of them where processes share them (`share_cores`)."""
    return max(1, usable_cores() // _sharing)


def share_cores(processes: int) -> None:
    """Divide `own_cores` by the number of processes like this one."""
    global _sharing
    _sharing = processes


def _numbers(lines: Iterable[str]) -> dict[str, int]:
    """Return the numbers in lines such as "MemTotal:  24000 kB" and "inactive_file 4096"."""
    fields = (line.split() for line in lines)
    return {f[0].rstrip(":"): int(f[1]) for f in fields if len(f) > 1}


def _quota(cgroup: Path) -> float | None:
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit_us = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((cgroup / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return limit_us / period_us if limit_us > 0 else None
