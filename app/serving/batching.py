"""Requests wait in a queue; whenever the model is free, all that wait run as one batch.

Two worlds meet here. Requests are greenlets of the gevent hub, all in one native thread; each
model runs in a native thread of its own, since TensorFlow blocks without knowing gevent. The hub
puts jobs into the queue under a lock, all those of one turn of its loop at once: waking the thread
for each would cost more than a small model does, and give it batches of one. The thread takes them,
runs them and wakes the hub once a batch (`loop.async_()` is gevent's only thread-safe call), where
the waiting greenlets continue.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from gevent import get_hub
from gevent.hub import Waiter
from numpy.typing import NDArray

from app.errors import (
    DeadlineExceeded,
    ModelUnavailable,
    NonFiniteOutput,
)
from app.serving.call import Call
from app.serving.watchdog import given_up, hangs

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Route:
    """What jobs of one batch have in common. signature: passed on to `run`. batchable: False runs
    each job alone, for signatures without a free batch dimension. finite: whether NaN or Infinity
    in a job's outputs is an error."""

    signature: str | None = None
    batchable: bool = True
    finite: bool = True


# How a model is asked in its own terms.
SERVED = Route()
Run = Callable[[Sequence[Array], str | None, float], list[Array]]


def rows_of(inputs: Sequence[Array]) -> int:
    """How many rows these are; a single value counts as one."""
    return len(inputs[0]) if inputs and inputs[0].ndim else 1


class Job:
    """The rows that one request adds to a batch. Its result may be asked for once."""

    __slots__ = (
        "_batcher",
        "_waiter",
        "arrived_ns",
        "batch",
        "deadline",
        "infer_ns",
        "inputs",
        "queue_ns",
        "route",
        "rows",
        "settled",
        "shape",
    )

    def __init__(
        self, batcher: Batcher, inputs: Sequence[Array], deadline: float, route: Route
    ) -> None:
        self._batcher = batcher
        self._waiter: Waiter[Any] = Waiter()
        self.inputs = inputs
        self.deadline = deadline
        self.route = route
        self.rows = rows_of(inputs)
        # Only rows of one shape can share an array.
        self.shape = tuple(a.shape[1:] for a in inputs)
        self.settled = False
        self.arrived_ns = time.monotonic_ns()
        # Written in the model's thread, before the result is handed over.
        self.queue_ns = self.infer_ns = self.batch = 0

    @property
    def over(self) -> bool:
        """Whether no one waits for it any more, or its time is over. From any thread."""
        return self.settled or time.monotonic() >= self.deadline

    def wait(self, call: Call) -> list[Array]:
        """Block the greenlet until the rows are computed. Raises what went wrong."""
        call.on_cancel(self.settle)
        timer = get_hub().loop.timer(call.remaining)
        # From now, not from when the hub last looked at the clock.
        timer.start(self._expire, update=True)
        try:
            result = self._waiter.get()
        except BaseException:  # the greenlet itself was killed
            self.settled = True
            self._batcher.forget(self)
            raise
        finally:
            timer.stop()
            timer.close()
            call.on_cancel(None)
            stages = call.stages
            stages.queue_ns += self.queue_ns
            stages.infer_ns += self.infer_ns
            stages.batch = max(stages.batch, self.batch)
        if isinstance(result, Exception):
            raise result
        done: list[Array] = result
        return done

    def settle(self, result: list[Array] | Exception) -> None:
        """Hand over the result, from a callback of the hub. The first one counts."""
        if self.settled:
            return
        self.settled = True
        if isinstance(result, Exception):
            self._batcher.forget(self)
        self._waiter.switch(result)

    def _expire(self) -> None:
        self.settle(late())


