"""The limit on memory for the bodies that the process handles at one time."""

from __future__ import annotations

from app.resources.room import Room

# Where the server leaves the `BodyLease` of a request, in its WSGI environment.
LEASE_KEY = "keraport.body_room"
# Bodies up to this many bytes need no room: queues limit their number.
SMALL = 64 * 1024


class BodyRoom(Room):
    """Room for `limit` bytes of bodies."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, "request bodies")


class BodyLease:
    """The room of one request, from the reading of its body until its answer."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._taken = 0

    def acquire(self, size: int, seconds: float) -> None:
        """Take room for a body of `size` bytes, once. Raises what `Room.acquire` raises."""
        if size > SMALL and not self._taken:
            self._taken = self._room.acquire(size, seconds)

    def end(self) -> None:
        """Return the room, if any was taken."""
        taken, self._taken = self._taken, 0
        if taken:
            self._room.release(taken)
