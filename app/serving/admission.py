"""Which requests a model takes: by how many wait, and by whether another could be answered in time.

The rate of a model is measured where it means something, while more requests wait than one run
takes: then nothing but the model, its decoding and the server itself sets the pace. It counts
answers a second, so that whatever the bottleneck is, it is in the figure.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

from app.errors import Overloaded

# Seconds of full work after which what was before counts half.
WINDOW_S = 10.0
# Seconds without full work after which the rate is unknown again: other requests may come then.
FORGET_S = 5.0
# Runs' worth of answers that a rate needs: they come in bursts of a batch.
LEAST_RUNS = 2
# A request is taken where its answer is expected within this part of its time. What is expected is
# not exact, and an answer that comes too late is work for nothing.
MARGIN = 0.8
# Of the time until the queue is empty, so much more at most, so that not all come back at once.
JITTER = 0.2
MOST_RETRY_S = 300


class Admission:
    """The requests between arrival and answer of one model version. Belongs to the hub's thread.

    max_queue: how many there may be. batch: how many of them one run takes at most.
    """

    def __init__(
        self,
        name: str,
        max_queue: int,
        batch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._max_queue = max_queue
        self._batch = batch
        self._clock = clock
        self.waiting = 0
        # Seconds of full work, the answers that came of it, and when it was looked at last.
        self._busy_s = self._idle_s = 0.0
        self._answers = 0.0
        self._seen = clock()

    @property
    def rate(self) -> float | None:
        """Answers a second under full load; None where it is not known."""
        if not self._busy_s or self._answers < LEAST_RUNS * self._batch:
            return None
        return self._answers / self._busy_s

    def refusal(self, seconds: float) -> Overloaded | None:
        """Why a request that may take so many `seconds` is not taken now; None where it is."""
        waiting = self.waiting
        if waiting >= self._max_queue:
            problem = f"{waiting} requests waiting, its limit"
        elif waiting > self._batch and (rate := self._known_rate(seconds)):
            expected = (waiting + 1) / rate
            if expected <= MARGIN * seconds:
                return None
            problem = (
                f"{waiting} requests waiting, so that another would be answered in about "
                f"{expected:.0f} s: it may take {seconds:g} s"
            )
        else:
            return None
        return Overloaded(f"the model {self._name!r} has {problem}", self._retry_after())

    def enter(self) -> None:
        """A request is taken."""
        self._look()
        self.waiting += 1

    def leave(self, *, answered: bool) -> None:
        """A request has ended. answered: or refused for what is in it; not by its deadline, nor
        because its client has gone."""
        self._look()
        if answered and self.waiting > self._batch:
            self._answers += 1
        self.waiting -= 1

    def _known_rate(self, seconds: float) -> float | None:
        """As `rate`; or its least, where full work has lasted for `seconds` with few answers."""
        self._look()
        known = self.rate
        if known is None and self._busy_s >= seconds:
            return max(1.0, self._answers) / self._busy_s
        return known

    def _look(self) -> None:
        now = self._clock()
        passed = now - self._seen
        self._seen = now
        if self.waiting > self._batch:
            self._idle_s = 0.0
            self._busy_s += passed
            if self._busy_s > WINDOW_S and self._answers >= 2 * LEAST_RUNS * self._batch:
                self._busy_s /= 2
                self._answers /= 2
            return
        self._idle_s += passed
        if self._idle_s > FORGET_S:
            self._busy_s = self._answers = 0.0

    def _retry_after(self) -> int:
        """Whole seconds until those that wait will have been answered, at least one."""
        rate = self.rate
        if rate is None:
            return 1
        seconds = self.waiting / rate * random.uniform(1, 1 + JITTER)  # noqa: S311 - no secret
        return min(MOST_RETRY_S, max(1, math.ceil(seconds)))
