"""Many texts are written at once: each step adds a token to all of them.

As in `app.serving.batching`, two worlds meet. Requests are greenlets of the hub; the model runs in
a native thread of its own. A stream joins the running ones before any step and leaves after any:
none waits for another to end. The hub is woken once a step. Nobody's reading holds a step up: what
is not read yet waits with its stream, which is as long as the text at most.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import gevent
import numpy as np
from gevent import get_hub
from gevent.hub import Waiter
from numpy.typing import NDArray

from app.errors import DeadlineExceeded, InferenceError, KeraportError, ModelUnavailable
from app.serving.batching import non_finite
from app.serving.call import Call
from app.serving.watchdog import given_up, hangs

Array = NDArray[Any]


class StepSession(Protocol):
    """What runs a step: `app.serving.generation_session`."""

    def zero_states(self, rows: int) -> list[Array]:
        """The states of texts that have not begun."""

    def step(
        self,
        tokens: Array,
        states: Sequence[Array],
        uniform: Array,
        diversity: Array,
        top_k: Array,
    ) -> tuple[Array, list[Array]]:
        """The next token of each row, and the states after it."""


class Stream:
    """One text while it is written. Iterating yields its tokens as they come, in a greenlet.

    seed: indices of what is there already, at least one. count: tokens to write. top_k: 0 for all.
    random_seed: the same one writes the same text, whoever else is writing.
    """

    def __init__(
        self,
        seed: Sequence[int],
        count: int,
        *,
        diversity: float,
        top_k: int,
        random_seed: int | None,
    ) -> None:
        self.diversity = diversity
        self.top_k = top_k
        # In the model's thread.
        self._input = deque(seed)
        self._left = count
        self._random = np.random.default_rng(random_seed)
        # In the hub's thread.
        self._received: deque[int] = deque()
        self._waiter: Waiter[None] | None = None
        self._error: KeraportError | None = None
        # Written by one thread, read by the other.
        self.over = False
        self.arrived_ns = time.monotonic_ns()
        self.admitted_ns: int | None = None
        self.largest = 0

    # --- in the hub's thread -------------------------------------------------------------------

    def tokens(self, call: Call, heartbeat_s: float | None = None) -> Iterator[int | None]:
        """The tokens as they come, and None after each `heartbeat_s` seconds without one. Leaving
        the loop early frees the stream's place. Raises what ended the text before its time."""
        timer = get_hub().loop.timer(call.remaining)
        # From now, not from when the hub last looked at the clock.
        timer.start(self._expire, update=True)
        call.on_cancel(self.end)
        try:
            while True:
                while self._received:
                    yield self._received.popleft()
                if self._error is not None:
                    raise self._error
                if self.over:
                    return
                if not self._wait(heartbeat_s):
                    yield None
        finally:
            self.over = True
            call.on_cancel(None)
            timer.stop()
            timer.close()

    def _wait(self, seconds: float | None) -> bool:
        """Until there is news; False if there was none for so long."""
        self._waiter = Waiter()
        with gevent.Timeout(seconds, False):  # type: ignore[arg-type]
            self._waiter.get()
            return True
        self._waiter = None
        return False

    def spent(self) -> tuple[int, int]:
        """Nanoseconds until it was the stream's turn, and since then."""
        now = time.monotonic_ns()
        admitted = self.admitted_ns or now
        return admitted - self.arrived_ns, now - admitted

    def end(self, error: KeraportError | None) -> None:
        """No more tokens come: the text is done, or `error` has ended it."""
        if not self.over:
            self.over = True
            self._error = error
        self._wake()

    def receive(self, token: int) -> None:
        """One more token."""
        self._received.append(token)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.switch(None)

    def _expire(self) -> None:
        self.end(DeadlineExceeded("the text was not finished within the time allowed"))

    # --- in the model's thread -----------------------------------------------------------------

    def next_input(self, said: int | None) -> int:
        """What goes into the next step: the seed first, then what was said last."""
        return self._input.popleft() if self._input else int(said or 0)

    @property
    def speaks(self) -> bool:
        """Whether the step that has just been run said something new."""
        return not self._input

    def uniform(self) -> np.float32:
        """The number in [0, 1) that picks the next token. Drawn for new tokens only, so that the
        length of the seed does not matter."""
        drawn = 0.0 if len(self._input) > 1 else self._random.random(dtype=np.float32)
        return np.float32(drawn)

    def said_one(self) -> bool:
        """Counts a token; whether it was the last."""
        self._left -= 1
        return self._left == 0


