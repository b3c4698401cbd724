"""Long work in native threads, slice by slice.

C code that holds the interpreter lock stops every thread for as long as it runs. Work on large
bodies therefore goes in slices, with a `checkpoint` between two of them.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Bytes, or the like, that C code works on at once: below 2 ms.
SLICE = 64 * 1024
# Seconds of work between two turns of other threads.
TURN_S = 0.001
# Parts of a tree that are freed at once.
_FREED_AT_ONCE = 50
# Values of rows that are one such part.
_VALUES_AT_ONCE = 1_000
# Partial collections before a full one is due.
_NEVER = 2**30
_SWITCH_S = 0.001

_thread = threading.local()
_lock = threading.Lock()
_workers = 0
_usual = gc.get_threshold(), sys.getswitchinterval()


def checkpoint() -> None:
    """Give other threads a turn, and raise the error that ended the request of this thread.

    Does nothing in a thread that is not `working`, such as the hub's, whose work is small.
    """
    check = getattr(_thread, "check", None)
    # Where slices are short, a turn for each would take longer than the work.
    if check is not None and time.monotonic() - _thread.turn >= TURN_S:
        time.sleep(0)
        check()
        _thread.turn = time.monotonic()


def free_afterwards(container: list[Any] | dict[str, Any], count: int) -> None:
    """Remove the last `count` values of a list or object when `working` ends, the newest first.

    Freed in one go, ten million values stop all threads for half a second.
    """
    added = getattr(_thread, "added", None)
    if added is not None:
        added.append((container, count))


def free_rows_afterwards(rows: list[Any], values: int) -> None:
    """The same for all of `rows`, of so many values each."""
    step = max(1, _VALUES_AT_ONCE // values)
    for _ in range(0, len(rows), step):
        free_afterwards(rows, step)


@contextmanager
def working(check: Callable[[], None]) -> Iterator[None]:
    """Work for one request in this thread, in slices. check: raises the error that ended it."""
    _thread.check, _thread.added, _thread.turn = check, [], 0.0
    try:
        with _considerate():
            try:
                yield
            finally:
                _free(_thread.added)
    finally:
        del _thread.check, _thread.added, _thread.turn


def _free(added: list[tuple[Any, int]]) -> None:
    freed = 0
    while added:
        container, count = added.pop()
        if isinstance(container, list):
            del container[-count:]
        else:
            for _ in range(min(count, len(container))):
                container.popitem()
        freed += count
        if freed > _FREED_AT_ONCE:
            freed = 0
            time.sleep(0)


@contextmanager
def _considerate() -> Iterator[None]:
    """No full collections of garbage: looking through millions of young lists stops all threads for
    as long as it takes, where what is new is looked through in no time. And threads that wait for
    the interpreter's lock get it sooner than usual."""
    global _workers, _usual
    with _lock:
        if _workers == 0:
            _usual = gc.get_threshold(), sys.getswitchinterval()
            gc.set_threshold(*_usual[0][:2], _NEVER)
            sys.setswitchinterval(_SWITCH_S)
        _workers += 1
    try:
        yield
    finally:
        with _lock:
            _workers -= 1
            if _workers == 0:
                gc.set_threshold(*_usual[0])
                sys.setswitchinterval(_usual[1])
