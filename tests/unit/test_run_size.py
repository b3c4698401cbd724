"""The number of rows in a run, by the cost of earlier runs."""

from __future__ import annotations

import pytest

from app.serving.engine.run_size import MAX_PAIRS, RUN_S, RunSize

SECOND = 1_000_000_000


def test_a_run_lasts_no_longer_than_it_should() -> None:
    sizes = RunSize(100, 10**9)
    for row_s, rows in ((0.001, 100), (0.1, 20), (3, 1)):
        sizes.count(None, 1, 10, int(10 * row_s * SECOND), 0)
        assert sizes.rows(None, 1) == rows
        assert rows * row_s <= max(RUN_S, row_s)


def test_a_run_answers_no_more_bytes_than_it_may() -> None:
    sizes = RunSize(100, 1_000)
    sizes.count(None, 1, 10, 0, 1_000)
    assert sizes.rows(None, 1) == 10


def test_what_was_never_run_has_one_row() -> None:
    sizes = RunSize(100, 1_000)
    assert sizes.rows("other", 1) == 1
    sizes.count("other", 1, 1, 1, 1)
    assert sizes.rows("other", 1) == 100
    assert sizes.rows(None, 1) == 1


def test_a_longer_row_is_taken_for_attention() -> None:
    sizes = RunSize(1_000, 10**9)
    sizes.count(None, 16, 1, SECOND // 1_000, 0)
    assert sizes.rows(None, 31) == 1_000
    assert sizes.rows(None, 32) == 500
    assert sizes.rows(None, 128) == 31
    # Until one has run.
    sizes.count(None, 128, 1, SECOND // 1_000, 0)
    assert sizes.rows(None, 128) == 1_000


def test_memory_for_attention() -> None:
    sizes = RunSize(1_000, 10**9)
    for length, rows in ((1, 1_000), (1_024, 64), (4_096, 4), (100_000, 1)):
        sizes.count(None, length, 1, 0, 0)
        assert sizes.rows(None, length) == rows
        assert rows * length**2 <= MAX_PAIRS or rows == 1


def test_a_slow_run_counts_at_once_and_is_forgotten_slowly() -> None:
    sizes = RunSize(1_000, 10**9)
    sizes.count(None, 1, 1, SECOND // 1_000, 0)
    sizes.count(None, 1, 1, SECOND, 0)
    assert sizes.rows(None, 1) == 2
    seen = [sizes.rows(None, 1)]
    while seen[-1] < 1_000:
        sizes.count(None, 1, 1, SECOND // 1_000, 0)
        seen.append(sizes.rows(None, 1))
    assert seen == sorted(seen)
    assert 5 < len(seen) < 50


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_of_nothing(rows: int) -> None:
    sizes = RunSize(10, 10)
    sizes.count(None, 0, rows, 0, 0)
    assert sizes.rows(None, 0) == 10
