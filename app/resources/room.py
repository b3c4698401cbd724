"""Limits on memory that requests share: those that do not fit wait for others to end."""

from __future__ import annotations

from collections import deque

from gevent.event import Event

from app.errors import Overloaded


class _Waiter(Event):
    """A request that waits for `size` bytes; set once it has them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class Room:
    """Room for `limit` bytes, given to requests in order of arrival; one that needs more than there
    is has all of it. what: the bytes are. Belongs to the hub's thread."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._free = limit
        self._waiting: deque[_Waiter] = deque()

    def acquire(self, size: int, seconds: float) -> int:
        """Wait for room for `size` bytes. Return the bytes taken, for `release`.

        Blocks the greenlet. Raises Overloaded if there is no room within `seconds`.
        """
        waiter = _Waiter(min(size, self._limit))
        self._waiting.append(waiter)
        self._grant()
        try:
            taken = waiter.wait(seconds)
        except BaseException:  # the greenlet ends, at a deadline or killed
            self._cancel(waiter)
            raise
        if not taken:
            self._cancel(waiter)
            raise Overloaded(
                f"the server is processing {self._limit // 1_000_000:,} MB of {self._what}, "
                "its limit: send the request again"
            )
        return waiter.size

    def release(self, size: int) -> None:
        """Return room that was taken."""
        self._free += size
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0].size <= self._free:
            waiter = self._waiting.popleft()
            self._free -= waiter.size
            waiter.set()

    def _cancel(self, waiter: _Waiter) -> None:
        if waiter.is_set():
            self.release(waiter.size)
        else:
            self._waiting.remove(waiter)
            self._grant()
