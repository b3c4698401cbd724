"""The queue and the batches, with plain functions in place of a model."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import gevent
import numpy as np
import pytest

from app.errors import InvalidInput, ModelUnavailable, NonFiniteOutput
from app.serving.arrays import Array
from app.serving.engine.batcher import DEFAULT_ROUTE, Batcher, Route
from app.serving.engine.model_thread import Uncounted
from tests.unit.batching import Make, Model, ask, batchers, call, held, rows


class _CountedWake:
    """gevent's watcher, and how often it was told to wake the hub."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self.sends = 0

    def send(self) -> None:
        self.sends += 1
        self._watcher.send()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def make(model: Model) -> Iterator[Make]:
    with batchers(model) as make:
        yield make


def test_all_that_wait_run_together_and_everybody_gets_his_own(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    others = [gevent.spawn(ask, batcher, rows(i)) for i in range(6)]
    gevent.sleep(0.05)
    assert batcher.depth == 6
    model.gate.set()
    gevent.joinall([first, *others])
    assert first.value == [200]
    assert [g.value for g in others] == [[0], [2], [4], [6], [8], [10]]
    assert model.batches == [1, 4, 2]


def test_rows_are_counted_not_requests(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    jobs = [rows(1, 2, 3), rows(4, 5), rows(6)]
    others = [gevent.spawn(ask, batcher, job) for job in jobs]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert [g.value for g in others] == [[2, 4, 6], [8, 10], [12]]
    # 3 + 2 rows do not fit into 4, 3 + 1 do.
    assert model.batches == [1, 4, 2]


def test_only_rows_of_one_shape_share_a_batch(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    wide = [np.ones((1, 3), np.float32)]
    others = [gevent.spawn(ask, batcher, job) for job in (rows(1), wide, rows(2), wide)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert [g.value for g in others] == [[2], [[2, 2, 2]], [4], [[2, 2, 2]]]
    assert model.batches == [1, 2, 2]


def test_a_model_without_a_batch_dimension_runs_each_alone(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    alone = Route(batchable=False)
    others = [gevent.spawn(ask, batcher, rows(i), route=alone) for i in range(3)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert model.batches == [1, 1, 1, 1]


def test_only_what_is_asked_in_the_same_way_shares_a_batch(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    ways = [DEFAULT_ROUTE, Route("other"), DEFAULT_ROUTE, Route("other"), Route(finite=False)]
    others = [gevent.spawn(ask, batcher, rows(i), route=way) for i, way in enumerate(ways)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert [g.value for g in others] == [[0], [2], [4], [6], [8]]
    assert model.batches == [1, 2, 2, 1]


def test_not_a_number_is_an_answer_where_it_is_allowed(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    allowed = Route(finite=False)
    others = [gevent.spawn(ask, batcher, rows(v), route=allowed) for v in (1, -1)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert others[0].value == [2]
    assert str(others[1].value) == "[nan]"
    assert str(ask(batcher, rows(-1), route=allowed)) == "[nan]"
    assert isinstance(ask(batcher, rows(-1)), NonFiniteOutput)


def test_one_bad_item_fails_alone(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    others = [gevent.spawn(ask, batcher, rows(v)) for v in (1, 666, -1, 3)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    good, bad, nan, also_good = (g.value for g in others)
    assert (good, also_good) == ([2], [6])
    assert isinstance(bad, InvalidInput)
    assert isinstance(nan, NonFiniteOutput)


def test_nan_among_finite_neighbours(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    others = [gevent.spawn(ask, batcher, rows(v)) for v in (1, -1, 3)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert [type(g.value) for g in others] == [list, NonFiniteOutput, list]
    assert model.batches == [1, 3], "finite neighbours need no second run"


def test_max_delay_waits_for_company_but_not_when_the_batch_is_full(
    make: Make, model: Model
) -> None:
    batcher = make(max_delay_s=0.3)
    started = time.monotonic()
    waiting = [gevent.spawn(ask, batcher, rows(i)) for i in range(3)]
    gevent.joinall(waiting)
    assert model.batches == [3]
    assert time.monotonic() - started >= 0.3
    model.batches.clear()
    late = make(max_delay_s=60)
    waiting = [gevent.spawn(ask, late, rows(i)) for i in range(4)]
    gevent.joinall(waiting, timeout=10)
    assert model.batches == [4]


def test_the_hub_is_woken_once_a_batch(
    make: Make, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = make(max_batch_size=64)
    first = held(batcher, model)
    wake = _CountedWake(batcher._results._watcher)
    monkeypatch.setattr(batcher._results, "_watcher", wake)
    others = [gevent.spawn(ask, batcher, rows(i)) for i in range(50)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert model.batches == [1, 50]
    assert wake.sends == 2


def test_close_finishes_what_waits_and_takes_no_more(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    other = gevent.spawn(ask, batcher, rows(1))
    gevent.sleep(0.05)
    closing = gevent.get_hub().threadpool.spawn(batcher.close)
    gevent.sleep(0.05)
    assert isinstance(ask(batcher, rows(2)), ModelUnavailable)
    model.gate.set()
    gevent.joinall([first, other], timeout=5)
    closing.get(timeout=5)
    assert other.value == [2]


def test_an_idle_thread_keeps_no_rows(make: Make) -> None:
    """Those of the largest requests take hundreds of megabytes."""
    batcher = make()
    found = rows(1, 2)
    kept = weakref.ref(found[0])
    job = batcher.submit(found, call())
    job.wait(call())
    del found, job
    gevent.sleep(0.01)  # the hub has returned from what it has delivered
    until = time.monotonic() + 5
    while kept() is not None and time.monotonic() < until:
        gevent.sleep(0.01)
    assert kept() is None


def test_outputs_that_do_not_follow_the_batch_are_computed_one_by_one(make: Make) -> None:
    def run(inputs: Sequence[Array]) -> list[Array]:
        return [np.array([inputs[0].sum()])]

    gate = threading.Event()

    def gated(inputs: Sequence[Array], signature: str | None, deadline: float) -> list[Array]:
        gate.wait(10)
        return run(inputs)

    batcher = Batcher(gated, name="sum", max_batch_size=8)
    jobs = [gevent.spawn(ask, batcher, rows(v)) for v in (1, 2, 3)]
    gevent.sleep(0.05)
    gate.set()
    gevent.joinall(jobs)
    assert [g.value for g in jobs] == [[1], [2], [3]]
    batcher.close()


def test_a_thousand_requests_over_many_batches_are_all_right(make: Make, model: Model) -> None:
    batcher = make(max_batch_size=32)
    jobs = [gevent.spawn(ask, batcher, rows(i + 0.5)) for i in range(1000)]
    gevent.joinall(jobs)
    assert [g.value for g in jobs] == [[2 * i + 1] for i in range(1000)]
    assert max(model.batches) <= 32
    assert sum(model.batches) == 1000


def test_queue_waits_are_counted(make: Make, model: Model) -> None:
    taken: list[tuple[int, int]] = []

    class Counter(Uncounted):
        def count_wait(self, requests: int, ns: int) -> None:
            taken.append((requests, ns))

    batcher = make(counter=Counter())
    first = held(batcher, model)
    others = [gevent.spawn(ask, batcher, rows(i)) for i in range(3)]
    gevent.sleep(0.05)
    there = time.monotonic_ns()
    gevent.sleep(0.01)
    waits = time.monotonic_ns() - there
    model.gate.set()
    gevent.joinall([first, *others])
    (one, _), (three, waited) = taken
    assert (one, three) == (1, 3)
    assert waited >= 3 * waits, "each of the three"


def test_the_stages_of_each_call(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    calls = [call() for _ in range(2)]
    others = [gevent.spawn(ask, batcher, rows(3), each) for each in calls]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    for each in calls:
        # They waited while the first was held, which is no time of their own run.
        assert each.stages.queue_ns >= 40_000_000
        assert each.stages.infer_ns > 0
        assert each.stages.batch == 2


def test_what_is_tried_again_alone_was_part_of_both_runs(make: Make, model: Model) -> None:
    batcher = make()
    first = held(batcher, model)
    calls = [call() for _ in range(2)]
    pair = zip((666, 1), calls, strict=True)
    others = [gevent.spawn(ask, batcher, rows(value), each) for value, each in pair]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others])
    assert model.batches == [1, 2, 1, 1]
    assert [each.stages.batch for each in calls] == [2, 2]


def test_a_batch_has_the_rows_that_its_jobs_allow(make: Make, model: Model) -> None:
    batcher = make(most_rows=lambda inputs, route: 2 if inputs[0].ndim > 1 else 3)
    first = held(batcher, model)
    others = [gevent.spawn(ask, batcher, rows(i)) for i in range(6)]
    wide = [gevent.spawn(ask, batcher, [np.ones((1, 2), np.float32)]) for _ in range(4)]
    gevent.sleep(0.05)
    model.gate.set()
    gevent.joinall([first, *others, *wide])
    assert sorted(model.batches) == [1, 2, 2, 3, 3]
