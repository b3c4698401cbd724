"""Native threads that work for greenlets."""

from __future__ import annotations

import threading
import time

import gevent
import pytest

from app.serving.workers import Check, Workers, in_a_thread


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_for_small(value: int, check: Check) -> int:
        time.sleep((5 - value) / 100)
        return value * 2

    assert Workers(4, "w").map(slow_for_small, range(5)) == [0, 2, 4, 6, 8]
    assert Workers(4, "w").map(slow_for_small, []) == []


def test_the_hub_goes_on_meanwhile_and_threads_are_native() -> None:
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


def test_an_error_reaches_whoever_asked_and_nobody_else() -> None:
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


def test_what_it_raises_is_for_whoever_asked_not_for_the_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        in_a_thread(work)
    assert capfd.readouterr() == ("", "")
