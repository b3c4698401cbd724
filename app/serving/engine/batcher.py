"""Micro-batching: requests wait in a queue; whenever the model is free, all that wait run as one
batch.

Requests are greenlets of the gevent hub, all in one native thread. Each model runs in a native
thread of its own, since TensorFlow blocks without gevent's knowledge. The hub puts jobs into the
queue under a lock, all those of two iterations of its loop at once: waking the thread for each
would cost more than a small model does, and give it batches of one. The second iteration is for
clients that have just been answered: their next requests are on their way, and would else miss the
batch of all others each time. The thread takes the jobs, runs them and wakes the hub once per
batch, where the waiting greenlets continue.

Jobs in the background, such as those of explanations, have a queue of their own. Its jobs run while
no other job waits, so that these wait for one such run at the most.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

import numpy as np
from gevent import get_hub
from gevent.hub import Waiter

from app.serving.arrays import Array, rows_of
from app.serving.call import Call
from app.serving.engine.failures import late, non_finite
from app.serving.engine.model_thread import Fail, ModelThread, RunCounter, Uncounted


class Route(NamedTuple):
    """The part that the jobs of one batch have in common. signature: passed on to `run`. batchable:
    False runs each job alone, for signatures without a free batch dimension. finite: whether NaN or
    Infinity in a job's outputs is an error. background: whether all other jobs come first."""

    signature: str | None = None
    batchable: bool = True
    finite: bool = True
    background: bool = False


# The model as it is served: the native API and the pages use this route.
DEFAULT_ROUTE = Route()
RunBatch = Callable[[Sequence[Array], str | None, float], list[Array]]


class Job:
    """The rows that one request adds to a batch. `wait` may be called once."""

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
        # Written in the model's thread, before it passes the result on.
        self.queue_ns = self.infer_ns = self.batch = 0

    @property
    def over(self) -> bool:
        """Whether no request waits for it any more, or its deadline has passed. Safe from any
        thread."""
        return self.settled or time.monotonic() >= self.deadline

    def wait(self, call: Call) -> list[Array]:
        """Block the greenlet until the rows are computed. Returns the outputs. Raises the error of
        the run."""
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
            stages.note_run(self.arrived_ns, self.queue_ns, self.infer_ns)
        if isinstance(result, Exception):
            raise result
        done: list[Array] = result
        return done

    def settle(self, result: list[Array] | Exception) -> None:
        """Pass the result to the request, in a callback of the hub. Only the first call counts."""
        if self.settled:
            return
        self.settled = True
        if isinstance(result, Exception):
            self._batcher.forget(self)
        self._waiter.switch(result)

    def _expire(self) -> None:
        self.settle(late())


# A job with its outputs or its error.
Result = tuple[Job, list[Array] | Exception]


