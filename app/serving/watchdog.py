"""Notices models that hang: a run that has begun and does not end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from app.errors import DeadlineExceeded, ModelUnavailable
from app.serving.entry import LOADING_RETRY_S, Entry

# How often it looks, in seconds.
CHECK_S = 1.0


class Watchdog:
    """limit_s: seconds that a run may last. entries: gives those with a model that may run.

    Time counts only while somebody looks: a process that was stopped, or so busy that nobody came
    to look, is not full of models that hang. `check` belongs to the hub's thread.
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
        """Those that hang and are not given up yet. To be called every `every_s` seconds."""
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


def hangs(name: str) -> ModelUnavailable:
    """The error for who has not come to a model before it hung."""
    return ModelUnavailable(
        f"the model {name!r} hangs: this process is about to be restarted", LOADING_RETRY_S
    )


def given_up(name: str) -> DeadlineExceeded:
    """The error for those whose run does not end. Not ModelUnavailable, after which nginx would
    ask the other replica the same, and that one would hang as well."""
    return DeadlineExceeded(f"the model {name!r} hangs on this request, or on one beside it")
