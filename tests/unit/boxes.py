"""Detectors as signatures and cards, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.signature import Signature
from app.serving.tasks import Limits, RowTask
from app.serving.tasks.files.placement import Placement
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
