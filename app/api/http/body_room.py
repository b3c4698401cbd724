"""The limit on memory for the bodies that the process handles at one time."""

from __future__ import annotations

from collections import deque

from gevent.event import Event

from app.errors import Overloaded

# Where the server leaves the `BodyLease` of a request, in its WSGI environment.
LEASE_KEY = "keraport.body_room"
# Bodies up to this many bytes need no room: queues limit their number.
SMALL = 64 * 1024


class _Waiter(Event):
    """A request that waits for `size` bytes; set once it has them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class BodyRoom:
    """Room for `limit` bytes, given to requests in order of arrival. Belongs to the hub's
    thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
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
                f"the server is processing {self._limit // 1_000_000:,} MB of request bodies, its "
                "limit: send the request again"
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


class BodyLease:
    """The room of one request, from the reading of its body until its answer."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._taken = 0

    def acquire(self, size: int, seconds: float) -> None:
        """Take room for a body of `size` bytes, once. Raises what `BodyRoom.acquire` raises."""
        if size > SMALL and not self._taken:
            self._taken = self._room.acquire(size, seconds)

    def end(self) -> None:
        """Return the room, if any was taken."""
        taken, self._taken = self._taken, 0
        if taken:
            self._room.release(taken)
