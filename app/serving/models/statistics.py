"""The statistics of a model: of the last minute, and since it was first loaded.

Two threads write, each its own part, so that neither takes a lock: the hub counts requests and
words, the model's thread counts its runs. The hub reads. While a version is replaced there are two
threads of models for a moment, whose runs may count as one.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import ClientDisconnected, DeadlineExceeded, KeraportError

# Seconds that figures look back.
WINDOW_S = 60
# A second each; one for the second that is running, the rest so that none is written and read.
_SLOTS = WINDOW_S + 4
# Times are counted in bins, each 5 % wider than the one before: 0.05 ms to four hours, so that the
# memory is bounded whatever comes. The middle of a bin is at most 2.5 % from what is in it.
_SHORTEST_MS = 0.05
_RATIO = 1.05
_BINS = 400
_LOG_RATIO = math.log(_RATIO)
# Runs are counted by how many rows they have at most; those with more come last.
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Figures of the last minute, or of the model's life where that is shorter.

    A request counts when it ends, however it ends. rows: predictions. words: of texts. p50_ms,
    p95_ms, p99_ms: the time from arrival to answer of requests that were answered or ran into
    their deadline, in milliseconds; None if there was none. mean_batch: rows in a run of the
    model, for texts how many were written at once; None if there was no run. errors: how many
    by code. history: requests in each of the last 60 whole seconds, the oldest first. …_total:
    since the version was first loaded.
    """

    requests_per_s: float
    rows_per_s: float
    words_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_batch: float | None
    errors: dict[str, int]
    history: list[int]
    requests_total: int
    rows_total: int
    words_total: int
    errors_total: dict[str, int]


