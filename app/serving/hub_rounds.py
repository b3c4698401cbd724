"""Long work in the hub's thread, spread over the rounds of its loop.

`gevent.sleep(0)` does not do it: gevent's loop runs up to fifty greenlets that wait so before it
looks at sockets and timers, so that steps of 2 ms make a pause of 100 ms.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from gevent import get_hub
from gevent.hub import Waiter
from numpy.typing import NDArray

T = TypeVar("T")
# Seconds that a greenlet works in one round of the loop.
ROUND_S = 0.002
# Values of tensors or of JSON that one step works on: about a millisecond.
VALUES = 5000


class _Rounds(threading.local):
    """The greenlets of a thread that wait for a round of the loop: one a round, so that rounds stay
    as short as one step however many there are."""

    def __init__(self) -> None:
        self._waiting: deque[Waiter[Any]] = deque()
        self._watcher: Any = None

    def wait(self) -> None:
        """Block the greenlet until its next round."""
        if self._watcher is None:
            self._watcher = get_hub().loop.async_()
            self._watcher.start(self._next)
        waiter: Waiter[Any] = Waiter()
        self._waiting.append(waiter)
        self._watcher.send()
        waiter.get()

    def _next(self) -> None:
        waiter = self._waiting.popleft()
        if self._waiting:
            self._watcher.send()
        # One that was killed meanwhile lets its round pass.
        waiter.switch(None)


_rounds = _Rounds()


def next_round() -> None:
    """Wait until everything else that is due has run, sockets and timers included. Blocks the
    greenlet."""
    _rounds.wait()


def spread(steps: Iterable[T]) -> Iterator[T]:
    """Yield from `steps`; whenever ROUND_S is over, everything else gets its turn.

    steps: does its work while it is iterated over, a millisecond or less a step. Blocks the
    greenlet.
    """
    # The first step waits as well: a batch wakes many greenlets in one round of the loop.
    until = 0.0
    steps = iter(steps)
    while True:
        if time.monotonic() >= until:
            next_round()
            until = time.monotonic() + ROUND_S
        try:
            step = next(steps)
        except StopIteration:
            return
        yield step


def free_texts(arrays: Iterable[NDArray[Any]]) -> None:
    """Empty arrays of texts that are of no more use: freed in one go, three million texts stop the
    hub for a tenth of a second. Blocks the greenlet where they are many."""
    for array in arrays:
        if array.dtype == object and array.size > VALUES:
            rows = array.reshape(-1)
            for at in spread(range(0, rows.size, VALUES)):
                rows[at : at + VALUES] = None
