"""Native threads that do blocking work for greenlets.

gevent's own ThreadPool takes work only while a thread is free: between two tasks of a thread the
hub has to run, and a busy hub leaves the threads idle. Here the work waits in queues of its own,
one for each call of `map`, which have turns; and the hub wakes once for all results that have come
in meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gevent import get_hub
from gevent.hub import Waiter

from app.serving.call import Call
from app.serving.mailbox import Mailbox

T = TypeVar("T")
R = TypeVar("R")
# Called by work that lasts; it raises once there is no more use for it.
Check = Callable[[], None]


class Abandoned(Exception):
    """No one waits for the result of this work any more."""


class _MapCall:
    """The items of one call of `map`. costs: None if they cost nothing."""

    __slots__ = ("costs", "function", "items", "left", "next", "over", "results", "waiter")

    def __init__(
        self,
        function: Callable[[Any, Check], Any],
        items: Sequence[Any],
        costs: Sequence[int] | None,
    ) -> None:
        self.function = function
        self.items = items
        self.costs = costs
        self.results: list[Any] = [None] * len(items)
        self.left = len(items)
        self.next = 0
        self.waiter: Waiter[Any] = Waiter()
        # Set in the hub's thread, read by all.
        self.over = False

    def check(self) -> None:
        """Raise Abandoned once no one waits for the results; for the thread that works on it."""
        if self.over:
            raise Abandoned

    def end(self, error: Exception | None) -> None:
        """End the call, in the hub's thread."""
        if not self.over:
            self.over = True
            self.waiter.switch(error)


class Workers:
    """`count` native threads, started with the first work.

    room: how much the items that are at work at once may cost together. What costs more works
    alone. small: up to this an item costs nothing, and passes those that wait for room.
    """

    def __init__(self, count: int, name: str, *, room: int = 0, small: int = 0) -> None:
        self._count = count
        self._name = name
        self._room = room
        self._small = small
        self._taken = 0  # of the room
        # Those with items that no thread has taken, in the order of their turns.
        self._rounds: deque[_MapCall] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._results: Mailbox[tuple[_MapCall, int, Any]] = Mailbox(self._deliver)
        self._started = False

    def map(
        self,
        function: Callable[[T, Check], R],
        items: Sequence[T],
        call: Call | None = None,
        costs: Sequence[int] | None = None,
    ) -> list[R]:
        """`function` of each item, all at once where threads and room are free: an item of each
        `map` at a time. Blocks the greenlet, until `call` ends at the latest.

        function: gets the item, and what to call from time to time while it works; that raises
        Abandoned after the end of `call`. costs: of each item; None for nothing.
        Raises what `function` raises, for the first item whose turn comes, and what ended `call`;
        what has not begun by then never does.
        """
        if call is not None:
            call.check()
        if not len(items):  # which may be an array
            return []
        # The hub of another thread would never wake up for what is done here.
        assert threading.current_thread() is threading.main_thread(), "belongs to the hub's thread"
        if not self._started:
            self._start()
        work = _MapCall(function, items, costs)
        with self._ready:
            self._rounds.append(work)
            self._ready.notify(len(items))
        try:
            if call is None:
                error = work.waiter.get()
            else:
                with call.ended_by(work.end):
                    error = work.waiter.get()
        finally:
            # Nothing to do after the last result.
            work.over = True
            self._forget(work)
        if error is not None:
            raise error
        return work.results

    def _forget(self, work: _MapCall) -> None:
        with self._ready:
            if work in self._rounds:
                self._rounds.remove(work)

    def _start(self) -> None:
        self._started = True
        self._results.open()
        for i in range(self._count):
            threading.Thread(target=self._work, name=f"{self._name}-{i}", daemon=True).start()

    # --- in the threads ------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            work, i, cost = self._take()
            try:
                result: Any = work.function(work.items[i], work.check)
            except Exception as error:
                result = _Failure(error)
            if cost:
                self._give_back(cost)
            self._results.add((work, i, result))
            # An idle thread keeps nothing of the last request.
            del work, result
            self._results.wake()

    def _take(self) -> tuple[_MapCall, int, int]:
        """Return the next item, its place in its round, and what it takes of the room."""
        with self._ready:
            while (found := self._find()) is None:
                self._ready.wait()
            work, cost = found
            i = work.next
            work.next += 1
            self._taken += cost
            # To the end of the line, if there is more of it.
            self._rounds.remove(work)
            if work.next < len(work.items):
                self._rounds.append(work)
            return work, i, cost

    def _find(self) -> tuple[_MapCall, int] | None:
        """Find the first whose next item may begin. One that waits for room is passed only by those
        that need none, or small ones would keep a large one waiting for ever."""
        full = False
        for work in self._rounds:
            cost = 0 if work.costs is None else work.costs[work.next]
            if cost <= self._small:
                return work, 0
            cost = min(cost, self._room)
            full = full or self._taken + cost > self._room
            if not full:
                return work, cost
        return None

    def _give_back(self, cost: int) -> None:
        with self._ready:
            self._taken -= cost
            self._ready.notify_all()

    # --- in the hub's thread -------------------------------------------------------------------

    def _deliver(self, done: tuple[_MapCall, int, Any]) -> None:
        work, i, result = done
        work.left -= 1
        if isinstance(result, _Failure):
            work.end(result.error)
            return
        work.results[i] = result
        if work.left == 0:
            work.end(None)


def in_a_thread(function: Callable[[], T]) -> T:
    """Run `function` in a native thread of gevent's pool, for work that is rare or long. Blocks the
    greenlet."""
    result: T | _Failure = get_hub().threadpool.apply(_tried, (function,))
    if isinstance(result, _Failure):
        raise result.error
    return result


def _tried(function: Callable[[], T]) -> T | _Failure:
    """Run it and catch its exception, which the pool would print with its trace even if the caller
    expects it."""
    try:
        return function()
    except Exception as error:
        return _Failure(error)


class _Failure:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error
