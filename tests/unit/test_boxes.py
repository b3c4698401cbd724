"""Boxes from the tensors of detectors: their formats, scores, classes and overlaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InferenceError, NonFiniteOutput
from app.serving.arrays import Array
from app.serving.signature import OutputMeaning, Signature
from app.serving.tasks.outputs import boxes as module
from app.serving.tasks.outputs.overlap import without_overlaps
from tests.unit.boxes import CORNERS, FORMATS, SEPARATE, SHAPES, answered, detector, separate, task
from tests.unit.signatures import Shape

# --- formats


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_boxes_of_each_format(format: str, relative: bool) -> None:
    made = task(detector(SHAPES), {"found": {**SEPARATE, "format": format, "relative": relative}})
    box = np.array(FORMATS[format], float)
    if relative:
        box /= [50, 100, 50, 100] if format == "yxyx" else [100, 50, 100, 50]
    assert answered(made, **separate([box], [0.75], [3])) == [
        {"label": "3", "score": 0.75, "box": CORNERS}
    ]


coordinate = st.floats(-50, 150, width=32)


@given(st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=6))
def test_boxes_are_cut_to_the_picture_and_never_empty(corners: list[Any]) -> None:
    made = task(detector(SHAPES), {"found": SEPARATE})
    count = len(corners)
    outputs = separate(np.reshape(corners, (count, 4)), [0.9] * count, [0] * count)
    found = answered(made, **outputs)
    inside = [
        (x, y, x_end, y_end)
        for x, y, x_end, y_end in np.reshape(corners, (count, 4)).clip(0, [100, 50, 100, 50])
        if x_end > x and y_end > y
    ]
    assert len(found) == len(inside)
    for each, (x, y, x_end, y_end) in zip(found, inside, strict=True):
        assert [*each["box"].values()] == pytest.approx(
            [4 * x, 2 * y, 4 * x_end, 2 * y_end], abs=0.01
        )


# --- scores and classes


def test_the_best_come_first_up_to_the_top_from_the_threshold_on() -> None:
    made = task(detector(SHAPES), {"found": {**SEPARATE, "threshold": 0.25, "top": 3}})
    scores = [0.25, 0.2499, 0.5, 0.9, 0.5]
    found = answered(made, **separate([FORMATS["xyxy"]] * 5, scores, range(5)))
    assert [(each["label"], each["score"]) for each in found] == [
        ("3", 0.9),
        ("2", 0.5),
        ("4", 0.5),
    ]


@pytest.mark.parametrize(("first", "label"), [(0, "b"), (1, "a")])
def test_labels_are_counted_from_the_first_class(first: int, label: str) -> None:
    card = {**SEPARATE, "labels": ["a", "b"], "first_class": first}
    made = task(detector(SHAPES), {"found": card})
    found = answered(made, **separate([FORMATS["xyxy"]] * 3, [0.9, 0.8, 0.7], [1, 7, -1]))
    # A class without a label has its number; padding has the class -1.
    assert [each["label"] for each in found] == [label, "7"]


def test_a_score_for_each_class() -> None:
    shapes: dict[str, Shape] = {"where": (None, 2, 4), "how_sure": (None, 2, 3)}
    card = {**SEPARATE, "classes": None, "labels": ["a", "b", "c"]}
    made = task(detector(shapes), {"found": card})
    scores = [[0.1, 0.6, 0.3], [0.2, 0.1, 0.9]]
    found = answered(made, where=[[FORMATS["xyxy"]] * 2], how_sure=[scores])
    assert [(each["label"], each["score"]) for each in found] == [("c", 0.9), ("b", 0.6)]
    softmax = task(detector(shapes), {"found": {**card, "activation": "softmax", "threshold": 0.4}})
    found = answered(softmax, where=[[FORMATS["xyxy"]] * 2], how_sure=[scores])
    powers = np.exp(scores)
    assert [each["probability"] for each in found] == pytest.approx(
        [powers[1, 2] / powers[1].sum(), powers[0, 1] / powers[0].sum()], abs=1e-6
    )


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("objectness", [False, True])
@pytest.mark.parametrize("activation", [None, "none", "sigmoid"])
def test_one_tensor_with_boxes_and_scores(
    flipped: bool, objectness: bool, activation: str | None
) -> None:
    units = 6 + objectness
    sizes = (None, units, 30) if flipped else (None, 30, units)
    card = {"kind": "boxes", "format": "center_xywh", "labels": ["a", "b"], "threshold": 0.3}
    made = task(detector({"out": sizes}), {"found": {**card, "activation": activation}})
    rows = np.full((30, units), -9.0 if activation == "sigmoid" else 0.0)
    rows[:, :4] = FORMATS["center_xywh"]
    own = [0.5] * objectness
    rows[7, 4:] = [*own, 0.125, 0.75]
    array = rows.T if flipped else rows
    (found,) = answered(made, out=[array])

    def sure(value: float) -> float:
        return 1 / (1 + np.exp(-value)) if activation == "sigmoid" else value

    assert found["label"] == "b"
    key = "score" if activation is None else "probability"
    expected = sure(0.75) * (sure(0.5) if objectness else 1)
    assert found[key] == pytest.approx(expected, abs=1e-6)
    assert found["box"] == CORNERS


def test_a_product_of_numbers_that_are_no_parts_is_refused() -> None:
    card = {"kind": "boxes", "format": "xyxy", "labels": ["a"]}
    made = task(detector({"out": (None, 1, 6)}), {"found": card})
    with pytest.raises(InferenceError, match=r"from -9 to -9, .* set 'activation: sigmoid'"):
        answered(made, out=[[[10, 5, 30, 25, -9, -9]]])


def test_only_what_is_proven_is_a_probability() -> None:
    of = detector(SHAPES)
    proven = OutputMeaning("sigmoid", None, True, "they come from a sigmoid", True)
    of = Signature(of.inputs, of.outputs, meanings=(proven,) * 3, parameters=1)
    assert (
        "probability"
        in answered(task(of, {"found": SEPARATE}), **separate([FORMATS["xyxy"]], [0.9], [1]))[0]
    )


# --- overlaps


def naive(boxes: Array, classes: Array, top: int, overlap: float) -> list[int]:
    """As textbooks have it, pair by pair."""
    kept: list[int] = []
    for i, (left, upper, right, lower) in enumerate(boxes):
        for k in kept:
            width = min(right, boxes[k][2]) - max(left, boxes[k][0])
            height = min(lower, boxes[k][3]) - max(upper, boxes[k][1])
            shared = max(0, width) * max(0, height)
            areas = (right - left) * (lower - upper)
            areas += (boxes[k][2] - boxes[k][0]) * (boxes[k][3] - boxes[k][1])
            if classes[i] == classes[k] and shared / (areas - shared) > overlap:
                break
        else:
            kept.append(i)
    return kept[:top]


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 40), st.floats(0.05, 0.95))
def test_overlaps_are_left_out_as_pair_by_pair(
    seed: int, count: int, top: int, overlap: float
) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.random((count, 2)) * 10
    boxes = np.hstack([corners, corners + 0.1 + rng.random((count, 2)) * 10])
    classes = rng.integers(0, 3, count)
    assert without_overlaps(boxes, classes, top, overlap) == naive(boxes, classes, top, overlap)
    assert without_overlaps(boxes, classes, top, None) == [*range(min(top, count))]


def test_of_very_many_boxes_the_best_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CANDIDATES", 50)
    shapes: dict[str, Shape] = {"where": (None, 999, 4), "how_sure": (None, 999)}
    card = {**SEPARATE, "classes": None, "overlap": 0.5, "threshold": 0.1, "top": 1000}
    made = task(detector(shapes), {"found": card})
    scores = np.random.default_rng(1).permutation(999) / 2000 + 0.2
    x = np.arange(999) / 10
    where = np.stack([x, x * 0, x + 0.05, x * 0 + 50], axis=1)
    found = answered(made, where=[where], how_sure=[scores])
    assert [each["score"] for each in found] == pytest.approx(sorted(scores)[::-1][:50], abs=1e-6)


# --- what is no number


@pytest.mark.parametrize(
    ("box", "score", "refused"),
    [
        ([10, 5, 30, 25], np.nan, True),
        ([10, 5, 30, 25], np.inf, True),
        ([np.nan, 5, 30, 25], 0.9, True),
        ([np.nan, 5, 30, 25], 0.1, False),
        ([10, 5, 30, 25], -np.inf, False),
        ([-np.inf, 5, np.inf, 25], 0.9, False),
    ],
)
def test_nan_is_an_error_where_it_counts(box: Any, score: float, refused: bool) -> None:
    made = task(detector(SHAPES), {"found": SEPARATE})
    outputs = separate([FORMATS["xyxy"], box], [0.8, score], [0, 0])
    if refused:
        with pytest.raises(NonFiniteOutput):
            answered(made, **outputs)
    else:
        assert len(answered(made, **outputs)) == 1 + (score > 0.5)


def test_infinitely_wide_boxes_are_as_wide_as_the_picture() -> None:
    card = {**SEPARATE, "format": "center_xywh"}
    made = task(detector(SHAPES), {"found": card})
    (found,) = answered(made, **separate([[50, 25, np.inf, 10]], [0.9], [0]))
    assert found["box"] == {"xmin": 0, "ymin": 40, "xmax": 400, "ymax": 60}
