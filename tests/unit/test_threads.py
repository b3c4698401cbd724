"""Native threads that work for greenlets."""

from __future__ import annotations

import threading
import time
from typing import Any

import gevent
import pytest

from app.errors import ClientDisconnected, DeadlineExceeded
from app.serving.call import Call
from app.serving.threads import Abandoned, Check, Workers, in_a_thread


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_for_small(value: int, check: Check) -> int:
        time.sleep((5 - value) / 100)
        return value * 2

    assert Workers(4, "w").map(slow_for_small, range(5)) == [0, 2, 4, 6, 8]
    assert Workers(4, "w").map(slow_for_small, []) == []


def test_the_hub_runs_meanwhile_and_threads_are_native() -> None:
    workers, turns = Workers(2, "w"), []

    def work(_: int, check: Check) -> str:
        time.sleep(0.2)
        return threading.current_thread().name

    job = gevent.spawn(workers.map, work, range(4))
    while not job.ready():
        turns.append(1)
        gevent.sleep(0.01)
    assert set(job.get()) == {"w-0", "w-1"}
    assert len(turns) > 5


def test_many_greenlets_get_their_own_results() -> None:
    workers = Workers(3, "w")
    jobs = [gevent.spawn(workers.map, lambda v, check: v + 1, [i, 10 * i]) for i in range(200)]
    gevent.joinall(jobs)
    assert [job.value for job in jobs] == [[i + 1, 10 * i + 1] for i in range(200)]


def test_an_error_reaches_only_its_caller() -> None:
    workers = Workers(2, "w")

    def work(value: int, check: Check) -> int:
        if value == 3:
            raise ValueError("three")
        return value

    with pytest.raises(ValueError, match="three"):
        workers.map(work, [1, 3, 3, 2])
    assert workers.map(work, [1, 2]) == [1, 2]


def test_one_thing_alone_is_done_in_a_native_thread() -> None:
    assert in_a_thread(threading.get_ident) != threading.get_ident()


def test_errors_are_for_the_caller_not_for_the_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        in_a_thread(work)
    assert capfd.readouterr() == ("", "")


# --- turns, room, and the end of a call


def call(seconds: float = 60) -> Call:
    return Call(time.monotonic() + seconds)


def test_requests_have_turns_whatever_they_ask() -> None:
    """A request with a hundred items, and a later one with two."""
    workers, order = Workers(1, "w"), []
    first, more = threading.Event(), threading.Event()

    def work(item: str, check: Check) -> None:
        first.set()
        more.wait(30)
        order.append(item)

    many = gevent.spawn(workers.map, work, ["many"] * 100)
    while not first.is_set():
        gevent.sleep(0.001)
    few = gevent.spawn(workers.map, work, ["few"] * 2)
    gevent.sleep(0)
    more.set()
    gevent.joinall([few, many])
    assert [i for i, item in enumerate(order) if item == "few"] == [2, 4]


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
def test_the_end_of_a_call_ends_its_work(how: str) -> None:
    """Running work stops at its next check, waiting work never starts, and other calls are
    served."""
    workers, begun, stopped = Workers(1, "w"), [], threading.Event()

    def work(item: int, check: Check) -> None:
        begun.append(item)
        try:
            while True:
                check()
                time.sleep(0.001)
        except Abandoned:
            stopped.set()
            raise

    ending = call(0.2 if how == "deadline" else 60)
    job = gevent.spawn(workers.map, work, range(10), ending)
    while not begun:
        gevent.sleep(0.001)
    if how == "cancelled":
        gevent.get_hub().loop.run_callback(ending.cancel, ClientDisconnected("gone"))
    with pytest.raises(DeadlineExceeded if how == "deadline" else ClientDisconnected):
        job.get()
    assert stopped.wait(30)
    assert workers.map(lambda v, check: v, ["next"], call()) == ["next"]
    assert begun == [0]


def test_what_waits_for_a_thread_has_its_deadline() -> None:
    workers, free = Workers(1, "w"), threading.Event()
    job = gevent.spawn(workers.map, lambda v, check: free.wait(30), [1])
    gevent.sleep(0.01)
    with pytest.raises(DeadlineExceeded):
        workers.map(lambda v, check: v, [1], call(0.05))
    assert not job.ready()
    free.set()
    job.get()


def test_a_call_that_is_over_begins_nothing() -> None:
    begun: list[int] = []
    with pytest.raises(DeadlineExceeded):
        Workers(1, "w").map(lambda v, check: begun.append(v), [1], call(-1))
    assert begun == []


def test_an_error_leaves_what_has_not_begun() -> None:
    workers, begun = Workers(1, "w"), []

    def work(value: int, check: Check) -> None:
        begun.append(value)
        time.sleep(0.005)
        raise ValueError(value)

    with pytest.raises(ValueError, match="0"):
        workers.map(work, range(1000))
    workers.map(lambda v, check: v, [1])
    assert len(begun) < 1000


class AtWork:
    """Records how many items run at once, and holds each of them until it is released."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.seen: list[int] = []

    def __call__(self, cost: int, check: Check) -> int:
        with self.lock:
            self.now += cost
            self.most = max(self.most, self.now)
            self.seen.append(cost)
        time.sleep(0.01)
        with self.lock:
            self.now -= cost
        return cost


def test_what_is_at_work_at_once_fits_into_the_room() -> None:
    workers, work = Workers(8, "w", room=10), AtWork()
    costs = [4, 3, 9, 1, 10, 2, 5, 5, 6, 3] * 5
    assert workers.map(work, costs, call(), costs) == costs
    assert 5 < work.most <= 10


def test_what_needs_more_than_the_room_works_alone() -> None:
    workers, work = Workers(8, "w", room=10), AtWork()
    costs = [99, 1, 1, 99]
    assert workers.map(work, costs, call(), costs) == costs
    assert work.most == 99


def test_small_ones_pass_what_waits_for_room_and_others_do_not() -> None:
    workers, free, order = Workers(4, "w", room=10, small=2), threading.Event(), []

    def work(item: tuple[str, int], check: Check) -> None:
        if item[0] == "first":
            free.wait(30)
        order.append(item[0])

    def ask(name: str, cost: int) -> Any:
        job = gevent.spawn(workers.map, work, [(name, cost)], None, [cost])
        gevent.sleep(0.01)
        return job

    jobs = [ask("first", 8), ask("large", 9), ask("medium", 3)]
    ask("small", 2).get()
    assert order == ["small"]
    free.set()
    gevent.joinall(jobs)
    assert set(order) == {"small", "first", "large", "medium"}
    assert order.index("large") < order.index("medium")
