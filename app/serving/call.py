"""One request on its way through a model: how long it may take, how it is given up, what became of
it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gevent import get_hub

from app.errors import DeadlineExceeded, KeraportError


@dataclass(slots=True)
class Stages:
    """What has become of a call: where its time went, in nanoseconds.

    model, version: that answered; None where none got it. decode_ns: making tensors of the body.
    queue_ns: waiting for the model. infer_ns: runs of the model that its rows were part of. batch:
    rows of the largest of these. rows: predictions. words: of texts.
    """

    model: str | None = None
    version: int | None = None
    decode_ns: int = 0
    queue_ns: int = 0
    infer_ns: int = 0
    batch: int = 0
    rows: int = 0
    words: int = 0

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """The block makes tensors of a body."""
        started = time.monotonic_ns()
        try:
            yield
        finally:
            self.decode_ns += time.monotonic_ns() - started


class Call:
    """One request on its way: its deadline, the way to give it up, and what became of it.

    deadline: on the clock of `time.monotonic`, in seconds. All methods but `check` belong to the
    hub's thread.
    """

    __slots__ = ("_error", "_tell", "deadline", "stages")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.stages = Stages()
        self._error: KeraportError | None = None
        self._tell: Callable[[KeraportError], None] | None = None

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Raise what ended this call, DeadlineExceeded included, if anything has."""
        if self._error is not None:
            raise self._error
        if time.monotonic() >= self.deadline:
            raise _too_late()

    def cancel(self, error: KeraportError) -> None:
        """End the call from a callback of the hub, such as a watcher: what it waits for leaves the
        queue, and whoever waits gets `error`."""
        self._error = error
        if self._tell is not None:
            self._tell(error)

    def on_cancel(self, tell: Callable[[KeraportError], None] | None) -> None:
        """Whom to tell of a cancellation from now on."""
        self._tell = tell

    @contextmanager
    def ended_by(self, tell: Callable[[KeraportError], None]) -> Iterator[None]:
        """Within the block `tell` gets, in the hub's thread, what ends this call: what it is
        cancelled with, or DeadlineExceeded once its time is over."""
        timer = get_hub().loop.timer(self.remaining)
        # From now, not from when the hub last looked at the clock.
        timer.start(lambda: tell(_too_late()), update=True)
        self.on_cancel(tell)
        try:
            yield
        finally:
            self.on_cancel(None)
            timer.stop()
            timer.close()


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the time allowed for this request is over")
