"""The memory of this process, and of the container it runs in."""

from __future__ import annotations

from pathlib import Path

from app.resources.container import CGROUP, container_memory
from app.resources.memory import resident
from app.status.schema import Memory


def memory(cgroup: Path = CGROUP) -> Memory:
    """Read the figures from /proc and the cgroup."""
    used = resident().now
    container = container_memory(cgroup)
    if container is None:
        return Memory(rss=used)
    return Memory(rss=used, used=container.used, limit=container.limit)
