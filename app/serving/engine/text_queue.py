"""The queue of texts: many are generated at once, and each step adds a token to all of them.

As in `app.serving.engine.batcher`, requests are greenlets of the hub, and the model runs in a
native thread of its own. A stream may join before any step and leave after any: none waits for
another to end. The hub is woken once per step. Slow readers never delay a step; unread tokens stay
in their stream's buffer, which holds at most the whole text.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Protocol

import gevent
import numpy as np
from gevent import get_hub
from gevent.hub import Waiter

from app.errors import DeadlineExceeded, InferenceError, KeraportError
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.engine.failures import non_finite
from app.serving.engine.model_thread import Fail, ModelThread, RunCounter, Uncounted


class StepSession(Protocol):
    """A session that runs steps: `app.serving.engine.sessions.text_session`."""

    def zero_states(self, rows: int) -> list[Array]:
        """Return the states of texts that have not begun."""

    def step(
        self,
        tokens: Array,
        states: Sequence[Array],
        uniform: Array,
        diversity: Array,
        top_k: Array,
    ) -> tuple[Array, list[Array]]:
        """Return the next token of each row, and the states after it."""


class Stream:
    """One text while it is generated. `tokens` yields them as they come, in a greenlet.

    seed: indices of the tokens to begin with, at least one. count: tokens to generate. top_k: 0 for
    all. random_seed: the same seed gives the same text, whatever else is generated at the same
    time.
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
        self.largest_batch = 0

    # --- in the hub's thread -------------------------------------------------------------------

    def tokens(self, call: Call, heartbeat_s: float | None = None) -> Iterator[int | None]:
        """Yield the tokens as they come, and None after each `heartbeat_s` seconds without one.
        Leaving the loop early frees the stream's place. Raises the error that ended the text
        early."""
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
        """Wait until a token or the end arrives; False if neither does within `seconds`."""
        self._waiter = Waiter()
        with gevent.Timeout(seconds, False):  # type: ignore[arg-type]
            self._waiter.get()
            return True
        self._waiter = None
        return False

    def timings(self) -> tuple[int, int]:
        """Return the nanoseconds that the stream has waited, and those since it was admitted."""
        now = time.monotonic_ns()
        admitted = self.admitted_ns or now
        return admitted - self.arrived_ns, now - admitted

    def end(self, error: KeraportError | None) -> None:
        """End the stream: the text is complete, or `error` has ended it."""
        if not self.over:
            self.over = True
            self._error = error
        self._wake()

    def receive(self, token: int) -> None:
        """Add a token."""
        self._received.append(token)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.switch(None)

    def _expire(self) -> None:
        self.end(DeadlineExceeded("the text was not finished within the time allowed"))

    # --- in the model's thread -----------------------------------------------------------------

    def next_input(self, last: int | None) -> int:
        """Return the input of the next step: the seed first, then the last token."""
        return self._input.popleft() if self._input else int(last or 0)

    @property
    def past_seed(self) -> bool:
        """Whether the last step has added a new token."""
        return not self._input

    def uniform(self) -> np.float32:
        """Return the number in [0, 1) that selects the next token. Drawn for new tokens only, so
        that the length of the seed does not matter."""
        drawn = 0.0 if len(self._input) > 1 else self._random.random(dtype=np.float32)
        return np.float32(drawn)

    def count_token(self) -> bool:
        """Count a token; True if it was the last."""
        self._left -= 1
        return self._left == 0


# A stream and its next token, or the error that ends it; neither once it is complete.
StreamEvent = tuple[Stream, int | None, KeraportError | None]


