"""Admission control: which requests a model accepts, by the length of its queue and its rate."""

from __future__ import annotations

from collections import deque

import pytest

from app.serving.engine.admission import FORGET_S, MARGIN, Admission

BATCH = 4


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _filled(clock: Clock, waiting: int, max_queue: int = 1000) -> Admission:
    admission = Admission("m", max_queue, BATCH, clock)
    for _ in range(waiting):
        admission.enter()
    return admission


def _answer(admission: Admission, clock: Clock, every: float, count: int) -> None:
    """Each is followed by another, so that as many wait as before."""
    for _ in range(count):
        clock.now += every
        admission.leave(answered=True)
        admission.enter()


@pytest.mark.parametrize(("waiting", "refused"), [(9, False), (10, True)])
def test_a_full_queue_refuses(waiting: int, refused: bool) -> None:
    refusal = _filled(Clock(), waiting, max_queue=10).refusal(30)
    assert (refusal is not None) == refused
    if refusal is not None:
        assert refusal.message == "the model 'm' has 10 requests waiting, its limit"
        assert refusal.retry_after == 1


def test_the_rate_is_that_of_full_work() -> None:
    clock = Clock()
    admission = _filled(clock, BATCH)
    _answer(admission, clock, 0.5, 20)
    assert admission.rate is None, "one run could have taken them all"
    admission.enter()
    _answer(admission, clock, 0.25, 20)
    assert admission.rate == pytest.approx(4)
    _answer(admission, clock, 0.125, 500)
    assert admission.rate == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize(("waiting", "refused"), [(62, False), (64, True)])
def test_requests_that_would_be_too_late_are_refused_at_once(waiting: int, refused: bool) -> None:
    clock = Clock()
    admission = _filled(clock, waiting)
    _answer(admission, clock, 0.5, 20)  # two a second: the last of 63 gets its answer in 31.5 s
    refusal = admission.refusal(31.9 / MARGIN)
    assert (refusal is not None) == refused
    if refusal is not None:
        assert "would be answered in about 32 s" in refusal.message
        assert waiting / 2 <= refusal.retry_after <= waiting / 2 * 1.2 + 1


def test_requests_that_wait_for_one_run_are_never_refused_by_the_rate() -> None:
    clock = Clock()
    admission = _filled(clock, BATCH + 1)
    _answer(admission, clock, 100, 20)
    assert admission.refusal(30) is not None
    admission.leave(answered=True)
    assert admission.refusal(30) is None


def test_what_is_given_up_is_no_answer() -> None:
    clock = Clock()
    admission = _filled(clock, 50)
    for _ in range(100):
        clock.now += 0.1
        admission.leave(answered=False)
        admission.enter()
    assert admission.rate is None
    # But after 10 s without any, 5 s are too short for sure.
    assert admission.refusal(5) is not None
    assert admission.refusal(20) is None


def test_a_rate_of_long_ago_is_forgotten() -> None:
    clock = Clock()
    admission = _filled(clock, BATCH + 1)
    _answer(admission, clock, 10, 20)
    admission.leave(answered=True)
    clock.now += FORGET_S + 1
    admission.enter()
    assert admission.rate is None
    assert admission.refusal(30) is None


@pytest.mark.parametrize("run_s", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("deadline_s", [3.0, 10.0])
def test_those_that_are_taken_are_answered_in_time(run_s: float, deadline_s: float) -> None:
    """A model that runs four at a time, and ten times as many requests as it can answer."""
    clock = Clock()
    admission = _filled(clock, 0)
    queue: deque[float] = deque()
    late = taken = refused = answered = 0
    for number in range(400):
        run = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
        for _ in range(10 * BATCH):
            clock.now += run_s / (10 * BATCH)
            if admission.refusal(deadline_s) is None:
                admission.enter()
                queue.append(clock.now)
                taken += 1
            else:
                refused += 1
        for arrived in run:
            admission.leave(answered=True)
            # The rate is not known before the first runs.
            late += number > 100 and clock.now - arrived > deadline_s
            answered += 1
    assert late == 0
    assert refused > 5 * taken
    assert answered >= BATCH * 399, "no run was empty"
