"""Long work in native threads: turns for other threads, an end with its request.

C code that holds the interpreter lock stops every thread for as long as it runs. Work on large
bodies therefore goes slice by slice, and calls `turn` between two slices.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Bytes, or the like, that C code works on at once: below 2 ms.
SLICE = 64 * 1024
# Values that are freed, or looked at, at once.
_VALUES = 10_000
# Full collections are due after so many of the others.
_NEVER = 2**30
_CONTAINERS = frozenset({list, dict})

_thread = threading.local()
_lock = threading.Lock()
_workers = 0
_thresholds = gc.get_threshold()


def turn() -> None:
    """Give other threads a turn and raise what ended the request that this thread works for.

    Does nothing in a thread that is not `working`, such as the hub's, whose work is small.
    """
    check = getattr(_thread, "check", None)
    if check is not None:
        time.sleep(0)
        check()


def free_afterwards(tree: list[Any] | dict[str, Any]) -> None:
    """Take a tree of lists and objects apart when `working` ends: freed in one go, ten million
    values stop all threads for half a second."""
    trees = getattr(_thread, "trees", None)
    if trees is not None:
        trees.append(tree)


@contextmanager
def working(check: Callable[[], None]) -> Iterator[None]:
    """This thread works for one request, in slices. check: raises what ended the request."""
    _thread.check, _thread.trees = check, []
    try:
        with _no_full_collection():
            try:
                yield
            finally:
                _thread.check = _nothing
                for tree in _thread.trees:
                    _take_apart(tree)
    finally:
        del _thread.check, _thread.trees


def _nothing() -> None:
    """What has ended is freed all the same."""


@contextmanager
def _no_full_collection() -> Iterator[None]:
    """Looking for garbage among millions of young lists stops all threads for as long as it takes;
    collections of what is new go on, each of which is short."""
    global _workers, _thresholds
    with _lock:
        if _workers == 0:
            _thresholds = gc.get_threshold()
            gc.set_threshold(*_thresholds[:2], _NEVER)
        _workers += 1
    try:
        yield
    finally:
        with _lock:
            _workers -= 1
            if _workers == 0:
                gc.set_threshold(*_thresholds)


def _take_apart(tree: Any) -> None:
    """Empty all lists and objects of a tree, some of its values at a time."""
    left = [tree]
    while left:
        container = left[-1]
        if isinstance(container, dict):
            left[-1] = list(container.values())
            container.clear()
            continue
        values = container[-_VALUES:]
        del container[-_VALUES:]
        if not container:
            left.pop()
        if not _CONTAINERS.isdisjoint(map(type, values)):
            left += [value for value in values if type(value) in _CONTAINERS and value]
        del values
        turn()