class TextQueue(ModelThread[StreamEvent]):
    """The streams and the thread of one model version.

    max_streams: texts that are generated at once; further ones wait for a place. window: the number
    of tokens that a step reads, for a model that cannot carry its state along. counter: counts the
    steps, each with its texts.
    """

    def __init__(
        self,
        session: StepSession,
        *,
        name: str,
        max_streams: int,
        window: int | None = None,
        counter: RunCounter | None = None,
    ) -> None:
        super().__init__(name)
        self._session = session
        self._window = window
        self._max_streams = max_streams
        self._counter = counter or Uncounted()
        self._pending: deque[Stream] = deque()
        # Used in the model's thread: the running streams, the last token of each, and their states.
        self._streams: list[Stream] = []
        self._last_tokens: list[int | None] = []
        self._windows: list[deque[int]] = []
        self._states = session.zero_states(0)
        self._thread.start()

    def start(self, stream: Stream) -> None:
        """Start to generate `stream`, from the hub's thread. Raises ModelUnavailable after `close`
        or `abandon`."""
        self._results.open()
        with self._ready:
            self._check_open()
            self._pending.append(stream)
            self._ready.notify()

    @property
    def texts(self) -> int:
        """Number of texts that are being generated."""
        return len(self._streams)

    def _unfinished(self) -> tuple[list[Fail], list[Fail]]:
        return [stream.end for stream in self._pending], [s.end for s in self._streams]

    # --- in the model's thread -----------------------------------------------------------------

    def _work(self) -> None:
        while self._admit():
            try:
                self._step()
            except Exception as error:
                self.running_since = None
                # The cause is unknown: the weights, or TensorFlow.
                shown = error if isinstance(error, KeraportError) else InferenceError(str(error))
                self._results.extend([(stream, None, shown) for stream in self._streams])
                self._keep([])
            self._results.wake()

    def _admit(self) -> bool:
        """Wait for streams, and admit them. False after `close`, once there are none."""
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
            self._last_tokens += [None] * len(new)
            self._windows += [deque(maxlen=self._window) for _ in new]
        return True

    def _keep(self, places: list[int]) -> None:
        """Keep only the streams at these places."""
        if len(places) == len(self._streams):
            return
        self._streams = [self._streams[i] for i in places]
        self._last_tokens = [self._last_tokens[i] for i in places]
        self._windows = [self._windows[i] for i in places]
        self._states = [state[places] for state in self._states]

    def _step(self) -> None:
        streams = self._streams
        if not streams:
            return
        for stream in streams:
            stream.largest_batch = max(stream.largest_batch, len(streams))
        started = self.running_since = time.monotonic_ns()
        uniform = np.array([stream.uniform() for stream in streams], np.float32)
        inputs = [s.next_input(last) for s, last in zip(streams, self._last_tokens, strict=True)]
        with self.first_run():
            tokens, self._states = self._session.step(
                self._fed(inputs),
                self._states,
                uniform,
                np.array([stream.diversity for stream in streams], np.float32),
                np.array([stream.top_k for stream in streams], np.int32),
            )
        self.first_run = nullcontext
        self.running_since = None
        self._counter.count_run(len(streams), time.monotonic_ns() - started)
        drawn = [int(token) for token in tokens]
        self._last_tokens = list(drawn)
        running = []
        events: list[StreamEvent] = []
        for i, (stream, token) in enumerate(zip(streams, drawn, strict=True)):
            last = False
            if token < 0:
                events.append((stream, None, non_finite()))
                last = True
            elif stream.past_seed:
                events.append((stream, token, None))
                last = stream.count_token()
                if last:
                    events.append((stream, None, None))
            if not last:
                running.append(i)
        self._results.extend(events)
        self._keep(running)

    def _fed(self, tokens: list[int]) -> Array:
        """Return the input of a step: int32 (n,), or for models without a step (n, window), padded
        with 0 on the left."""
        width = self._window
        if width is None:
            return np.array(tokens, np.int32)
        table = np.zeros((len(tokens), width), np.int32)
        for row, window, token in zip(table, self._windows, tokens, strict=True):
            window.append(token)
            row[width - len(window) :] = window
        return table

    # --- in the hub's thread -------------------------------------------------------------------

    def _deliver(self, result: StreamEvent) -> None:
        stream, token, error = result
        if token is None:
            stream.end(error)
        elif not stream.over:
            stream.receive(token)
