"""The state of a server process between its start and its end."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.handover import Handover, Stand


@dataclass
class Lifecycle:
    """The state of a server process.

    draining: it was asked to stop; it is not ready, but still answers every request. refusing: the
    port is closed; requests over connections still open are answered 503 `draining`. hung: the
    model that hangs, if one does; the process then drains, and is no longer alive. handover: the
    agreement with other replicas before draining.
    """

    draining: bool = False
    refusing: bool = False
    hung: str | None = None
    handover: Handover = field(default_factory=Handover)

    @property
    def stand(self) -> Stand:
        """The decision that other replicas see."""
        return Stand.LEAVING if self.draining else self.handover.stand


def process_age_s() -> float:
    """Return the seconds since this process began, from `/proc/self/stat` (proc(5))."""
    # The second field, the name of the program, may contain spaces and parentheses.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    began_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began_s
