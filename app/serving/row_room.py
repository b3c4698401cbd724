"""The limit on memory for the rows that files and texts of requests become, in the process.

A body is bounded, but not what it becomes: a picture of a hundred bytes may fill the input of a
model, and a letter a row of ids.
"""

from __future__ import annotations

from functools import cache, partial

from gevent import getcurrent

from app.resources.room import Room
from app.serving.call import Call
from app.serving.limits import Limits

# Rows up to this many bytes need no room: queues limit the number of requests.
SMALL = 1_000_000


def take_room(size: int, limits: Limits, call: Call | None) -> None:
    """Wait until the rows of other requests leave room for `size` bytes, which `call` then has
    until it gives them back; once for a call, for two requests that each have a part would wait
    for each other. Without a call, take none.

    Blocks the greenlet. Raises Overloaded if there is no room in time, and the error that `call`
    was cancelled with.
    """
    if call is None or size <= SMALL:
        return
    room = _room(limits.max_rows_bytes)
    call.check()
    call.on_cancel(getcurrent().throw)
    try:
        taken = room.acquire(size, call.remaining)
    finally:
        call.on_cancel(None)
    call.holds(partial(room.release, taken))


@cache
def _room(limit: int) -> Room:
    return Room(limit, "decoded pictures, recordings and texts")
