"""The native thread of a model version, which runs it for the greenlets of the hub."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, Protocol, TypeVar

from gevent import get_hub

from app.errors import KeraportError, ModelUnavailable
from app.serving.engine.failures import given_up, hangs
from app.serving.mailbox import Mailbox

R = TypeVar("R")
Fail = Callable[[KeraportError], None]


class RunCounter(Protocol):
    """Counts the runs of a model, in its thread: `app.serving.models.statistics.Statistics`."""

    def count_wait(self, requests: int, ns: int) -> None:
        """Count requests that have left the queue together. ns: the sum of their waits, in
        nanoseconds."""

    def count_run(self, rows: int, ns: int) -> None:
        """Count a run. ns: its duration in nanoseconds."""


class Uncounted:
    """A RunCounter that counts nothing."""

    def count_wait(self, requests: int, ns: int) -> None:
        """Do nothing."""

    def count_run(self, rows: int, ns: int) -> None:
        """Do nothing."""


class ModelThread(ABC, Generic[R]):
    """A queue and the thread that empties it. Subclasses keep the queue, under `_ready`.

    running_since: when the current run began, on the clock of `time.monotonic_ns`; None if there is
    none. first_run: entered around each run, in the model's thread, until one has succeeded; to be
    set before the first request.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # That of `_ready`; entered by itself, it costs half as much.
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._closed = self._hangs = False
        self._results: Mailbox[R] = Mailbox(self._deliver)
        self.running_since: int | None = None
        self.first_run: Callable[[], AbstractContextManager[None]] = nullcontext
        self._thread = threading.Thread(target=self._work, name=f"model-{name}", daemon=True)

    @abstractmethod
    def _work(self) -> None:
        """Run until `close`, in the model's thread."""

    @abstractmethod
    def _deliver(self, result: R) -> None:
        """Pass a result to the greenlet that waits for it, in the hub's thread."""

    @abstractmethod
    def _unfinished(self) -> tuple[Iterable[Fail], Iterable[Fail]]:
        """Return callbacks that fail the waiting requests, and those that run. Called under
        `_ready`."""

    def _on_close(self) -> None:
        """Move all work into the queue. Called under `_ready`, once no more can arrive."""

    def _check_open(self) -> None:
        """Raise ModelUnavailable after `close` or `abandon`. Called under `_ready`."""
        if self._closed:
            raise ModelUnavailable(f"the model {self._name!r} is being unloaded")
        if self._hangs:
            raise hangs(self._name)

    def abandon(self) -> None:
        """Stop waiting for a run that does not end, from the hub's thread: see `given_up`."""
        with self._ready:
            self._hangs = True
            waiting, running = self._unfinished()
        run_callback = get_hub().loop.run_callback
        for fail in waiting:
            run_callback(fail, hangs(self._name))
        for fail in running:
            run_callback(fail, given_up(self._name))

    def close(self) -> None:
        """Refuse further requests, finish those that wait, end the thread. Call from a native
        thread or once the hub has stopped: it blocks until the last run is done."""
        with self._ready:
            self._closed = True
            self._on_close()
            self._ready.notify()
        self._thread.join()
        self._results.close()
