"""The memory that loading a model takes, and whether that much is left.

The need is what the last load of the same files took, which is remembered; before the first, it is
estimated from their size. Estimates are kept low: what does not fit after all costs the process
that reads it, which the kernel ends first, while an estimate too high would refuse what fits.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from app.resources.container import CGROUP, container_memory, machine_memory, memory_advice
from app.serving.registry.crash_guard import files_digest, version_key
from app.serving.registry.folder import ScannedVersion
from app.serving.registry.state_folder import StateFolder

# What a load takes in the two processes together, in bytes (docs/decisions/0026): Keras in the one
# that reads, and a multiple of the weights. Code of libraries, which is mapped, does not count.
READER_BYTES = 300_000_000
FACTOR = 4.0
# TensorFlow in the server, before the first model.
ENGINE_BYTES = 150_000_000
# The names of files that hold weights.
_WEIGHTS = re.compile(r"\.(keras|h5|hdf5|pb|npz)$|\.data-\d+-of-\d+$", re.IGNORECASE)
_FACT = "memory"


@dataclass(frozen=True, slots=True)
class MemoryLeft:
    """Bytes that could be allocated now, and the limit. in_container: whether the limit is that of
    a container, not the machine's."""

    bytes: int
    limit: int
    in_container: bool


class MemoryBudget:
    """Compares the memory that models need with what is left. state: where needs are kept."""

    def __init__(
        self,
        state: StateFolder,
        cgroup: Path = CGROUP,
        meminfo: Path = Path("/proc/meminfo"),
    ) -> None:
        self._state = state
        self._cgroup = cgroup
        self._meminfo = meminfo
        self._lock = Lock()
        read = state.read(_FACT)
        facts = read if isinstance(read, dict) else {}
        self._known: dict[str, tuple[str, int]] = {
            key: (fact[0], fact[1]) for key, fact in facts.items() if _is_known(fact)
        }

    def left(self) -> MemoryLeft | None:
        """Return the less of what container and machine have left; None if neither can be found
        out."""
        found = []
        if (container := container_memory(self._cgroup)) is not None:
            found.append(MemoryLeft(container.left, container.limit, in_container=True))
        if (machine := machine_memory(self._meminfo)) is not None:
            found.append(MemoryLeft(*machine, in_container=False))
        return min(found, key=lambda left: left.bytes, default=None)

    def need(self, scanned: ScannedVersion) -> int:
        """Return the bytes that loading a version takes at most, in this process and the reader."""
        with self._lock:
            files, known = self._known.get(version_key(scanned), ("", 0))
        if files == files_digest(scanned):
            return known
        engine = 0 if "tensorflow" in sys.modules else ENGINE_BYTES
        return READER_BYTES + engine + int(FACTOR * weights_size(scanned))

    def remember(self, scanned: ScannedVersion, took: int, *, alone: bool) -> None:
        """Record the bytes that a load took. alone: nothing else was loading, so all of them were
        its own."""
        if took <= 0:
            return
        with self._lock:
            files, known = self._known.get(version_key(scanned), ("", 0))
            if files == files_digest(scanned) and not alone:
                took = min(took, known)
            self._known[version_key(scanned)] = files_digest(scanned), took
            self._state.write(_FACT, self._known)

    def forget(self, scanned: ScannedVersion) -> None:
        """Forget the need of a version whose load has failed."""
        with self._lock:
            if self._known.pop(version_key(scanned), None) is not None:
                self._state.write(_FACT, self._known)


def refusal(need: int, left: MemoryLeft) -> str:
    """Return the reason why a version that needs `need` bytes is not loaded."""
    of = "" if left.in_container else " of this machine"
    return (
        f"needs about {_gb(need)} GB to load, {_gb(left.bytes)} of {_gb(left.limit)} GB{of} are "
        f"left: {memory_advice(in_container=left.in_container)}"
    )


def weights_size(scanned: ScannedVersion) -> int:
    """Return the bytes of the largest file that holds weights: beside the model that is served
    there may be others."""
    files = (*scanned.files, *scanned.shared)
    return max((file[1] for file in files if _WEIGHTS.search(file[0])), default=0)


def _gb(size: int) -> str:
    # As Docker counts them: KERAPORT_APP_MEMORY=4g.
    return f"{size / 2**30:.1f}".removesuffix(".0")


def _is_known(fact: Any) -> bool:
    return (
        isinstance(fact, list)
        and len(fact) == 2
        and isinstance(fact[0], str)
        and isinstance(fact[1], int)
        and fact[1] > 0
    )
