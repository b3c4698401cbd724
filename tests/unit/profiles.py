"""Profiles of models that no one has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.cli.profiling.measurements import (
    Difference,
    Measured,
    Memory,
    Point,
    Profile,
    Stated,
    Timing,
)
from app.serving.cards.card import Precision

# How the rounds of a measurement on a quiet machine differ.
QUIET = (1.0, 1.01, 0.99, 1.005, 0.995)
SAME = Difference(examples=2, numbers=0.004, where="probability", labels=2)


def point(rows: int, rate: float, noise: Sequence[float] = QUIET) -> Point:
    """Runs of so many rows, of which there are `rate` a second. noise: factors, one a round."""
    return Point(rows, Timing([rows / (rate * factor) for factor in noise]))


def measured(
    precision: Precision, rates: Mapping[int, float], noise: Sequence[float] = QUIET, **more: Any
) -> Measured:
    """A precision with such rates by size."""
    points = {rows: point(rows, rate, noise) for rows, rate in rates.items()}
    memory = Memory(500_000_000, 600_000_000, 1_250_000_000)
    return Measured(precision, load_seconds=2.5, memory=memory, points=points, **more)


def profiled(
    float32: Mapping[int, float] | Measured,
    bfloat16: Mapping[int, float] | Measured,
    **more: Any,
) -> Profile:
    """A profile of both precisions, of a card with `max_batch_size: 32`."""
    one = float32 if isinstance(float32, Measured) else measured("float32", float32)
    other = bfloat16 if isinstance(bfloat16, Measured) else measured("bfloat16", bfloat16)
    plain = Profile(
        name="flowers",
        version=3,
        stated=Stated(True, "float32", 32),
        unit="rows",
        source="examples",
        rows=2,
        cores=4,
        device="CPU",
        seconds=1.0,
        measured={"float32": one, "bfloat16": other},
        decoding=Timing([0.004, 0.005, 0.003, 0.004, 0.004]),
        difference=SAME,
        problems=[],
    )
    return replace(plain, **more)
