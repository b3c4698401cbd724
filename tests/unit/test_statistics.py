"""Statistics of a model, on a clock that the tests control."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from app.errors import ClientDisconnected, DeadlineExceeded, InvalidInput, Overloaded
from app.serving.models.statistics import BATCH_ROWS, WINDOW_S, Statistics, Timing, Totals


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statistics(clock: Clock) -> Statistics:
    return Statistics(clock)


def _ask(statistics: Statistics, clock: Clock, ms: float = 1, rows: int = 1) -> None:
    with statistics.counting() as asked:
        clock.now += ms / 1000
        asked.rows = rows


def _fail(statistics: Statistics, error: BaseException, seconds: float = 0) -> None:
    def ask() -> None:
        with statistics.counting():
            statistics.clock.now += seconds  # type: ignore[attr-defined]
            raise error

    with pytest.raises(type(error)):
        ask()


def test_nothing_yet(statistics: Statistics) -> None:
    empty = statistics.snapshot()
    assert (empty.requests_per_s, empty.rows_per_s, empty.words_per_s) == (0, 0, 0)
    assert (empty.p50_ms, empty.p95_ms, empty.p99_ms, empty.mean_batch) == (None,) * 4
    assert empty.errors == empty.errors_total == {}
    assert empty.history == [0] * WINDOW_S


def test_rates_are_those_of_the_last_minute(statistics: Statistics, clock: Clock) -> None:
    clock.now += 1000
    for _ in range(120):
        _ask(statistics, clock, rows=5)
        clock.now += 0.499
    figures = statistics.snapshot()
    assert figures.requests_per_s == pytest.approx(2, rel=0.02)
    assert figures.rows_per_s == pytest.approx(10, rel=0.02)
    assert (figures.requests_total, figures.rows_total) == (120, 600)


def test_a_young_model_is_measured_by_its_own_age(statistics: Statistics, clock: Clock) -> None:
    for _ in range(20):
        _ask(statistics, clock)
    assert statistics.snapshot().requests_per_s == pytest.approx(20), "within the first second"
    clock.now = 1010
    assert statistics.snapshot().requests_per_s == pytest.approx(2)


def test_what_is_older_than_a_minute_counts_in_the_totals_only(
    statistics: Statistics, clock: Clock
) -> None:
    _ask(statistics, clock)
    _fail(statistics, Overloaded("full"))
    statistics.count_run(4, 1)
    clock.now += WINDOW_S - 1
    assert statistics.snapshot().errors == {"overloaded": 1}
    clock.now += 1
    figures = statistics.snapshot()
    assert (figures.requests_per_s, figures.p50_ms, figures.mean_batch) == (0, None, None)
    assert (figures.errors, figures.errors_total) == ({}, {"overloaded": 1})
    assert figures.requests_total == 2


def test_a_slot_is_used_again_after_any_time(statistics: Statistics, clock: Clock) -> None:
    for hours in range(5):
        clock.now = 1000.5 + 3600 * hours
        _ask(statistics, clock)
        statistics.count_run(1, 1)
        clock.now += 1
        assert sum(statistics.snapshot().history) == 1
        assert statistics.snapshot().mean_batch == 1


def test_the_history_ends_with_the_last_whole_second(statistics: Statistics, clock: Clock) -> None:
    clock.now = 1000.0
    for requests in range(70):
        for _ in range(requests):
            _ask(statistics, clock, ms=0)
        clock.now += 1
    _ask(statistics, clock, ms=0)  # the second that is running has yet to end
    assert statistics.snapshot().history == list(range(10, 70))


@pytest.mark.parametrize("ms", [0.07, 0.9, 12.0, 250.0, 4_000.0, 60_000.0])
def test_times_are_right_within_three_percent(
    statistics: Statistics, clock: Clock, ms: float
) -> None:
    _ask(statistics, clock, ms=ms)
    assert statistics.snapshot().p50_ms == pytest.approx(ms, rel=0.03)


def test_quantiles_are_those_of_numpy(statistics: Statistics, clock: Clock) -> None:
    times = np.random.default_rng(5).lognormal(2, 1, 3000)
    for ms in times:
        started = clock.now
        _ask(statistics, clock, ms=ms)
        clock.now = started
    figures = statistics.snapshot()
    for found, part in ((figures.p50_ms, 50), (figures.p95_ms, 95), (figures.p99_ms, 99)):
        wanted = np.percentile(times, part, method="inverted_cdf")
        assert found == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("ms", [0, 1e-6, 1e12])
def test_times_beyond_all_bins_stay_finite(statistics: Statistics, clock: Clock, ms: float) -> None:
    _ask(statistics, clock, ms=ms)
    figures = statistics.snapshot()
    assert figures.p99_ms is not None
    assert 0 < figures.p99_ms < 1e8


def test_errors_count_by_code(statistics: Statistics) -> None:
    _fail(statistics, InvalidInput("no"))
    _fail(statistics, InvalidInput("no"))
    _fail(statistics, ClientDisconnected("gone"))
    _fail(statistics, ZeroDivisionError())
    _fail(statistics, KeyboardInterrupt())  # as a killed greenlet ends
    wanted = {"invalid_input": 2, "client_disconnected": 2, "internal": 1}
    assert statistics.snapshot().errors == wanted
    assert statistics.snapshot().requests_total == 5


def test_a_deadline_counts_among_the_times_and_a_refusal_does_not(statistics: Statistics) -> None:
    _fail(statistics, Overloaded("full"), seconds=5)
    _fail(statistics, InvalidInput("no"), seconds=5)
    _fail(statistics, ClientDisconnected("gone"), seconds=5)
    assert statistics.snapshot().p50_ms is None
    _fail(statistics, DeadlineExceeded("late"), seconds=2)
    assert statistics.snapshot().p50_ms == pytest.approx(2000, rel=0.03)


def test_batches_and_words(statistics: Statistics, clock: Clock) -> None:
    for rows in (1, 2, 9):
        statistics.count_run(rows, 1)
        clock.now += 1
    for _ in range(30):
        statistics.count_word()
    clock.now += 7
    figures = statistics.snapshot()
    assert figures.mean_batch == 4
    assert figures.words_per_s == pytest.approx(3)
    assert figures.words_total == 30


def test_two_threads_write_while_one_reads() -> None:
    """Nothing is lost, and no reader sees half of a number."""
    statistics = Statistics()
    runs = 20_000

    def run() -> None:
        for _ in range(runs):
            statistics.count_run(3, 1)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        with statistics.counting() as asked:
            asked.rows = 1
        assert statistics.snapshot().mean_batch in (None, 3)
    thread.join()
    assert statistics.snapshot().mean_batch == 3


def test_totals_are_since_the_model_was_loaded(statistics: Statistics, clock: Clock) -> None:
    none = Timing()
    assert statistics.totals() == Totals(none, none, none, none, 0, 0, 0.0, {}, (0,) * 12, 0)
    for rows in (2, 3):
        with statistics.counting() as asked:
            asked.rows = rows
            clock.now += 0.5
    _fail(statistics, InvalidInput("bad"), 0.25)
    clock.now += 10 * WINDOW_S
    statistics.count_wait(3, 700)
    statistics.count_wait(1, 50)
    statistics.count_run(5, 4000)
    statistics.count_word()
    before = time.time()
    _ask(statistics, clock)
    found = statistics.totals()
    assert (found.answered.count, found.failed) == (3, Timing(1, 250_000_000))
    assert found.answered.ns >= 1_000_000_000
    assert (found.waited, found.runs) == (Timing(4, 750), Timing(1, 4000))
    assert found.last >= before
    assert (found.rows, found.words, found.errors) == (6, 1, {"invalid_input": 1})


def test_runs_are_counted_by_their_rows(statistics: Statistics) -> None:
    for rows in (1, 2, 3, 4, 1024, 1025, 5000):
        statistics.count_run(rows, 1)
    found = statistics.totals()
    by_bound = dict(zip((*BATCH_ROWS, "more"), found.batches, strict=True))
    assert {bound: count for bound, count in by_bound.items() if count} == {
        1: 1,
        2: 1,
        4: 2,
        1024: 1,
        "more": 2,
    }
    assert found.run_rows == 1 + 2 + 3 + 4 + 1024 + 1025 + 5000