@dataclass(frozen=True, slots=True)
class Timing:
    """A count of something, and the nanoseconds that it took in all."""

    count: int = 0
    ns: int = 0

    def more(self, ns: int, count: int = 1) -> Timing:
        """Return the sum with more of it."""
        return Timing(self.count + count, self.ns + ns)


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures since the model was loaded, for programs that take the differences themselves.

    answered, failed: requests, from arrival to end. waited: requests in the queue (or their parts,
    where one has more rows than a batch). runs: of the model. rows: predictions. words: of texts.
    last: when a request last ended, in seconds since 1970; 0 for never. errors: how many by code.
    batches: runs by the bounds of `BATCH_ROWS`, and those above. run_rows: rows of all runs.
    """

    answered: Timing
    failed: Timing
    waited: Timing
    runs: Timing
    rows: int
    words: int
    last: float
    errors: dict[str, int]
    batches: tuple[int, ...]
    run_rows: int


class CountedRequest:
    """A context for one request, counted when it ends.

    rows: how many predictions came of it. error: the code of what went wrong; errors that leave
    the block are noted by themselves.
    """

    __slots__ = ("_started", "_statistics", "error", "rows")

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self.rows = 0
        self.error: str | None = None

    def __enter__(self) -> CountedRequest:
        self._started = self._statistics.clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        self._statistics.count(self, self._started)

    def fail(self, error: BaseException) -> None:
        """Note an error that does not leave the block."""
        if isinstance(error, KeraportError):
            self.error = error.code
        else:
            # What is no Exception ends the greenlet: no one waits for the answer any more.
            gone = not isinstance(error, Exception)
            self.error = ClientDisconnected.code if gone else KeraportError.code


class Statistics:
    """The figures of one model version. clock: seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._since = clock()
        # In the hub's thread.
        self._seconds = [_Second() for _ in range(_SLOTS)]
        self._requests = self._rows = self._words = 0
        self._errors: Counter[str] = Counter()
        self._answered = self._failed = Timing()
        self._last = 0.0
        # In the model's thread: (second, runs, rows), replaced as a whole so that the hub never
        # sees half of one.
        self._waited = self._ran = Timing()
        self._runs = [(-1, 0, 0)] * _SLOTS
        self._batches = [0] * (len(BATCH_ROWS) + 1)
        self._run_rows = 0

    # --- in the hub's thread -------------------------------------------------------------------

    def counting(self) -> CountedRequest:
        """Return the context for a request that has come."""
        return CountedRequest(self)

    def count(self, counted: CountedRequest, started: float) -> None:
        """Count a request that came at `started` and has ended."""
        now = self.clock()
        second = self._at(now)
        second.requests += 1
        second.rows += counted.rows
        self._requests += 1
        self._rows += counted.rows
        self._last = time.time()
        error = counted.error
        took = int((now - started) * 1e9)
        if error is None:
            self._answered = self._answered.more(took)
        else:
            self._failed = self._failed.more(took)
            second.errors[error] = second.errors.get(error, 0) + 1
            self._errors[error] += 1
        # What was refused at once, or given up, says nothing about how long the model takes.
        if error is None or error == DeadlineExceeded.code:
            second.times[_bin((now - started) * 1000)] += 1

    def count_word(self) -> None:
        """Count one more word of a text."""
        self._at(self.clock()).words += 1
        self._words += 1

    def _at(self, now: float) -> _Second:
        number = int(now)
        second = self._seconds[number % _SLOTS]
        if second.number != number:
            second.reset(number)
        return second

    def snapshot(self) -> Snapshot:
        """Return the figures of the last minute."""
        now = self.clock()
        running = int(now)
        oldest = running - WINDOW_S + 1
        recent = [s for s in self._seconds if oldest <= s.number <= running]
        runs = [run for run in self._runs if oldest <= run[0] <= running]
        # At least a second, or the first request of a model would look like a flood.
        covered = max(1.0, min(now - oldest, now - self._since))
        times: NDArray[Any] = sum((s.times for s in recent), np.zeros(_BINS, np.int64))
        errors: Counter[str] = Counter()
        for second in recent:
            errors.update(second.errors)
        by_number = {s.number: s.requests for s in self._seconds}
        run_count = sum(count for _, count, _ in runs)
        return Snapshot(
            requests_per_s=sum(s.requests for s in recent) / covered,
            rows_per_s=sum(s.rows for s in recent) / covered,
            words_per_s=sum(s.words for s in recent) / covered,
            p50_ms=_quantile(times, 0.50),
            p95_ms=_quantile(times, 0.95),
            p99_ms=_quantile(times, 0.99),
            mean_batch=sum(rows for _, _, rows in runs) / run_count if run_count else None,
            errors=dict(errors),
            history=[by_number.get(n, 0) for n in range(running - WINDOW_S, running)],
            requests_total=self._requests,
            rows_total=self._rows,
            words_total=self._words,
            errors_total=dict(self._errors),
        )

    def totals(self) -> Totals:
        """Return the figures since the model was loaded."""
        return Totals(
            self._answered,
            self._failed,
            self._waited,
            self._ran,
            self._rows,
            self._words,
            self._last,
            dict(self._errors),
            tuple(self._batches),
            self._run_rows,
        )

    # --- in the model's thread -----------------------------------------------------------------

    def count_wait(self, requests: int, ns: int) -> None:
        """Count requests that have left the queue together. ns: the sum of their waits."""
        self._waited = self._waited.more(ns, requests)

    def count_run(self, rows: int, ns: int) -> None:
        """Count a run. ns: its duration in nanoseconds."""
        self._ran = self._ran.more(ns)
        self._batches[bisect_left(BATCH_ROWS, rows)] += 1
        self._run_rows += rows
        number = int(self.clock())
        place = number % _SLOTS
        second, runs, total = self._runs[place]
        if second == number:
            self._runs[place] = (number, runs + 1, total + rows)
        else:
            self._runs[place] = (number, 1, rows)


class _Second:
    """What happened within one second of the clock."""

    __slots__ = ("errors", "number", "requests", "rows", "times", "words")

    def __init__(self) -> None:
        self.times = np.zeros(_BINS, np.uint32)
        self.reset(-1)

    def reset(self, number: int) -> None:
        self.number = number
        self.requests = self.rows = self.words = 0
        self.errors: dict[str, int] = {}
        self.times.fill(0)


def _bin(ms: float) -> int:
    if ms <= _SHORTEST_MS:
        return 0
    return min(int(math.log(ms / _SHORTEST_MS) / _LOG_RATIO), _BINS - 1)


def _quantile(times: NDArray[Any], part: float) -> float | None:
    """Return the time within which the given share of the requests ended (nearest rank)."""
    until = times.cumsum()
    count = int(until[-1])
    if not count:
        return None
    found = int(np.searchsorted(until, max(1, math.ceil(part * count))))
    return float(_SHORTEST_MS * _RATIO ** (found + 0.5))
