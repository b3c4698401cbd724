"""Plots of series: what is drawn, and what a prediction continues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.web.models.answers.plot import MOST_COLUMNS, MOST_NEXT, MOST_POINTS, following, plots
from app.web.models.answers.readings import Shown

ONE, TWO = np.zeros((4, 1)), np.zeros((4, 2))


def out(name: str, kind: str, *, wrapped: bool = True) -> Shown:
    return Shown(name, name, kind, wrapped)


@pytest.mark.parametrize(
    ("given", "names", "kinds", "prediction", "found"),
    [
        (ONE, None, {"y": "number"}, {"y": 1.5}, {0: [1.5]}),
        (ONE[:, 0], None, {"y": "number"}, {"y": [1, 2, 3]}, {0: [1, 2, 3]}),
        (ONE, None, {"y": "vector"}, {"y": [1, 2]}, {0: [1, 2]}),
        (ONE, None, {"y": "tensor"}, {"y": [[1], [2]]}, {0: [1, 2]}),
        (ONE, None, {"y": "tensor"}, {"y": [[[1]]]}, {}),
        (ONE, None, {"y": "number"}, {"y": {"low": 1, "high": 2}}, {}),
        (ONE, None, {"a": "number", "b": "number"}, {"a": 1, "b": 2}, {}),
        (ONE, ["a"], {"a": "number", "b": "number"}, {"a": 1, "b": 2}, {0: [1]}),
        (ONE, None, {"k": "classes", "y": "number"}, {"k": {}, "y": 3}, {0: [3]}),
        (TWO, None, {"y": "number"}, {"y": 1}, {}),
        (TWO, None, {"y": "number"}, {"y": [1, 2]}, {}),
        (TWO, None, {"y": "tensor"}, {"y": [[1, 2], [3, 4]]}, {0: [1, 3], 1: [2, 4]}),
        (TWO, ["a", "b"], {"b": "number"}, {"b": [7, 8]}, {1: [7, 8]}),
        (TWO, ["a", "b"], {"y": "number"}, {"y": {"b": 7, "c": 8}}, {1: [7]}),
        (TWO, None, {"y": "tensor"}, {"y": [[1, 2], [3]]}, {}),
        (ONE, None, {"y": "vector"}, {"y": [0] * MOST_NEXT}, {0: [0] * MOST_NEXT}),
        (ONE, None, {"y": "vector"}, {"y": [0] * (MOST_NEXT + 1)}, {}),
    ],
)
def test_what_continues_a_column(
    given: Any, names: Any, kinds: dict[str, str], prediction: Any, found: dict[int, list[float]]
) -> None:
    outputs = [out(name, kind) for name, kind in kinds.items()]
    assert following(prediction, outputs, names, given) == found


def test_an_answer_without_its_name() -> None:
    assert following([[1], [2]], [out("y", "tensor", wrapped=False)], None, ONE) == {0: [1, 2]}


def test_lines_lie_within_the_plot() -> None:
    (plot,) = plots(np.array([[1.0], [3], [2]]), ["sales"], {0: [5, -1]})
    points = [tuple(map(float, p.split(","))) for p in f"{plot.given} {plot.next}".split()]
    assert len(points) == 3 + 3  # what comes next begins where the given ends
    assert points[2] == points[3]
    assert all(0 <= x <= plot.width and 0 <= y <= plot.height for x, y in points)
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert (plot.low, plot.high, plot.steps) == ("-1", "5", 3)
    assert plot.label == "sales: 3 values from 1 to 3; then 2 more, the last -1"


def test_one_value_is_a_flat_line() -> None:
    (plot,) = plots(np.array([2.0]), None, {})
    assert plot.low == plot.high == "2"
    assert (plot.next, plot.dots) == ("", [])


def test_long_series_keep_their_extremes() -> None:
    values = np.zeros(100_000)
    values[31_415] = 9
    (plot,) = plots(values, None, {})
    points = plot.given.split()
    assert len(points) <= MOST_POINTS + 1
    assert {float(p.split(",")[1]) for p in points} == {float(plot.top), float(plot.bottom)}


def test_the_first_columns_are_drawn() -> None:
    found = plots(np.zeros((3, MOST_COLUMNS + 2)), None, {})
    assert [plot.name for plot in found] == [f"column {i + 1}" for i in range(MOST_COLUMNS)]
