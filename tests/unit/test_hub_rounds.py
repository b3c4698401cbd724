"""Long work of many greenlets keeps the iterations of the hub short."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import gevent
import pytest
from gevent import get_hub

from app.serving.hub_rounds import ROUND_S, next_round, spread

STEP_S = 0.001


def work(seconds: float) -> Iterator[int]:
    """Steps that keep the thread busy for so many seconds of its own time in all."""
    for step in range(round(seconds / STEP_S)):
        until = time.thread_time() + STEP_S
        while time.thread_time() < until:
            pass
        yield step


@pytest.mark.parametrize("greenlets", [1, 8])
def test_timers_come_between_the_steps_of_many_greenlets(greenlets: int) -> None:
    """By the thread's own time, which other processes do not lengthen."""
    worked = [time.thread_time()]
    timer = get_hub().loop.timer(STEP_S, STEP_S)
    timer.start(lambda: worked.append(time.thread_time()))
    try:
        tasks = [gevent.spawn(lambda: list(spread(work(0.2)))) for _ in range(greenlets)]
        gevent.joinall(tasks)
    finally:
        timer.stop()
    assert [task.get() for task in tasks] == [[*range(200)]] * greenlets
    longest = max(after - before for before, after in pairwise(worked))
    # The steps of two rounds, each with the one that ended it.
    assert longest < 2 * (ROUND_S + 2 * STEP_S) + 0.01


def test_a_greenlet_that_is_killed_lets_its_round_pass() -> None:
    after: list[int] = []

    def other() -> None:
        next_round()
        after.append(1)

    killed = gevent.spawn(next_round)
    waits = gevent.spawn(other)
    gevent.sleep(0)
    killed.kill(block=False)
    waits.join(5)
    assert after == [1]


def test_what_fails_in_a_step_is_raised() -> None:
    def steps() -> Iterator[int]:
        yield 1
        raise ValueError("a step")

    with pytest.raises(ValueError, match="a step"):
        list(spread(steps()))
