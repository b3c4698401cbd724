"""When refusals leave."""

from __future__ import annotations

import pytest

from app.api.overload import MOST_DELAY_S, REFUSALS_PER_S, Pace


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def test_a_refusal_now_and_then_does_not_wait() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(10):
        assert pace.delay() == 0
        clock.now += 1.01 / REFUSALS_PER_S


def test_many_wait_for_each_other_but_not_for_long() -> None:
    clock = Clock()
    pace = Pace(clock)
    delays = [pace.delay() for _ in range(1000)]
    assert delays == sorted(delays)
    assert delays[10] > 9 / REFUSALS_PER_S
    assert delays[-1] == pytest.approx(MOST_DELAY_S)
    clock.now += 2
    assert pace.delay() == 0, "what was long ago is forgotten"
