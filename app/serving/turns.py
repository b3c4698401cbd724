"""Long work in the hub's thread, in steps with turns for everything else between them.

`gevent.sleep(0)` is no such turn: gevent's loop runs up to fifty greenlets that wait for one before
it looks at sockets and timers, so that steps of 2 ms make a pause of 100 ms.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from gevent import get_hub
from gevent.hub import Waiter

T = TypeVar("T")
# Seconds that a greenlet works before everything else gets a turn.
TURN_S = 0.002


class _Turns(threading.local):
    """The greenlets of a thread that wait for their next turn: one a round of the loop, so that
    rounds stay as short as one step however many there are."""

    def __init__(self) -> None:
        self._waiting: deque[Waiter[Any]] = deque()
        self._watcher: Any = None

    def wait(self) -> None:
        """Blocks the greenlet until its next turn."""
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
        # One that was killed meanwhile lets its turn pass.
        waiter.switch(None)


_turns = _Turns()


def take_turn() -> None:
    """Let everything else that is due run, sockets and timers included. Blocks the greenlet."""
    _turns.wait()


def with_turns(steps: Iterable[T]) -> Iterator[T]:
    """What `steps` yields, with a turn for everything else whenever TURN_S is over.

    steps: does its work while it is iterated over, a millisecond or less a step. Blocks the
    greenlet.
    """
    # A turn before the first step: a batch wakes many greenlets in one round of the loop.
    until = 0.0
    steps = iter(steps)
    while True:
        if time.monotonic() >= until:
            take_turn()
            until = time.monotonic() + TURN_S
        try:
            step = next(steps)
        except StopIteration:
            return
        yield step
