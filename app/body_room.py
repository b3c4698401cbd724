"""Room for the bodies of all requests of the process that are read or worked on at a time."""

from __future__ import annotations

from collections import deque

from gevent.event import Event

from app.errors import Overloaded

# Where the server leaves the `Lease` of a request, in its WSGI environment.
LEASE_KEY = "keraport.body_room"
# Bodies up to so many bytes take none: queues bound how many there are.
SMALL = 64 * 1024


class _Place(Event):
    """A request that waits for `size` bytes. The event: that it has them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class BodyRoom:
    """At most `limit` bytes at once; requests wait in the order in which they came. Belongs to the
    hub's thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._waiting: deque[_Place] = deque()

    def take(self, size: int, seconds: float) -> int:
        """Take room for `size` bytes, which `give_back` returns; returns how much was taken.

        Blocks the greenlet. Raises Overloaded where there is none within so many `seconds`.
        """
        place = _Place(min(size, self._limit))
        self._waiting.append(place)
        self._grant()
        try:
            taken = place.wait(seconds)
        except BaseException:  # the greenlet is over, by a deadline or killed
            self._drop(place)
            raise
        if not taken:
            self._drop(place)
            raise Overloaded(
                f"the server has bodies of {self._limit // 1_000_000:,} MB at work, its limit: "
                "send the request again"
            )
        return place.size

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        self._free += size
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0].size <= self._free:
            place = self._waiting.popleft()
            self._free -= place.size
            place.set()

    def _drop(self, place: _Place) -> None:
        if place.is_set():
            self.give_back(place.size)
        else:
            self._waiting.remove(place)
            self._grant()


class Lease:
    """The room of one request, from the moment that its body is read until it is answered."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._taken = 0

    def take(self, size: int, seconds: float) -> None:
        """Take room for a body of `size` bytes, once. Raises what `BodyRoom.take` raises."""
        if size > SMALL and not self._taken:
            self._taken = self._room.take(size, seconds)

    def end(self) -> None:
        """Return it."""
        taken, self._taken = self._taken, 0
        if taken:
            self._room.give_back(taken)
