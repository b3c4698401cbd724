"""Detectors by the names of their outputs, in the sizes of pictures, and cards that do not fit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from openapi_schema_validator import OAS31Validator

from app.errors import CardError, InferenceError, InvalidInput
from app.serving.arrays import Array
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import read_card
from app.serving.signature import TensorSpec
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.outputs.boxes import Boxes
from tests.support import picture
from tests.unit.boxes import CORNERS, FORMATS, SEPARATE, SHAPES, answered, detector, separate, task
from tests.unit.signatures import Shape, signature, spec

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
