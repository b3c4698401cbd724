"""Boxes from the tensors of detectors: their formats, scores, classes and overlaps."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from app.errors import CardError, InferenceError, InvalidInput, NonFiniteOutput
from app.serving.arrays import Array
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import read_card
from app.serving.signature import OutputMeaning, Signature, TensorSpec
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.outputs import boxes as module
from app.serving.tasks.outputs.boxes import Boxes
from app.serving.tasks.outputs.overlap import without_overlaps
from tests.support import picture
from tests.unit.signatures import Shape, signature, spec

# A picture of 400 x 100 pixels as 100 x 50.
PLACED = Placement((400, 100), (0, 0, 400, 100), (100, 50), (0, 0, 100, 50))
# The same box of (10, 5) to (30, 25) in the input, in each format.
FORMATS = {
    "xyxy": [10, 5, 30, 25],
    "yxyx": [5, 10, 25, 30],
    "xywh": [10, 5, 20, 20],
    "center_xywh": [20, 15, 20, 20],
}
CORNERS = {"xmin": 40.0, "ymin": 10.0, "xmax": 120.0, "ymax": 50.0}
SEPARATE = {
    "kind": "boxes",
    "tensor": "where",
    "scores": "how_sure",
    "classes": "what",
    "format": "xyxy",
}


def detector(
    outputs: Mapping[str, Shape],
    batch: int | None = None,
    dtype: str = "float32",
    size: int | None = 50,
    file: bool = False,
) -> Signature:
    """A model of one picture. file: whether it is a Keras file, whose weights are known."""
    shape = (batch, size, size and 2 * size, 3)
    found = tuple(spec(name, shape=s) for name, s in outputs.items())
    return signature(
        spec("picture", dtype, shape), outputs=found, activation="linear" if file else None
    )


def task(of: Signature, card: Any = None, inputs: Any = None) -> RowTask:
    said = None
    if card is not None:
        taken = inputs or {"picture": {"kind": "picture", "size": [50, 100]}}
        said = Card.model_validate({"inputs": taken, "outputs": card})
    return RowTask(*completed(said, of), Limits())


def answered(task: RowTask, **outputs: Any) -> list[dict[str, Any]]:
    """The boxes of one row."""
    names = [t.name for t in task.signature.outputs]
    arrays = [np.asarray(outputs[name], np.float32) for name in names]
    places = np.empty(1, object)
    places[0] = PLACED
    made = task.work(arrays, {"picture": places})
    (out,) = task.placed
    found: list[dict[str, Any]] = made[out.name][0]
    assert task.answer(arrays, made)[0][task.placed[0].name] == found
    return found


def separate(boxes: Any, scores: Any, classes: Any) -> dict[str, Any]:
    return {"where": [boxes], "how_sure": [scores], "what": [classes]}


SHAPES: dict[str, Shape] = {"where": (None, 9, 4), "how_sure": (None, 9), "what": (None, 9)}


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


# --- names of known libraries

DETECTION_API: dict[str, Shape] = {
    "detection_anchor_indices": (1, 100),
    "detection_boxes": (1, 100, 4),
    "detection_classes": (1, 100),
    "detection_multiclass_scores": (1, 100, 91),
    "detection_scores": (1, 100),
    "num_detections": (1,),
    "raw_detection_boxes": (1, 1917, 4),
    "raw_detection_scores": (1, 1917, 91),
}


def filled(of: Mapping[str, Shape], value: float) -> dict[str, Array]:
    """One row of each output, of `value` throughout."""
    return {
        name: np.full([size or 1 for size in shape or ()], value, np.float32)
        for name, shape in of.items()
    }


@pytest.mark.parametrize("batch", [True, False])
def test_a_model_of_the_object_detection_api_needs_no_card(batch: bool) -> None:
    shapes = {n: s if batch or s is None else s[1:] for n, s in DETECTION_API.items()}
    of = detector(shapes, batch=1, dtype="uint8", size=None)
    made = task(of)
    outputs = filled(DETECTION_API, np.nan)
    outputs["num_detections"][:] = 2
    outputs["detection_scores"][0, :2] = 0.9, 0.8
    outputs["detection_classes"][0, :2] = 18, 1
    outputs["detection_boxes"][0, :2] = [[0.1, 0.1, 0.5, 0.3], [0, 0, 1, 1]]
    found = answered(made, **{n: a if batch else a[0] for n, a in outputs.items()})
    assert found == [
        {"label": "18", "score": 0.9, "box": CORNERS},
        {
            "label": "1",
            "score": 0.8,
            "box": {"xmin": 0, "ymin": 0, "xmax": 400, "ymax": 100},
        },
    ]
    assert [each.kind for each in made.outputs] == ["boxes"]
    assert made.unwritten == {*DETECTION_API}
    found_guesses = [g.key for g in guesses(None, made.card, of)]
    assert found_guesses == ["inputs", "outputs.boxes.labels", "outputs.boxes.activation"]
    # The labels are those from class 1 on.
    labelled = task(
        of,
        {"boxes": {"kind": "boxes", "labels": ["a"]}},
        {"picture": {"kind": "picture", "size": "own"}},
    )
    outputs["num_detections"][:] = 2.0
    found = answered(labelled, **{n: a if batch else a[0] for n, a in outputs.items()})
    assert [each["label"] for each in found] == ["18", "a"]


def test_a_card_with_the_boxes_alone_takes_pictures_in_their_own_size() -> None:
    of = detector(DETECTION_API, batch=1, dtype="uint8", size=None)
    said = Card.model_validate({"outputs": {"boxes": {"kind": "boxes", "labels": ["cat", "dog"]}}})
    card, _ = completed(said, of)
    (taken,) = (card.inputs or {}).values()
    assert taken.kind == "picture"
    assert taken.size == "own"
    RowTask(card, of, Limits())


def test_a_label_map_beside_a_detector_names_its_classes(tmp_path: Path) -> None:
    of = detector(DETECTION_API, batch=1, dtype="uint8", size=None)
    (tmp_path / "label_map.pbtxt").write_text("item {id: 2 name: 'dog'} item {id: 1 name: 'cat'}")
    card, _ = completed(None, of, [tmp_path])
    (boxes,) = (card.outputs or {}).values()
    assert boxes.kind == "boxes"
    assert boxes.labels == ["cat", "dog"]
    (tmp_path / "model.yaml").write_text("labels: [a, b]\n")
    card, _ = completed(read_card(tmp_path), of, [tmp_path])
    (boxes,) = (card.outputs or {}).values()
    assert boxes.kind == "boxes"
    assert (boxes.labels, card.labels) == (["a", "b"], None)


@pytest.mark.parametrize("name", ["classes", "labels"])
@pytest.mark.parametrize("file", [True, False])
def test_a_detector_of_keras_needs_no_card(name: str, file: bool) -> None:
    shapes: dict[str, Shape] = {
        "boxes": (None, 4, 4),
        name: (None, 4),
        "confidence": (None, 4),
        "num_detections": (None,),
        "features": (None, 7),
    }
    of = detector(shapes, file=file)
    made = task(of)
    assert [out.name for out in made.outputs] == ["boxes", *["features"] * file]
    outputs = filled(shapes, -1)
    outputs["boxes"][0, 0] = FORMATS["xyxy"]
    outputs["confidence"][0, 0], outputs[name][0, 0] = 0.5, 2
    outputs["num_detections"][:] = 4
    # Padding is -1 throughout, whatever the count says.
    (found,) = answered(made, **outputs)
    assert (found["label"], found["box"]) == ("2", CORNERS)
    assert "outputs.boxes.format" in [g.key for g in guesses(None, made.card, of)]


def test_other_models_of_such_names_stay_what_they_are() -> None:
    of = detector({"detection_boxes": (None, 4), "detection_scores": (None, 3)})
    assert completed(None, of)[0].task == "tensor"
    rows = signature(
        spec("x", shape=(None, 7)),
        outputs=tuple(TensorSpec(n, n, "float32", s) for n, s in DETECTION_API.items()),
    )
    assert completed(None, rows)[0].task == "tensor"


# --- pictures in their own sizes


def own_sizes(limits: Limits, max_length: int | None = None) -> RowTask:
    runtime = {} if max_length is None else {"max_length": max_length}
    taken = {"picture": {"kind": "picture", "size": "own"}}
    said = {"inputs": taken, "outputs": {"found": SEPARATE}, "runtime": runtime}
    of = detector(SHAPES, size=None)
    return RowTask(*completed(Card.model_validate(said), of), limits)


def pictures(*sizes: tuple[int, int]) -> Payload:
    return Payload("files", files=[io.BytesIO(picture(0, size)) for size in sizes])


def test_pictures_keep_their_sizes_up_to_a_limit() -> None:
    made = own_sizes(Limits(), max_length=64)
    rows = made.decode(made.parse(pictures((64, 20), (65, 20), (64, 20))))
    assert [row.shape for row in rows.arrays[0]] == [(20, 64, 3)] * 3
    assert rows.alike() == [[0, 1, 2]]
    assert [place.size for place in rows.placed["picture"]] == [(64, 20), (65, 20), (64, 20)]
    usual = own_sizes(Limits())
    (array,) = usual.decode(usual.parse(pictures((1025, 10)))).arrays
    assert array.shape == (1, 10, 1024, 3)


def test_rows_of_the_same_shape_run_together() -> None:
    made = own_sizes(Limits())
    rows = made.decode(made.parse(pictures((40, 20), (20, 40), (40, 20))))
    assert rows.uneven
    assert rows.alike() == [[0, 2], [1]]
    part = rows.take([0, 2])
    assert part.arrays[0].shape == (2, 20, 40, 3)
    assert [place.size for place in part.placed["picture"]] == [(40, 20)] * 2
    assert not part.uneven


def test_pictures_of_a_request_have_a_limit_together() -> None:
    made = own_sizes(Limits(max_pixels=2000))
    assert len(made.decode(made.parse(pictures((40, 25), (25, 40)))).arrays[0]) == 2
    with pytest.raises(InvalidInput, match="3 pictures of 2,001 pixels for the model in one req"):
        made.decode(made.parse(pictures((40, 25), (25, 40), (1, 1))))


# --- cards that do not fit


@pytest.mark.parametrize(
    ("card", "shapes", "message"),
    [
        ({"kind": "boxes"}, {"out": (None, 9, 4)}, "name the outputs with 'scores' and 'classes'"),
        (
            {"kind": "boxes", "labels": ["a"]},
            {"out": (None, 9, 8)},
            r"1 labels do not match the model's output of shape \(None, 9, 8\)",
        ),
        ({**SEPARATE, "format": None}, SHAPES, "nothing says what the four numbers of a box are"),
        ({**SEPARATE, "scores": "sure"}, SHAPES, "scores: the model has no output 'sure'"),
        ({**SEPARATE, "scores": None}, SHAPES, "'classes' goes with 'scores'"),
        (
            {**SEPARATE, "tensor": "what"},
            SHAPES,
            "needs boxes of four numbers beside 'scores'|needs",
        ),
        ({**SEPARATE, "picture": "other"}, SHAPES, "'other' is none of picture"),
        ({**SEPARATE, "classes": None, "first_class": 1}, SHAPES, "first_class goes with"),
        (
            {**SEPARATE, "classes": None, "labels": ["a", "b"]},
            SHAPES,
            "2 labels do not match the model's output how_sure",
        ),
        ({**SEPARATE, "labels": "imagenet"}, SHAPES, "labels: 'imagenet' goes with classes"),
    ],
)
def test_cards_that_do_not_fit(card: Any, shapes: Mapping[str, Shape], message: str) -> None:
    with pytest.raises(CardError, match=message):
        task(detector(shapes), {"found": card})


def test_boxes_need_a_picture() -> None:
    of = signature(
        spec("x", shape=(None, 5)),
        outputs=tuple(spec(n, shape=s) for n, s in SHAPES.items()),
    )
    with pytest.raises(CardError, match="needs a picture among the inputs"):
        task(of, {"found": SEPARATE}, {"x": {"kind": "tensor"}})


def test_of_two_pictures_the_card_says_which() -> None:
    of = signature(
        spec("left", shape=(None, 8, 8, 3)),
        spec("right", shape=(None, 8, 8, 3)),
        outputs=tuple(spec(n, shape=s) for n, s in SHAPES.items()),
    )
    inputs = {"left": {"kind": "picture"}, "right": {"kind": "picture"}}
    with pytest.raises(CardError, match="say with 'picture:' which of left, right has the boxes"):
        task(of, {"found": SEPARATE}, inputs)
    made = task(of, {"found": {**SEPARATE, "picture": "right"}}, inputs)
    assert made.placed[0].picture == "right"


def test_outputs_that_do_not_belong_together_are_an_error_of_the_model() -> None:
    made = task(detector({**SHAPES, "where": (None, None, 4)}), {"found": SEPARATE})
    with pytest.raises(InferenceError, match="do not belong together"):
        answered(made, where=[[[1, 2, 3, 4]] * 3], how_sure=[[1, 1]], what=[[0, 0]])


def test_the_schema_and_the_size_of_an_answer() -> None:
    card = {**SEPARATE, "labels": ["short", "a longer label"], "top": 3}
    made = task(detector(SHAPES), {"found": card})
    (out,) = made.outputs
    assert isinstance(out, Boxes)
    found = answered(made, **separate([FORMATS["xyxy"]] * 5, [0.123456789] * 5, [1] * 5))
    assert found == []
    scores = [0.987654321] * 5
    found = answered(made, **separate([[1.234, 2.345, 33.33333, 44.4444]] * 5, scores, [1] * 5))
    assert len(found) == 3
    OAS31Validator(out.schema()).validate(found)
    assert len(orjson.dumps(found)) <= made.row_bytes
