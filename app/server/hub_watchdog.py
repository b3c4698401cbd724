"""The watchdog of a server's hub, in another process: what stops the hub may hold the GIL too.

Only the standard library (see `app.server.supervisor`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Seconds between two beats of the hub, and between two checks of this process.
CHECK_S = 1.0
# Seconds after which a hub that should have ended counts as standing still.
STILL_S = 3.0


def every_s(limit_s: float) -> float:
    """Return the seconds between two beats of the hub, and between two checks."""
    return min(CHECK_S, limit_s / 4)


class HubWatchdog:
    """Decides when a server whose hub stands still has to be ended.

    heartbeat: descriptor from which a byte can be read for each turn of the hub. child: the
    server's process. limit_s: how long the hub may stand still. drain_s: how long a server that was
    asked to stop may take, if its hub stands still.

    Only seconds count in which this process has checked, and in which the server was neither
    stopped nor waiting for a core: neither a laptop's sleep nor a busy machine is a hub that hangs.
    """

    def __init__(
        self,
        heartbeat: int,
        child: int,
        limit_s: float,
        drain_s: float,
        clock: Callable[[], float] = time.monotonic,
        proc: Path = Path("/proc"),
    ) -> None:
        os.set_blocking(heartbeat, False)
        self.every_s = every_s(limit_s)
        self._heartbeat = heartbeat
        self._limit_s = limit_s
        self._drain_s = drain_s
        self._clock = clock
        self._folder = proc / str(child)
        self._last = clock()
        self._waited_s = 0.0  # for a core, since its start
        self._began = False  # the hub has turned once
        self._still_s = 0.0
        self._stopping_s: float | None = None  # since the first signal

    def stop(self) -> None:
        """Record that the server was asked to stop; the second time, at once."""
        self._stopping_s = 0.0 if self._stopping_s is None else self._drain_s

    def check(self) -> str | None:
        """Return the reason to end the server, if there is one. Call it every `every_s` seconds."""
        seconds = self._counted()
        if self._turned():
            self._began, self._still_s = True, 0.0
        elif self._began:
            self._still_s += seconds
        if self._still_s >= self._limit_s:
            return f"the hub has stood still for {self._limit_s:g} s (KERAPORT_WATCHDOG_S)"
        if self._stopping_s is not None:
            self._stopping_s += seconds
            still = not self._began or self._still_s >= min(STILL_S, self._limit_s)
            if self._stopping_s >= self._drain_s and still:
                return "the hub stands still, although the server was asked to stop"
        return None

    def _turned(self) -> bool:
        with suppress(BlockingIOError):
            return bool(os.read(self._heartbeat, 65536))
        return False

    def _counted(self) -> float:
        """Return the seconds since the last check that count."""
        now = self._clock()
        passed, self._last = min(now - self._last, 2 * self.every_s), now
        before = self._waited_s
        try:
            # proc(5): the state comes after the name, which may have brackets of its own.
            state = (self._folder / "stat").read_text().rpartition(")")[2].split()[0]
            main = self._folder / "task" / self._folder.name
            self._waited_s = int((main / "schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):  # it has ended, or this kernel does not say
            return passed
        if state in "Tt":  # stopped, or traced
            return 0.0
        return max(0.0, passed - (self._waited_s - before))
