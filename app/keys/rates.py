"""How often something may be done: counted in the memory of this process."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class Rates:
    """Counts over a window that moves: at no time are there more than the rate says within its
    period."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def take(self, rate: RateLimitItem, who: str) -> int:
        """Count one. Returns 0, or in how many seconds it may be tried again; then it is not
        counted."""
        return 0 if self._limiter.hit(rate, who) else self._wait(rate, who)

    def left(self, rate: RateLimitItem, who: str) -> int:
        """As `take`, without counting."""
        return 0 if self._limiter.test(rate, who) else self._wait(rate, who)

    def _wait(self, rate: RateLimitItem, who: str) -> int:
        reset = self._limiter.get_window_stats(rate, who).reset_time
        return max(1, math.ceil(reset - time.time()))
