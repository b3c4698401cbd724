"""What a profile advises, from figures that are made up, noise included."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from app.cli.profiling.advice import Verdict, advise, knee, verdict
from app.cli.profiling.measurements import Difference, Stated
from app.serving.cards.card import Precision
from tests.unit.profiles import QUIET, SAME, measured, point, profiled

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
# Throughput that ends growing at 32 rows, as the card of these profiles has it.
USUAL = dict(zip(SIZES, (100, 180, 300, 450, 600, 700, 700, 700), strict=True))
SLOWER = {rows: rate * 0.9 for rows, rate in USUAL.items()}
FASTER = {rows: rate * 1.8 for rows, rate in USUAL.items()}


def rounds(*factors: float) -> Sequence[float]:
    return factors


@pytest.mark.parametrize(
    ("other", "noise", "expected"),
    [
        (120, QUIET, "more"),
        (80, QUIET, "less"),
        (101, QUIET, "same"),
        (104, QUIET, "same"),
        (106, QUIET, "more"),
        # A round that says the opposite.
        (120, rounds(1, 1, 1, 1, 0.8), "unclear"),
        (80, rounds(1, 1, 1, 1, 1.3), "unclear"),
        # Alike in the middle, but who knows.
        (100, rounds(1, 1, 1, 1.3, 0.7), "unclear"),
        (100, rounds(1, 1.01, 0.99, 1.2, 0.85), "same"),
        # All rounds agree, on next to nothing.
        (103, rounds(1, 1, 1, 1, 1), "same"),
    ],
)
def test_two_points(other: float, noise: Sequence[float], expected: Verdict) -> None:
    assert verdict(point(8, 100, rounds(1, 1, 1, 1, 1)), point(16, other, noise)) == expected


def test_a_slow_hour_of_the_machine_is_no_noise() -> None:
    """Rounds are compared with each other: what slows down both says nothing."""
    slow = rounds(1, 0.3, 0.9, 0.5, 0.7)
    assert verdict(point(8, 100, slow), point(16, 120, slow)) == "more"
    assert verdict(point(8, 100, slow), point(16, 100, slow)) == "same"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (USUAL, 32),
        ({1: 100}, 1),
        ({1: 100, 2: 100, 4: 101}, 1),
        ({1: 100, 2: 200, 4: 400}, 4),
        ({1: 100, 2: 200, 4: 150}, 2),
        # Little by little is growth as well.
        ({1: 100, 2: 104, 4: 108}, 2),
        # A dip on the way up.
        ({1: 100, 2: 90, 4: 200}, 4),
    ],
)
def test_where_throughput_stops_growing(rates: dict[int, float], expected: int) -> None:
    assert knee({rows: point(rows, rate) for rows, rate in rates.items()}) == expected


def test_noise_is_no_end_of_growth() -> None:
    points = {1: point(1, 100), 2: point(2, 100, rounds(1, 1, 1.5, 0.6, 1))}
    assert knee(points) == 2


def advice_for(*arguments: Any, **more: Any) -> tuple[dict[str, Any], str]:
    advice = advise(profiled(*arguments, **more))
    return advice.runtime, "\n".join(advice.reasons)


def stated(precision: Precision = "float32", size: int = 32) -> Stated:
    return Stated(True, precision, size)


def test_what_is_as_good_as_it_gets_stays() -> None:
    runtime, why = advice_for(USUAL, USUAL)
    assert runtime == {}
    assert "not enough to give up digits" in why
    assert "32 rows at once: 700 rows/s, 45.7 ms: no size gives more" in why


def test_bfloat16_that_is_faster_with_the_same_labels() -> None:
    runtime, why = advice_for(USUAL, FASTER)
    assert runtime == {"precision": "bfloat16"}
    assert "at 32 rows bfloat16 gives 1.80 times (1.80 to 1.80 in the rounds)" in why
    assert "the labels of 2 examples stay the same" in why
    assert "differ by at most 0.004" in why


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        (None, "no example of the card shows"),
        (Difference(examples=0), "no example of the card shows"),
        (Difference(2, 0.3, "probability", 2, 1), "1 of 2 examples get other labels"),
        (Difference(2, labels=2, pixels=0.0011), "0.11% of the pixels of the answers change"),
        (Difference(2, 0.12, "age", unlabelled=True), "numbers of the answers change, by up to"),
    ],
)
def test_bfloat16_that_is_faster_but_answers_otherwise_is_the_authors_choice(
    difference: Difference | None, says: str
) -> None:
    runtime, why = advice_for(USUAL, FASTER, difference=difference)
    assert runtime == {}
    assert says in why
    assert "your choice" in why
    # It is measured all the same, and a card that has it keeps it.
    runtime, _ = advice_for(USUAL, FASTER, difference=difference, stated=stated("bfloat16"))
    assert runtime == {}


@pytest.mark.parametrize(
    "difference",
    [
        SAME,
        Difference(2, 0.2, "share", pixels=0.0009, labels=2),
        Difference(2, 0.0, "age"),
        Difference(1),
    ],
)
def test_answers_that_are_as_good_in_bfloat16(difference: Difference) -> None:
    runtime, _ = advice_for(USUAL, FASTER, difference=difference)
    assert runtime == {"precision": "bfloat16"}


@pytest.mark.parametrize("other", [SLOWER, USUAL, {s: r * 1.09 for s, r in USUAL.items()}])
def test_a_card_with_bfloat16_that_wins_nothing_goes_back(other: dict[int, float]) -> None:
    runtime, why = advice_for(USUAL, other, stated=stated("bfloat16"))
    assert runtime == {"precision": "float32"}
    assert "not enough to give up digits" in why


def test_a_tenth_is_worth_it() -> None:
    runtime, _ = advice_for(USUAL, {s: r * 1.11 for s, r in USUAL.items()})
    assert runtime == {"precision": "bfloat16"}


def test_bfloat16_within_the_noise_changes_nothing() -> None:
    noisy = measured("bfloat16", FASTER, rounds(1, 0.4, 1.1, 0.9, 1))
    for precision in ("float32", "bfloat16"):
        runtime, why = advice_for(USUAL, noisy, stated=stated(precision))
        assert "precision" not in runtime
        assert "too much noise" in why
        assert "--seconds" in why


def test_bfloat16_that_is_slower_for_one_row_is_the_authors_choice() -> None:
    runtime, why = advice_for(USUAL, {**FASTER, 1: 80})
    assert runtime == {}
    assert "slower at 1 row: your choice" in why


def test_bfloat16_that_ends_the_process() -> None:
    dead = measured("bfloat16", {}, problem="TensorFlow ended the process (SIGILL)")
    runtime, why = advice_for(USUAL, dead)
    assert runtime == {}
    assert "bfloat16 was not measured: TensorFlow ended the process (SIGILL)" in why
    # Nothing is known of what the card has.
    runtime, why = advice_for(USUAL, dead, stated=stated("bfloat16", 128))
    assert runtime == {}
    assert "rows at once" not in why


def test_smaller_batches_with_the_same_throughput() -> None:
    runtime, why = advice_for(USUAL, USUAL, stated=stated(size=128))
    assert runtime == {"max_batch_size": 32}
    assert "128 rows at once: 700 rows/s, 183 ms, 32 rows at once: 700 rows/s, 45.7 ms" in why


def test_larger_batches_with_more_throughput() -> None:
    runtime, why = advice_for(USUAL, USUAL, stated=stated(size=8))
    assert runtime == {"max_batch_size": 32}
    assert "--max-batch-size" not in why


def test_more_than_was_measured_is_not_advised_but_shown_to_be_possible() -> None:
    growing = {rows: 100.0 * rows for rows in SIZES}
    runtime, why = advice_for(growing, growing)
    assert runtime == {"max_batch_size": 128}
    assert "it may grow further: try --max-batch-size 512" in why
    reached = measured("float32", growing, stopped="larger batches take too long")
    runtime, why = advice_for(reached, growing)
    assert runtime == {"max_batch_size": 128}
    assert "--max-batch-size" not in why
    assert "larger batches take too long" in why


def test_a_little_more_throughput_is_not_worth_longer_batches() -> None:
    rates = {**USUAL, 64: 740.0, 128: 760.0}
    runtime, why = advice_for(rates, rates)
    assert runtime == {}
    assert "not enough for batches that take longer" in why


def test_noise_between_sizes_changes_nothing() -> None:
    random.seed(1)
    points = measured("float32", {})
    for rows in SIZES:
        points.points[rows] = point(rows, 500, [random.uniform(0.5, 2) for _ in range(5)])
    runtime, why = advice_for(points, points)
    assert runtime == {}
    assert "too much noise" in why


def _simulated(sigma: float, times: float) -> Any:
    """A profile of USUAL, and in bfloat16 `times` that, with noise. sigma: of its logarithm."""
    both = [measured("float32", {}), measured("bfloat16", {})]
    for each, factor in zip(both, (1, times), strict=True):
        for rows, rate in USUAL.items():
            noise = [random.lognormvariate(0, sigma) for _ in range(5)]
            each.points[rows] = point(rows, rate * factor, noise)
    return advise(profiled(*both)).runtime


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.3, 1])
def test_noise_alone_hardly_ever_changes_a_card(sigma: float) -> None:
    """Five rounds agree by chance in 1 of 32 cases, with which both settings are decided."""
    random.seed(2)
    changes = [bool(_simulated(sigma, 1)) for _ in range(300)]
    assert sum(changes) < 30


@pytest.mark.parametrize(("sigma", "least"), [(0.03, 1.0), (0.1, 0.75)])
def test_what_is_clearly_faster_is_found_in_spite_of_noise(sigma: float, least: float) -> None:
    random.seed(2)
    found = [_simulated(sigma, 1.3).get("precision") == "bfloat16" for _ in range(300)]
    assert sum(found) >= least * 300


def test_a_size_of_the_card_that_was_not_measured() -> None:
    few = {rows: USUAL[rows] for rows in (1, 2, 4)}
    runtime, why = advice_for(few, few)
    assert runtime == {}
    assert "the card's 32 rows were not measured" in why
    stopped = measured("float32", few, stopped="larger batches take too long")
    runtime, why = advice_for(stopped, few)
    assert runtime == {}
    assert "larger batches take too long" in why


def test_the_size_follows_from_the_precision_that_is_advised() -> None:
    growing = dict(zip(SIZES, (110, 200, 400, 800, 1600, 3200, 6400, 6400), strict=True))
    runtime, _ = advice_for(USUAL, growing)
    assert runtime == {"precision": "bfloat16", "max_batch_size": 64}


def test_a_model_of_one_size() -> None:
    runtime, why = advice_for({8: 100}, {8: 100})
    assert runtime == {}
    assert "this model runs 8 rows at a time" in why


def test_texts_at_once_are_not_made_fewer() -> None:
    """Those beyond the limit would wait in place of growing a little more slowly."""
    runtime, why = advice_for(USUAL, USUAL, stated=stated(size=128), unit="words")
    assert runtime == {}
    assert "more texts at once only share it" in why
    runtime, why = advice_for(USUAL, USUAL, stated=stated(size=8), unit="words")
    assert runtime == {"max_batch_size": 32}
    assert "8 texts at once: 450 words/s" in why
    runtime, why = advice_for(USUAL, FASTER, unit="words")
    assert runtime == {"precision": "bfloat16"}
    assert "the most likely next words of 2 examples stay the same" in why
