"""Reads large bodies, and writes large answers, in native threads, while the hub serves others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from gevent import Timeout
from gevent.threadpool import ThreadPool

from app.errors import DeadlineExceeded
from app.serving.call import Call
from app.thread_slices import working

T = TypeVar("T")
# Bodies up to this many bytes take milliseconds, whatever they hold: a row of a CSV, or an example,
# may have two bytes.
SMALL = 16 * 1024
# What takes seconds has threads of its own, for which nothing smaller waits.
HUGE = 1_000_000
# More would not be faster, for they share an interpreter, and each holds a body and what is made of
# it, which may be twenty times as large.
_THREADS = 2
_pools: dict[bool, ThreadPool] = {}


def run_large(size: int, work: Callable[[], T], call: Call) -> T:
    """Return what `work` returns, done in a native thread where it is on more than SMALL bytes.

    Blocks the greenlet. Work in a thread ends with `call`: at the next `checkpoint`. Raises
    DeadlineExceeded when the call's time is over.
    """
    if size <= SMALL:
        return work()
    huge = size > HUGE
    if huge not in _pools:
        # Belongs to the loop that serves requests.
        _pools[huge] = ThreadPool(_THREADS)
    task = _Work(work, call)
    late = DeadlineExceeded("the time allowed for this request is over")
    with Timeout(call.remaining, late):  # for a thread as well
        _pools[huge].spawn(task.run).get()
    return task.result()


class _Work(Generic[T]):
    """Work in a thread. The pool would print what it raises with its trace."""

    def __init__(self, work: Callable[[], T], call: Call) -> None:
        self._work = work
        self._call = call
        self._done: list[T] = []
        self._error: Exception | None = None

    def run(self) -> None:
        """Do the work, in the thread."""
        try:
            self._call.check()
            with working(self._call.check):
                self._done.append(self._work())
        except Exception as error:
            self._error = error

    def result(self) -> T:
        """Return or raise the outcome."""
        if self._error is not None:
            raise self._error
        return self._done[0]