class Generator:
    """The streams and the thread of one model version.

    max_streams: texts that are written at once; further ones wait for a place.
    window: how many tokens a step is shown, for a model that cannot carry its state along.
    on_step: told in the model's thread of each step: how many texts, and how many nanoseconds.
    """

    def __init__(
        self,
        session: StepSession,
        *,
        name: str,
        max_streams: int,
        window: int | None = None,
        on_step: Callable[[int, int], None] = lambda texts, ns: None,
    ) -> None:
        self._session = session
        self._window = window
        self._name = name
        self._max_streams = max_streams
        self._on_step = on_step
        self._pending: deque[Stream] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._news: deque[tuple[Stream, int | None, KeraportError | None]] = deque()
        self._closed = self._hangs = False
        self._began_ns: int | None = None  # the step that lasts
        self._loop: Any = None
        self._wake: Any = None
        # In the model's thread: the running streams, what each said last, and their states.
        self._streams: list[Stream] = []
        self._said: list[int | None] = []
        self._windows: list[deque[int]] = []
        self._states = session.zero_states(0)
        self._thread = threading.Thread(target=self._work, name=f"model-{name}", daemon=True)
        self._thread.start()

    def start(self, stream: Stream) -> None:
        """Let `stream` be written, from the hub's thread. Raises ModelUnavailable after `close`
        or `abandon`."""
        if self._wake is None:
            self._loop = get_hub().loop
            self._wake = self._loop.async_()
            self._wake.start(self._deliver)
        with self._ready:
            if self._closed:
                raise ModelUnavailable(f"the model {self._name!r} is being unloaded")
            if self._hangs:
                raise hangs(self._name)
            self._pending.append(stream)
            self._ready.notify()

    @property
    def running(self) -> int:
        """Texts that are being written."""
        return len(self._streams)

    @property
    def stepping(self) -> list[int]:
        """When the step that lasts began, as `Batcher.running`."""
        began = self._began_ns
        return [] if began is None else [began]

    def abandon(self) -> None:
        """As `Batcher.abandon`."""
        with self._ready:
            self._hangs = True
            waiting, running = list(self._pending), list(self._streams)
        tell = get_hub().loop.run_callback
        for stream in waiting:
            tell(stream.end, hangs(self._name))
        for stream in running:
            tell(stream.end, given_up(self._name))

    def close(self) -> None:
        """Take no more streams, finish those that run, end the thread."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join()
        if self._wake is not None:
            # A watcher belongs to the hub's thread, and keeps this generator until it is closed.
            self._loop.run_callback_threadsafe(self._forget_hub)

    # --- in the model's thread -----------------------------------------------------------------

    def _work(self) -> None:
        while self._admit():
            try:
                self._step()
            except Exception as error:
                self._began_ns = None
                # Whose fault it is cannot be told apart: the weights, or TensorFlow.
                shown = error if isinstance(error, KeraportError) else InferenceError(str(error))
                self._news.extend((stream, None, shown) for stream in self._streams)
                self._keep([])
            self._wake.send()

    def _admit(self) -> bool:
        """Waits for something to do. False when there will be nothing more."""
        self._keep([i for i, stream in enumerate(self._streams) if not stream.over])
        with self._ready:
            while not (self._streams or self._pending):
                if self._closed:
                    return False
                self._ready.wait()
            new: list[Stream] = []
            while self._pending and len(self._streams) + len(new) < self._max_streams:
                stream = self._pending.popleft()
                if not stream.over:
                    new.append(stream)
        if new:
            now = time.monotonic_ns()
            for stream in new:
                stream.admitted_ns = now
            fresh = self._session.zero_states(len(new))
            self._states = [np.concatenate(pair) for pair in zip(self._states, fresh, strict=True)]
            self._streams += new
            self._said += [None] * len(new)
            self._windows += [deque(maxlen=self._window) for _ in new]
        return True

    def _keep(self, places: list[int]) -> None:
        """Only the streams at these places go on."""
        if len(places) == len(self._streams):
            return
        self._streams = [self._streams[i] for i in places]
        self._said = [self._said[i] for i in places]
        self._windows = [self._windows[i] for i in places]
        self._states = [state[places] for state in self._states]

    def _step(self) -> None:
        streams = self._streams
        if not streams:
            return
        for stream in streams:
            stream.largest = max(stream.largest, len(streams))
        started = self._began_ns = time.monotonic_ns()
        uniform = np.array([stream.uniform() for stream in streams], np.float32)
        inputs = [s.next_input(said) for s, said in zip(streams, self._said, strict=True)]
        said, self._states = self._session.step(
            self._fed(inputs),
            self._states,
            uniform,
            np.array([stream.diversity for stream in streams], np.float32),
            np.array([stream.top_k for stream in streams], np.int32),
        )
        self._began_ns = None
        self._on_step(len(streams), time.monotonic_ns() - started)
        drawn = [int(token) for token in said]
        self._said = list(drawn)
        going = []
        for i, (stream, token) in enumerate(zip(streams, drawn, strict=True)):
            last = False
            if token < 0:
                self._news.append((stream, None, non_finite()))
                last = True
            elif stream.speaks:
                self._news.append((stream, token, None))
                last = stream.said_one()
                if last:
                    self._news.append((stream, None, None))
            if not last:
                going.append(i)
        self._keep(going)

    def _fed(self, tokens: list[int]) -> Array:
        """int32 (n,), or (n, window) padded with 0 on the left for models without a step."""
        width = self._window
        if width is None:
            return np.array(tokens, np.int32)
        table = np.zeros((len(tokens), width), np.int32)
        for row, window, token in zip(table, self._windows, tokens, strict=True):
            window.append(token)
            row[width - len(window) :] = window
        return table

    # --- in the hub's thread -------------------------------------------------------------------

    def _deliver(self) -> None:
        # What is new meanwhile wakes the hub again; others shall have their turn before.
        for _ in range(len(self._news)):
            stream, token, error = self._news.popleft()
            if token is None:
                stream.end(error)
            elif not stream.over:
                stream.receive(token)

    def _forget_hub(self) -> None:
        """The thread has ended."""
        self._deliver()
        self._wake.stop()
        self._wake.close()
