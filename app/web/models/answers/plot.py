"""Plots of series, with what a model says comes next, as points of SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.serving.arrays import Array
from app.serving.tensors import sizes
from app.web.models.answers.readings import Shown, value_of
from app.web.models.answers.table_answer import as_json, number_for_people

WIDTH, HEIGHT = 600, 180
_EDGE, _BOTTOM = 10, 24
# Columns that are drawn, and values of one that come next.
MOST_COLUMNS = 6
MOST_NEXT = 1_000
# Points of a line: of more, the least and the greatest of each stretch are drawn.
MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Plot:
    """One column. given, next: points of a line. dots: of the values that come next. low, high: the
    range in words, at the heights bottom and top. left: where the lines begin. steps: how many
    values are given. label: for screen readers."""

    name: str
    given: str
    next: str
    dots: Sequence[tuple[str, str]]
    low: str
    high: str
    bottom: str
    top: str
    left: int
    steps: int
    label: str
    width: int = WIDTH
    height: int = HEIGHT


def plots(
    given: Array, names: Sequence[str] | None, following: Mapping[int, Sequence[float]]
) -> list[Plot]:
    """Return a plot for each of the first columns.

    given: (steps,) or (steps, columns), as the model got them. names: of the columns. following:
    what comes next, by the place of the column.
    """
    table = given.reshape(len(given), -1).astype(np.float64)
    count = min(table.shape[1], MOST_COLUMNS)
    called = names or ([""] if table.shape[1] == 1 else [f"column {i + 1}" for i in range(count)])
    return [_plot(called[i], table[:, i], following.get(i, ())) for i in range(count)]


def following(
    prediction: Any, outputs: Sequence[Shown], names: Sequence[str] | None, given: Array
) -> dict[int, list[float]]:
    """Return the values of a prediction that continue columns of a series, by their places.

    An output, or one of its names, that is called like a column continues it; so does the only
    output of numbers for the only column. A table of as many columns continues each.
    """
    count = 1 if given.ndim == 1 else given.shape[1]
    places = {name: i for i, name in enumerate(names or [])}
    found: dict[int, list[float]] = {}
    found_values = (
        (out.name, value_of(prediction, outputs, out)) for out in outputs if out.kind != "classes"
    )
    values = [(name, as_json(v)) for name, v in found_values if _size(v) <= MOST_NEXT * count]
    for name, value in values:
        if isinstance(value, Mapping):
            found |= {places[n]: [v] for n, v in value.items() if n in places}
            continue
        rows = np.array(value, np.float64) if _is_regular(value) else np.empty(0)
        if not rows.size:
            continue
        if rows.ndim < 2 and name in places:
            found[places[name]] = rows.reshape(-1).tolist()
        elif rows.ndim == 2 and rows.shape[1] == count:
            found |= {i: rows[:, i].tolist() for i in range(count)}
        elif count == 1 and len(values) == 1 and rows.ndim < 2:
            found[0] = rows.reshape(-1).tolist()
    return found


def _size(value: Any) -> int:
    """The numbers of a value, as far as its first lists tell."""
    return value.size if isinstance(value, np.ndarray) else math.prod(sizes(value))


def _is_regular(value: Any) -> bool:
    """Whether a value is a number, a list of numbers, or a list of equally long ones."""
    if not isinstance(value, list):
        return _is_number(value)
    if all(map(_is_number, value)):
        return True
    lists = all(isinstance(row, list) and all(map(_is_number, row)) for row in value)
    return lists and len({len(row) for row in value}) == 1


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plot(name: str, given: Array, following: Sequence[float]) -> Plot:
    after = np.array(following, np.float64)
    both = np.concatenate([given, after])
    low, high = float(both.min()), float(both.max())
    words = [number_for_people(value, None) for value in (low, high)]
    if low == high or not math.isfinite(high - low):
        # A flat line runs through the middle.
        low, high = low - 1, high + 1
    left = 7 * max(map(len, words)) + _EDGE
    steps = max(1, len(both) - 1)
    across = (WIDTH - left - _EDGE) / steps
    down = (HEIGHT - _EDGE - _BOTTOM) / (high - low)

    def at(step: int, value: float) -> tuple[str, str]:
        return f"{left + step * across:.1f}", f"{_EDGE + (high - value) * down:.1f}"

    line = [at(i, given[i]) for i in _drawn(given)]
    after_points = [at(len(given) + i, after[i]) for i in range(len(after))]
    what = name or "The series"
    own = [number_for_people(float(value), None) for value in (given.min(), given.max())]
    label = f"{what}: {len(given):,} values from {own[0]} to {own[1]}"
    if len(after):
        label += f"; then {len(after):,} more, the last {number_for_people(after[-1], None)}"
    return Plot(
        name,
        _points(line),
        _points([line[-1], *after_points]) if after_points else "",
        after_points if len(after_points) <= 50 else [],
        words[0],
        words[1],
        at(0, low)[1],
        at(0, high)[1],
        left,
        len(given),
        label,
    )


def _points(points: Sequence[tuple[str, str]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _drawn(values: Array) -> Sequence[int]:
    """The places of the values that are drawn, the last one among them."""
    if len(values) <= MOST_POINTS:
        return range(len(values))
    found = {len(values) - 1}
    for part in np.array_split(np.arange(len(values)), MOST_POINTS // 2):
        found |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    return sorted(found)