class Batcher(ModelThread[Result]):
    """The queue and the thread of one model version.

    run: computes a batch; takes one array per input, the signature and the latest deadline of its
    jobs; returns one array per output, rows first.
    max_batch_size: the most rows of any batch. most_rows: the largest batch for such rows; callable
    from any thread.
    max_delay_s: how long the first job of a batch waits for others; 0 runs those that wait at once.
    counter: counts the jobs that leave the queue, but not those in the background, whose waits say
    nothing of the load.
    """

    def __init__(
        self,
        run: RunBatch,
        *,
        name: str,
        max_batch_size: int,
        most_rows: Callable[[Sequence[Array], Route], int] | None = None,
        max_delay_s: float = 0.0,
        counter: RunCounter | None = None,
    ) -> None:
        super().__init__(name)
        self._run = run
        self.max_batch_size = max_batch_size
        self._most_rows = most_rows or (lambda inputs, route: max_batch_size)
        self._max_delay = max_delay_s
        self._counter = counter or Uncounted()
        self._arrived: list[Job] = []  # since the hub last filled the queue
        # Of the hub: fires once it has looked for further requests.
        self._next_iteration: Any = None
        self._queue: deque[Job] = deque()
        self._later: deque[Job] = deque()  # those in the background
        # Used in the model's thread: the jobs that run.
        self._taken: list[Job] = []
        self._thread.start()

    def submit(self, inputs: Sequence[Array], call: Call, route: Route = DEFAULT_ROUTE) -> Job:
        """Put at most `max_batch_size` rows into the queue, from the hub's thread.

        The caller limits how many may wait, since it knows what else a request costs: see
        `app.serving.models.model.Model`. Raises ModelUnavailable after `close` or `abandon`.
        """
        call.check()
        self._results.open()
        job = Job(self, inputs, call.deadline, route)
        with self._lock:
            self._check_open()
            self._arrived.append(job)
            arrived = len(self._arrived)
        if arrived == 1:
            loop = get_hub().loop
            if self._next_iteration is None:
                self._next_iteration = loop.timer(0)
            # The callback runs after all that has arrived is read, before the hub sleeps.
            self._next_iteration.start(loop.run_callback, self._enqueue)
        elif arrived >= self.max_batch_size:
            self._enqueue()
        return job

    def _enqueue(self) -> None:
        with self._ready:
            self._sort_arrived()
            self._ready.notify()

    def _sort_arrived(self) -> None:
        for job in self._arrived:
            (self._later if job.route.background else self._queue).append(job)
        self._arrived.clear()

    def forget(self, job: Job) -> None:
        """Remove a job that no request waits for any more from the queue, if it is still there."""
        with self._ready, suppress(ValueError):  # it is running or done
            queue = self._later if job.route.background else self._queue
            (self._arrived if job in self._arrived else queue).remove(job)

    @property
    def depth(self) -> int:
        """Number of waiting jobs."""
        return len(self._arrived) + len(self._queue) + len(self._later)

    def _on_close(self) -> None:
        self._sort_arrived()

    def _unfinished(self) -> tuple[list[Fail], list[Fail]]:
        waiting = [*self._arrived, *self._queue, *self._later]
        return [job.settle for job in waiting], [job.settle for job in self._taken]

    # --- in the model's thread -----------------------------------------------------------------

    def _work(self) -> None:
        while batch := self._collect():
            now = time.monotonic_ns()
            for job in batch:
                job.queue_ns = now - job.arrived_ns
            if not batch[0].route.background:
                self._counter.count_wait(len(batch), sum(job.queue_ns for job in batch))
            self._taken = batch
            self._results.extend(self._run_all(batch))
            self._taken = []
            # An idle thread keeps nothing of the last request.
            del batch, job
            self._results.wake()

    def _collect(self) -> list[Job]:
        """Return the next batch, in order of arrival, those in the background last; empty after
        `close`, once nothing waits."""
        with self._ready:
            while True:
                while not self._queue:
                    if self._later:
                        return self._take(self._later)
                    if self._closed:
                        return []
                    self._ready.wait()
                if self._max_delay and self._queue[0].route.batchable:
                    self._wait_for_more()
                if self._queue:  # else all were cancelled meanwhile
                    return self._take(self._queue)

    def _wait_for_more(self) -> None:
        until = time.monotonic() + self._max_delay
        most = self._most(self._queue[0])
        while sum(job.rows for job in self._queue) < most and not self._closed:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._ready.wait(left)

    def _take(self, queue: deque[Job]) -> list[Job]:
        first = queue.popleft()
        batch, rows = [first], first.rows
        if not first.route.batchable or first.route.background:
            return batch
        most = self._most(first) if queue else 0
        kept: list[Job] = []
        while queue and rows < most:
            job = queue.popleft()
            alike = (job.route, job.shape) == (first.route, first.shape)
            if alike and rows + job.rows <= most:
                batch.append(job)
                rows += job.rows
            else:
                kept.append(job)
        queue.extendleft(reversed(kept))
        return batch

    def _most(self, job: Job) -> int:
        return self._most_rows(job.inputs, job.route)

    def _run_all(self, batch: list[Job]) -> list[Result]:
        """Return the jobs with their results. Jobs whose deadline has passed do not run."""
        done: list[Result] = []
        live = []
        for job in batch:
            if job.over:
                done.append((job, late()))
            else:
                live.append(job)
        return done + self._run_jobs(live) if live else done

    def _run_jobs(self, batch: list[Job]) -> list[Result]:
        """Run jobs together. If that fails, run each of them again alone, so that only the bad one
        fails."""
        started = self.running_since = time.monotonic_ns()
        try:
            return list(zip(batch, self._run_together(batch), strict=True))
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0], error)]
        finally:
            self.running_since = None
            took, rows = time.monotonic_ns() - started, sum(job.rows for job in batch)
            for job in batch:
                job.infer_ns += took
                job.batch = job.batch or rows
        return [result for job in batch for result in self._run_all([job])]

    def _run_together(self, batch: list[Job]) -> list[list[Array] | Exception]:
        route = batch[0].route
        deadline = max(job.deadline for job in batch)
        inputs = batch[0].inputs
        if len(batch) > 1:
            columns = zip(*(job.inputs for job in batch), strict=True)
            inputs = [np.concatenate(column) for column in columns]
        with self.first_run():
            outputs = self._run(inputs, route.signature, deadline)
        self.first_run = nullcontext
        if len(batch) == 1:
            return [outputs if not route.finite or _finite(outputs) else non_finite()]
        total = sum(job.rows for job in batch)
        if any(len(out) != total for out in outputs):
            # The outputs do not have one row per input row, so they cannot be divided between jobs.
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

    def _deliver(self, result: Result) -> None:
        job, outputs = result
        job.settle(outputs)


def _finite(outputs: list[Array]) -> bool:
    return all(out.dtype.kind != "f" or bool(np.isfinite(out).all()) for out in outputs)
