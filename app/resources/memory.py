"""Memory of processes: how much they use, and how to return it to the operating system."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import NamedTuple

# glibc keeps what is freed for later: after 60 reloads of a model of 8 MB, the process was a third
# larger without this. Other C libraries have no such call.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def freeze_imports() -> None:
    """Exempt the imported modules from garbage collection. Call once all is imported, before there
    are models: to look through them at each `free_memory` would stop the server for 150 ms instead
    of 5."""
    gc.collect()
    gc.freeze()


def free_memory() -> None:
    """Return the memory of closed models to the operating system, from any native thread. Graphs of
    TensorFlow contain reference cycles, and these the weights."""
    gc.collect()
    if _trim is not None:
        _trim(0)


class Resident(NamedTuple):
    """Resident bytes of a process: at most so far, now, and now of mapped files."""

    peak: int
    now: int
    of_files: int


def resident(pid: int | str = "self") -> Resident:
    """Return the resident bytes of a process, from `/proc/PID/status` (proc(5)); zeros if that
    cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return Resident(0, 0, 0)
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    values = (found.get(name, "0 kB").split()[0] for name in ("VmHWM", "VmRSS", "RssFile"))
    return Resident(*(int(value) * 1024 for value in values))


def growth(began: Resident, ended: Resident) -> int:
    """Return the bytes of its own that a process took at most between two measurements."""
    peak = ended.peak if ended.peak > began.peak else ended.now
    return max(0, peak - began.now - max(0, ended.of_files - began.of_files))


def own_peak(pid: int) -> int:
    """Return the bytes of its own that a process had at most since `reset_peak`."""
    found = resident(pid)
    return max(0, found.peak - found.of_files)


def reset_peak(pid: int) -> None:
    """Start measuring `own_peak` again."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return
