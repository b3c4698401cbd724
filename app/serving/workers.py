"""Native threads that do blocking work for greenlets.

gevent's own ThreadPool takes work only while a thread is free: between two tasks of a thread the
hub has to run, and a busy hub leaves the threads idle. Here the work waits in a queue of its own,
and the hub wakes once for all results that have come in meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from gevent import get_hub
from gevent.hub import Waiter

T = TypeVar("T")


class _Round:
    """The items of one call of `map`."""

    __slots__ = ("function", "items", "left", "results", "waiter")

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.function = function
        self.items = items
        self.results: list[Any] = [None] * len(items)
        self.left = len(items)
        self.waiter: Waiter[Any] = Waiter()


class Workers:
    """`count` native threads, started with the first work."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._todo: SimpleQueue[tuple[_Round, int]] = SimpleQueue()
        self._done: deque[tuple[_Round, int, Any]] = deque()
        self._wake: Any = None

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function` of each item, all at once where threads are free. Blocks the greenlet.

        Raises what `function` raises, for the first item whose turn comes.
        """
        if not items:
            return []
        if self._wake is None:
            self._start()
        work = _Round(function, items)
        for i in range(len(items)):
            self._todo.put((work, i))
        error = work.waiter.get()
        if error is not None:
            raise error
        return work.results

    def _start(self) -> None:
        # Belongs to the loop that serves requests.
        self._wake = get_hub().loop.async_()
        self._wake.start(self._deliver)
        for i in range(self._count):
            threading.Thread(target=self._work, name=f"{self._name}-{i}", daemon=True).start()

    def _work(self) -> None:
        while True:
            work, i = self._todo.get()
            try:
                result: Any = work.function(work.items[i])
            except Exception as error:
                result = _Failure(error)
            self._done.append((work, i, result))
            # An idle thread keeps nothing of the last request.
            del work, result
            self._wake.send()

    def _deliver(self) -> None:
        done = self._done
        # What ends meanwhile wakes the hub again; others shall have their turn before.
        for _ in range(len(done)):
            work, i, result = done.popleft()
            work.left -= 1
            if isinstance(result, _Failure):
                if work.left >= 0:
                    work.left = -1
                    work.waiter.switch(result.error)
                continue
            work.results[i] = result
            if work.left == 0:
                work.waiter.switch(None)


def in_a_thread(function: Callable[[], T]) -> T:
    """What `function` returns or raises, in a native thread of gevent's pool, for work that is rare
    or long. Blocks the greenlet."""
    result: T | _Failure = get_hub().threadpool.apply(_tried, (function,))
    if isinstance(result, _Failure):
        raise result.error
    return result


def _tried(function: Callable[[], T]) -> T | _Failure:
    """The pool would print what is raised with its trace, whether or not somebody expects it."""
    try:
        return function()
    except Exception as error:
        return _Failure(error)


class _Failure:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error
