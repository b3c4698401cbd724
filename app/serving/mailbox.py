"""The hand-over from native threads to the hub, the thread of gevent that serves all requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from gevent import get_hub

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Results of native threads, delivered in the hub in the order of their arrival.

    deliver: called in the hub's thread with each item.
    """

    def __init__(self, deliver: Callable[[T], None]) -> None:
        self._deliver = deliver
        self._items: deque[T] = deque()
        self._loop: Any = None
        self._watcher: Any = None

    # --- in the hub's thread -------------------------------------------------------------------

    def open(self) -> None:
        """Deliver in the hub of this thread from now on. Does nothing once that is so."""
        if self._watcher is None:
            # Not when the mailbox is made: the loop that serves requests may start later.
            self._loop = get_hub().loop
            self._watcher = self._loop.async_()
            self._watcher.start(self._empty)

    def _empty(self) -> None:
        items, deliver = self._items, self._deliver
        # Items that arrive meanwhile wake the hub again: else it would serve the same clients over
        # and over, and never look at the others.
        for _ in range(len(items)):
            deliver(items.popleft())

    def _close(self) -> None:
        self._empty()
        self._watcher.stop()
        self._watcher.close()

    # --- in any native thread ------------------------------------------------------------------

    def add(self, item: T) -> None:
        """Add an item, which the next `wake` delivers."""
        self._items.append(item)

    def extend(self, items: Iterable[T]) -> None:
        """Add items, which the next `wake` delivers."""
        self._items.extend(items)

    def wake(self) -> None:
        """Let the hub deliver all items. `loop.async_()` is gevent's only thread-safe call."""
        self._watcher.send()

    def close(self) -> None:
        """Deliver what is left, and free the watcher, which would keep this mailbox."""
        if self._watcher is not None:
            # It belongs to the hub's thread.
            self._loop.run_callback_threadsafe(self._close)