class Batcher:
    """The queue and the thread of one model version.

    run: computes a batch; one array an input, the route's signature and when the last of its jobs
    is over in, one array an output out, first dimension the rows.
    max_batch_size: rows of any batch. most_rows: of a batch of rows like these, for any thread.
    max_delay_s: how long the first job of a batch waits for company; 0 takes whatever is there, at
    once. on_take: told in the model's
    thread of the jobs that leave the queue together: how many, and how many nanoseconds they have
    waited altogether.
    """

    def __init__(
        self,
        run: Run,
        *,
        name: str,
        max_batch_size: int,
        most_rows: Callable[[Sequence[Array], Route], int] | None = None,
        max_delay_s: float = 0.0,
        on_take: Callable[[int, int], None] = lambda jobs, ns: None,
    ) -> None:
        self._run = run
        self._name = name
        self.max_batch_size = max_batch_size
        self._most_rows = most_rows or (lambda inputs, route: max_batch_size)
        self._max_delay = max_delay_s
        self._on_take = on_take
        self._arrived: list[Job] = []  # in this turn of the hub's loop
        self._queue: deque[Job] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._finished: deque[tuple[Job, list[Array] | Exception]] = deque()
        self._closed = self._hangs = False
        # In the model's thread: what it works on, and when the run that lasts began.
        self._taken: list[Job] = []
        self._began_ns: int | None = None
        self._loop: Any = None
        self._wake: Any = None
        self._thread = threading.Thread(target=self._work, name=f"model-{name}", daemon=True)
        self._thread.start()

    def submit(self, inputs: Sequence[Array], call: Call, route: Route = SERVED) -> Job:
        """Put at most `max_batch_size` rows into the queue, from the hub's thread.

        How many may wait is for the caller to bound, who knows what else a request costs: see
        `app.serving.model.Model`. Raises ModelUnavailable after `close` or `abandon`.
        """
        call.check()
        if self._wake is None:
            # Belongs to the loop that serves requests, which may start after the model is loaded.
            self._loop = get_hub().loop
            self._wake = self._loop.async_()
            self._wake.start(self._deliver)
        job = Job(self, inputs, call.deadline, route)
        with self._ready:
            if self._closed:
                raise ModelUnavailable(f"the model {self._name!r} is being unloaded")
            if self._hangs:
                raise hangs(self._name)
            self._arrived.append(job)
            arrived = len(self._arrived)
        if arrived == 1:
            # Runs once every request that has come by now is read, before the hub sleeps.
            get_hub().loop.run_callback(self._enqueue)
        elif arrived >= self.max_batch_size:
            self._enqueue()
        return job

    def _enqueue(self) -> None:
        with self._ready:
            self._queue.extend(self._arrived)
            self._arrived.clear()
            self._ready.notify()

    def forget(self, job: Job) -> None:
        """Take a job that nobody waits for any more out of the queue, if it is still there."""
        with self._ready, suppress(ValueError):  # it is running, or done
            (self._arrived if job in self._arrived else self._queue).remove(job)

    @property
    def depth(self) -> int:
        """Jobs that wait."""
        return len(self._arrived) + len(self._queue)

    @property
    def running(self) -> list[int]:
        """When the run that lasts began, on the clock of `time.monotonic_ns`; empty where none
        does."""
        began = self._began_ns
        return [] if began is None else [began]

    def abandon(self) -> None:
        """Wait no longer for a run that does not end, from the hub's thread: see `given_up`."""
        with self._ready:
            self._hangs = True
            waiting = [*self._arrived, *self._queue]
            running = list(self._taken)
        tell = get_hub().loop.run_callback
        for job in waiting:
            tell(job.settle, hangs(self._name))
        for job in running:
            tell(job.settle, given_up(self._name))

    def close(self) -> None:
        """Take no more jobs, finish those that wait, end the thread. Call from a native thread or
        once the hub has stopped: it blocks until the last batch is done."""
        with self._ready:
            self._closed = True
            self._queue.extend(self._arrived)
            self._arrived.clear()
            self._ready.notify()
        self._thread.join()
        if self._wake is not None:
            # A watcher belongs to the hub's thread, and keeps this batcher until it is closed.
            self._loop.run_callback_threadsafe(self._forget_hub)

    # --- in the model's thread -----------------------------------------------------------------

    def _work(self) -> None:
        while batch := self._collect():
            now = time.monotonic_ns()
            for job in batch:
                job.queue_ns = now - job.arrived_ns
            self._on_take(len(batch), sum(job.queue_ns for job in batch))
            self._taken = batch
            self._finished.extend(self._results(batch))
            self._taken = []
            del batch
            self._wake.send()

    def _collect(self) -> list[Job]:
        """The next batch, in order of arrival; empty when there will be no more."""
        with self._ready:
            while True:
                while not self._queue:
                    if self._closed:
                        return []
                    self._ready.wait()
                if self._max_delay and self._queue[0].route.batchable:
                    self._await_company()
                if self._queue:  # else all were cancelled meanwhile
                    return self._take()

    def _await_company(self) -> None:
        until = time.monotonic() + self._max_delay
        most = self._most(self._queue[0])
        while sum(job.rows for job in self._queue) < most and not self._closed:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._ready.wait(left)

    def _take(self) -> list[Job]:
        first = self._queue.popleft()
        batch, rows = [first], first.rows
        if not first.route.batchable:
            return batch
        most = self._most(first) if self._queue else 0
        kept: list[Job] = []
        while self._queue and rows < most:
            job = self._queue.popleft()
            alike = (job.route, job.shape) == (first.route, first.shape)
            if alike and rows + job.rows <= most:
                batch.append(job)
                rows += job.rows
            else:
                kept.append(job)
        self._queue.extendleft(reversed(kept))
        return batch

    def _most(self, job: Job) -> int:
        return self._most_rows(job.inputs, job.route)

    def _results(self, batch: list[Job]) -> list[tuple[Job, list[Array] | Exception]]:
        """The jobs with their results. Those whose time is over are not run."""
        done: list[tuple[Job, list[Array] | Exception]] = []
        live = []
        for job in batch:
            if job.over:
                done.append((job, late()))
            else:
                live.append(job)
        return done + self._run_jobs(live) if live else done

    def _run_jobs(self, batch: list[Job]) -> list[tuple[Job, list[Array] | Exception]]:
        """What fails together is tried alone, so that one bad item is the only one to pay for
        it."""
        started = self._began_ns = time.monotonic_ns()
        try:
            return list(zip(batch, self._run_together(batch), strict=True))
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0], error)]
        finally:
            self._began_ns = None
            took, rows = time.monotonic_ns() - started, sum(job.rows for job in batch)
            for job in batch:
                job.infer_ns += took
                job.batch = job.batch or rows
        return [result for job in batch for result in self._results([job])]

    def _run_together(self, batch: list[Job]) -> list[list[Array] | Exception]:
        route = batch[0].route
        deadline = max(job.deadline for job in batch)
        if len(batch) == 1:
            outputs = self._run(batch[0].inputs, route.signature, deadline)
            return [outputs if not route.finite or _finite(outputs) else non_finite()]
        columns = zip(*(job.inputs for job in batch), strict=True)
        inputs = [np.concatenate(column) for column in columns]
        outputs = self._run(inputs, route.signature, deadline)
        total = sum(job.rows for job in batch)
        if any(len(out) != total for out in outputs):
            # The outputs are not one a row after all; whose is which, nobody can say.
            raise ValueError("outputs do not follow the batch")
        all_finite = not route.finite or _finite(outputs)
        results: list[list[Array] | Exception] = []
        start = 0
        for job in batch:
            part = [out[start : start + job.rows] for out in outputs]
            results.append(part if all_finite or _finite(part) else non_finite())
            start += job.rows
        return results

    # --- in the hub's thread -------------------------------------------------------------------

    def _deliver(self) -> None:
        finished = self._finished
        # Those that end meanwhile wake the hub again: else it would serve the same clients over and
        # over, and never look at the others.
        for _ in range(len(finished)):
            job, result = finished.popleft()
            job.settle(result)

    def _forget_hub(self) -> None:
        """The thread has ended."""
        self._deliver()
        self._wake.stop()
        self._wake.close()


def _finite(outputs: list[Array]) -> bool:
    return all(out.dtype.kind != "f" or bool(np.isfinite(out).all()) for out in outputs)


def late() -> DeadlineExceeded:
    """The error for a request whose time was over before its run ended."""
    return DeadlineExceeded("the model gave no answer within the time allowed")


def non_finite() -> NonFiniteOutput:
    """The error for an answer of NaN or Infinity."""
    return NonFiniteOutput(
        "the model answered NaN or Infinity for this input; check its range, or the model's weights"
    )
