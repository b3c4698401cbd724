"""Finds models that hang: a run has begun and does not end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from app.serving.registry.entry import Entry

# How often it looks, in seconds.
CHECK_S = 1.0


class Watchdog:
    """Measures how long runs last. limit_s: the most seconds of a run. entries: lists the versions
    with a model that may run.

    Time counts only between checks that come on time: a process that was stopped, or too busy to
    check, is not full of models that hang. `check` belongs to the hub's thread.
    """

    def __init__(
        self,
        limit_s: float,
        entries: Callable[[], Iterable[Entry]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.every_s = min(CHECK_S, limit_s / 4)
        self._limit_s = limit_s
        self._entries = entries
        self._clock = clock
        self._last = clock()
        self._watched = 0.0
        # When each run that lasts was first seen.
        self._seen: dict[tuple[Entry, int], float] = {}

    def check(self) -> list[Entry]:
        """List the versions that hang and are not given up yet. Call it every `every_s` seconds."""
        now = self._clock()
        self._watched += min(now - self._last, 2 * self.every_s)
        self._last = now
        runs = (
            (entry, began)
            for entry in self._entries()
            if entry.model is not None and not entry.hangs
            for began in entry.model.running
        )
        self._seen = {run: self._seen.get(run, self._watched) for run in runs}
        return [
            entry
            for (entry, _), since in self._seen.items()
            if self._watched - since > self._limit_s
        ]
