"""What becomes of a call whose time is over, that is cancelled, or that runs in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
import pytest

from app.errors import ClientDisconnected, DeadlineExceeded, ModelUnavailable
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.engine.batcher import DEFAULT_ROUTE, Batcher, Route
from tests.unit.batching import Make, Model, ask, batchers, call, held, rows


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def make(model: Model) -> Iterator[Make]:
    with batchers(model) as make:
        yield make


def test_a_cancelled_call_leaves_the_queue(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    gone = call()
    other = gevent.spawn(ask, batcher, rows(1), gone)
    gevent.sleep(0.05)
    assert batcher.depth == 1
    gevent.get_hub().loop.run_callback(gone.cancel, ClientDisconnected("gone"))
    other.join(5)
    assert isinstance(other.value, ClientDisconnected)
    assert batcher.depth == 0
    model.gate.set()
    first.join()
    assert model.batches == [1]


def test_a_call_cancelled_before_it_submits_never_queues(make: Make, model: Model) -> None:
    gone = call()
    gone.cancel(ClientDisconnected("gone"))
    assert isinstance(ask(make(), rows(1), gone), ClientDisconnected)
    assert model.batches == []


def test_a_call_cancelled_while_it_runs_gets_its_error_at_once(make: Make, model: Model) -> None:
    batcher = make()
    model.gate.clear()
    gone = call()
    running = gevent.spawn(ask, batcher, rows(1), gone)
    while not model.started.is_set():
        gevent.sleep(0.001)
    gevent.get_hub().loop.run_callback(gone.cancel, ClientDisconnected("gone"))
    running.join(5)
    assert isinstance(running.value, ClientDisconnected)
    model.gate.set()
    assert ask(batcher, rows(4)) == [8], "the late result goes nowhere"


def test_the_deadline_takes_a_job_out_of_the_queue(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    hasty = gevent.spawn(ask, batcher, rows(1), call(0.05))
    patient = gevent.spawn(ask, batcher, rows(2), call(10))
    hasty.join(5)
    assert isinstance(hasty.value, DeadlineExceeded)
    assert batcher.depth == 1
    model.gate.set()
    gevent.joinall([first, patient])
    assert patient.value == [4]
    assert model.batches == [1, 1]


def test_the_deadline_counts_from_the_call(make: Make, model: Model) -> None:
    """However long the hub was kept from running, as by a model that was loading."""
    batcher = make()
    gevent.sleep(0.01)
    time.sleep(1.2)
    model.gate.clear()
    threading.Timer(0.05, model.gate.set).start()
    assert ask(batcher, rows(1), call(1)) == [2]


def test_a_deadline_in_the_past_is_refused(make: Make, model: Model) -> None:
    assert isinstance(ask(make(), rows(1), call(-1)), DeadlineExceeded)
    assert model.batches == []


def test_a_killed_greenlet_leaves_the_queue(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    other = gevent.spawn(ask, batcher, rows(1))
    gevent.sleep(0.05)
    other.kill()
    assert batcher.depth == 0
    model.gate.set()
    first.join()
    assert first.value == [200]


def test_jobs_whose_time_is_over_are_not_run(make: Make, model: Model) -> None:
    """The hub may be late in taking them out of the queue."""
    batcher = make()
    first = held(batcher, model)
    late, good = Call(time.monotonic() + 0.05), call()
    jobs = [batcher.submit(rows(1), late), batcher.submit(rows(2), good)]
    batcher._enqueue()
    time.sleep(0.1)  # the hub stands still
    model.gate.set()
    with pytest.raises(DeadlineExceeded):
        jobs[0].wait(late)
    assert jobs[1].wait(good)[0].tolist() == [4]
    first.join()
    assert model.batches == [1, 1]


def test_a_batch_that_no_one_waits_for_is_not_run(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    jobs = [batcher.submit(rows(i), call()) for i in range(3)]
    batcher._enqueue()
    for job in jobs:
        job.settled = True  # just as the thread takes them
    model.gate.set()
    first.join()
    assert ask(batcher, rows(5)) == [10]
    assert model.batches == [1, 1]


def test_what_fails_together_is_not_tried_alone_once_its_time_is_over() -> None:
    """Or a batch of long runs would become as many long runs in turn."""
    runs: list[int] = []

    def run(inputs: Sequence[Array], signature: str | None, deadline: float) -> list[Array]:
        runs.append(len(inputs[0]))
        time.sleep(max(0.0, deadline - time.monotonic()))
        raise DeadlineExceeded("a loop was ended")

    batcher = Batcher(run, name="m", max_batch_size=8)
    calls = [call(0.2) for _ in range(8)]
    jobs = [gevent.spawn(ask, batcher, rows(i), each) for i, each in enumerate(calls)]
    gevent.joinall(jobs)
    batcher.close()
    assert [type(job.value) for job in jobs] == [DeadlineExceeded] * 8
    assert runs == [8]


def test_a_run_gets_the_latest_deadline_of_its_jobs() -> None:
    told: list[float] = []

    def run(inputs: Sequence[Array], signature: str | None, deadline: float) -> list[Array]:
        told.append(deadline)
        return list(inputs)

    batcher = Batcher(run, name="m", max_batch_size=8)
    calls = [call(seconds) for seconds in (5, 20, 10)]
    jobs = [gevent.spawn(ask, batcher, rows(1), each) for each in calls]
    gevent.joinall(jobs)
    batcher.close()
    assert told == [calls[1].deadline]


LATER = Route(background=True)


def test_all_other_jobs_run_before_those_in_the_background(make: Make, model: Model) -> None:
    batcher = make(max_batch_size=1)
    model.gate.clear()
    first = gevent.spawn(ask, batcher, rows(0))
    gevent.sleep(0.05)
    assert model.started.wait(10)
    ended: list[str] = []

    def note(name: str, route: Route) -> None:
        ask(batcher, rows(1), route=route)
        ended.append(name)

    later = [gevent.spawn(note, "later", LATER) for _ in range(3)]
    gevent.sleep(0.05)
    others = [gevent.spawn(note, "other", DEFAULT_ROUTE) for _ in range(3)]
    gevent.sleep(0.05)
    assert batcher.depth == 6
    model.gate.set()
    every: list[Any] = [first, *later, *others]
    gevent.joinall(every, raise_error=True)
    assert ended == ["other"] * 3 + ["later"] * 3


def test_a_job_waits_for_one_run_in_the_background_at_most(make: Make, model: Model) -> None:
    batcher = make(max_batch_size=4)
    model.gate.clear()
    later = [gevent.spawn(ask, batcher, rows(7), None, LATER) for _ in range(4)]
    gevent.sleep(0.05)
    assert model.started.wait(10)
    other = gevent.spawn(ask, batcher, rows(1, 2))
    gevent.sleep(0.05)
    model.gate.set()
    assert other.get() == [2, 4]
    gevent.joinall(later, raise_error=True)
    # Each alone, and the other's right after the one that ran.
    assert model.batches == [1, 2, 1, 1, 1]


def test_jobs_in_the_background_end_with_their_call(make: Make, model: Model) -> None:
    batcher = make()
    model.gate.clear()
    running = gevent.spawn(ask, batcher, rows(0))
    gevent.sleep(0.05)
    cancelled = call()
    gone = gevent.spawn(ask, batcher, rows(1), cancelled, LATER)
    late = gevent.spawn(ask, batcher, rows(1), call(0.1), LATER)
    gevent.sleep(0.05)
    gevent.get_hub().loop.run_callback(cancelled.cancel, ClientDisconnected("gone"))
    assert isinstance(gone.get(), ClientDisconnected)
    assert isinstance(late.get(), DeadlineExceeded)
    assert batcher.depth == 0
    model.gate.set()
    running.get()


def test_jobs_in_the_background_are_finished_or_abandoned(make: Make, model: Model) -> None:
    batcher = make(max_batch_size=1)
    model.gate.clear()
    running = gevent.spawn(ask, batcher, rows(0))
    gevent.sleep(0.05)
    later = gevent.spawn(ask, batcher, rows(1), None, LATER)
    gevent.sleep(0.05)
    batcher.abandon()
    assert isinstance(later.get(), ModelUnavailable)
    assert isinstance(running.get(), DeadlineExceeded)
    model.gate.set()
    closing = make(max_batch_size=1)
    model.gate.clear()
    jobs = [gevent.spawn(ask, closing, rows(n), None, LATER) for n in (1, 2)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.get_hub().threadpool.apply(closing.close)
    assert [job.get() for job in jobs] == [[2], [4]]
