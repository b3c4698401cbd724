"""One request on its way through a model: its deadline, cancellation, timings and outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gevent import get_hub, getcurrent

from app.errors import DeadlineExceeded, KeraportError


@dataclass(slots=True)
class Stages:
    """The outcome of a call, and where its time went, in nanoseconds.

    model, version: that answered; None if none got it. decode_ns: making tensors of the body.
    queue_ns: waiting for the model. infer_ns: runs of the model that its rows were part of. batch:
    rows of the largest of these. rows: predictions. words: of texts. times: the beginning of the
    first and the end of the last of each stage, on the clock of `time.monotonic_ns`, where someone
    wants them.
    """

    model: str | None = None
    version: int | None = None
    decode_ns: int = 0
    queue_ns: int = 0
    infer_ns: int = 0
    batch: int = 0
    rows: int = 0
    words: int = 0
    times: dict[str, tuple[int, int]] | None = None

    def note(self, stage: str, began: int, ended: int) -> None:
        """Note the time of a stage, if someone wants it."""
        if self.times is not None:
            first, last = self.times.get(stage, (began, ended))
            self.times[stage] = (min(first, began), max(last, ended))

    def note_run(self, arrived: int, queue_ns: int, infer_ns: int) -> None:
        """Note the times of waiting for the model and of the runs after it."""
        if self.times is not None and infer_ns:
            began = arrived + queue_ns
            self.note("queue", arrived, began)
            self.note("infer", began, began + infer_ns)

    def decoding(self) -> _Decoding:
        """Count the time of the block, which makes tensors of a body."""
        return _Decoding(self)


class _Decoding:
    """A context that counts its time. Generators would take several times as long."""

    __slots__ = ("_stages", "_started")

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    def __enter__(self) -> None:
        self._started = time.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        ended = time.monotonic_ns()
        self._stages.decode_ns += ended - self._started
        self._stages.note("decode", self._started, ended)


class Call:
    """One request on its way: its deadline, its cancellation and its outcome.

    deadline: on the clock of `time.monotonic`, in seconds. All methods but `check` belong to the
    hub's thread.
    """

    __slots__ = ("_callback", "_error", "_held", "deadline", "stages")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.stages = Stages()
        self._error: KeraportError | None = None
        self._callback: Callable[[KeraportError], None] | None = None
        self._held: Callable[[], None] | None = None

    @property
    def remaining(self) -> float:
        """The seconds left, never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Raise the error that ended this call, DeadlineExceeded included, if it has ended."""
        if self._error is not None:
            raise self._error
        if time.monotonic() >= self.deadline:
            raise _too_late()

    def cancel(self, error: KeraportError) -> None:
        """End the call from a callback of the hub, such as a watcher: what it waits for leaves the
        queue, and its greenlet gets `error`."""
        self._error = error
        if self._callback is not None:
            self._callback(error)

    def on_cancel(self, callback: Callable[[KeraportError], None] | None) -> None:
        """Set the callback that gets the error of a cancellation from now on."""
        self._callback = callback

    def holds(self, release: Callable[[], None]) -> None:
        """Remember what `give_back` calls."""
        assert self._held is None, "a call holds one thing"
        self._held = release

    def give_back(self) -> None:
        """Give back what the call holds, if anything."""
        held, self._held = self._held, None
        if held is not None:
            held()

    @contextmanager
    def ended_by(self, callback: Callable[[KeraportError], None]) -> Iterator[None]:
        """Call `callback` in the hub's thread if this call ends within the block, with the error:
        that of its cancellation, or DeadlineExceeded once its time is over."""
        timer = get_hub().loop.timer(self.remaining)
        # From now, not from when the hub last looked at the clock.
        timer.start(lambda: callback(_too_late()), update=True)
        self.on_cancel(callback)
        try:
            yield
        finally:
            self.on_cancel(None)
            timer.stop()
            timer.close()


class Alarm:
    """A context that raises an error in the current greenlet `seconds` after it was made, unless it
    has ended by then; what `gevent.Timeout` does, at a third of its cost. error: the class, made of
    `message` if it comes to that."""

    __slots__ = ("_timer",)

    def __init__(self, seconds: float, error: type[BaseException], message: str = "") -> None:
        self._timer = get_hub().loop.timer(seconds)
        # From now, not from when the hub last looked at the clock.
        self._timer.start(getcurrent().throw, error, message, update=True)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._timer.stop()
        self._timer.close()


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the time allowed for this request is over")
