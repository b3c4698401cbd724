"""Admission control: refuses requests while the queue is full, and requests that could not be
answered in time.

A model's rate is measured while more requests wait than one run takes: only then do the model, its
decoding and the server set the pace, and nothing else. The rate counts answers per second, so that
it covers whatever the bottleneck is.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

from app.errors import Overloaded

# Seconds of full load after which earlier measurements count half.
WINDOW_S = 10.0
# Seconds without full load after which the rate is unknown again: later requests may differ.
FORGET_S = 5.0
# Runs whose answers a rate needs: answers come in bursts of a batch.
LEAST_RUNS = 2
# A request is accepted if its answer is expected within this part of its time. The estimate is not
# exact, and an answer that comes too late is wasted work.
MARGIN = 0.8
# Largest random addition to the time until the queue is empty, so that not all clients return at
# once.
JITTER = 0.2
MOST_RETRY_S = 300


class Admission:
    """Counts the requests of one model version between arrival and answer. Belongs to the hub's
    thread.

    max_queue: most requests at a time. batch: most requests in one run.
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
        # Seconds of full load, seconds without it, answers under full load, and the last update.
        self._busy_s = self._idle_s = 0.0
        self._answers = 0.0
        self._updated = clock()

    @property
    def rate(self) -> float | None:
        """Answers per second under full load; None while unknown."""
        if not self._busy_s or self._answers < LEAST_RUNS * self._batch:
            return None
        return self._answers / self._busy_s

    def refusal(self, seconds: float) -> Overloaded | None:
        """Return the error that refuses a request with `seconds` left; None if it is accepted."""
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
        """Count an accepted request."""
        self._update()
        self.waiting += 1

    def leave(self, *, answered: bool) -> None:
        """Count a request that has ended. answered: with a result or a refusal of its contents; not
        by its deadline, nor because its client has disconnected."""
        self._update()
        if answered and self.waiting > self._batch:
            self._answers += 1
        self.waiting -= 1

    def _known_rate(self, seconds: float) -> float | None:
        """Return `rate`; or an estimate from few answers, once full load has lasted for
        `seconds`."""
        self._update()
        known = self.rate
        if known is None and self._busy_s >= seconds:
            return max(1.0, self._answers) / self._busy_s
        return known

    def _update(self) -> None:
        now = self._clock()
        passed = now - self._updated
        self._updated = now
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
        """Return the whole seconds until the waiting requests will have been answered, at least
        1."""
        rate = self.rate
        if rate is None:
            return 1
        seconds = self.waiting / rate * random.uniform(1, 1 + JITTER)  # noqa: S311 - no secret
        return min(MOST_RETRY_S, max(1, math.ceil(seconds)))
