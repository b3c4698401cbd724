"""Limits on the rate of requests, counted in the memory of this process."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


def rate_in_words(rate: RateLimitItem) -> str:
    """Return a rate as `5 requests per hour`."""
    return f"{rate.amount} requests per {rate.GRANULARITY.name}"


class RateLimiter:
    """Counters over a moving window: no period of a rate's length, wherever it begins, has more
    requests than the rate allows."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, rate: RateLimitItem, client: str) -> int:
        """Count a request of `client`. Returns 0; or, without counting it, the seconds to wait
        before another try."""
        return 0 if self._limiter.hit(rate, client) else self._wait_s(rate, client)

    def check(self, rate: RateLimitItem, client: str) -> int:
        """Return what `hit` would, without counting."""
        return 0 if self._limiter.test(rate, client) else self._wait_s(rate, client)

    def _wait_s(self, rate: RateLimitItem, client: str) -> int:
        reset = self._limiter.get_window_stats(rate, client).reset_time
        return max(1, math.ceil(reset - time.time()))
