"""The settings of an output of boxes, and which tensors of a model it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from app.serving.cards.part import Activation, Part, Text, Threshold
from app.serving.signature import TensorSpec

Format = Literal["xyxy", "yxyx", "xywh", "center_xywh"]
Known = Literal["detection-api", "keras"]
# The boxes, scores, classes and count of models that name them as TensorFlow's Object Detection API
# does (object_detection/exporter_lib_v2.py), and as KerasCV and KerasHub do.
NAMES: dict[Known, Sequence[Sequence[str]]] = {
    "detection-api": (
        ("detection_boxes",),
        ("detection_scores",),
        ("detection_classes",),
        ("num_detections",),
    ),
    "keras": (("boxes",), ("confidence",), ("classes", "labels"), ("num_detections",)),
}


class BoxesOutput(Part):
    """An output of boxes around things in a picture, which may be several tensors.

    tensor: of the boxes, (rows, n, 4); or of boxes, with an objectness or without, and a score for
    each label: (rows, n, 4 or 5 + labels), or the last two sizes the other way round. scores:
    (rows, n), or (rows, n, labels). classes: (rows, n), the class of each box, of which the first
    label has the number `first_class`. count: how many boxes of a row count. format, relative: what
    the four numbers are: corners, or a corner or the centre with width and height; parts of the
    input's size, or its pixels. threshold: of scores. top: the most boxes of an answer. overlap:
    intersection over union from which on the lesser of two boxes of one class is left out. picture:
    the input that has the boxes, of several.
    """

    kind: Literal["boxes"]
    tensor: Text | None = None
    scores: Text | None = None
    classes: Text | None = None
    count: Text | None = None
    format: Format | None = None
    relative: bool | None = None
    labels: list[Text] | str | None = None
    first_class: Annotated[int, Field(ge=0, le=1)] | None = None
    threshold: Threshold = 0.5
    top: Annotated[int, Field(ge=1, le=1000)] = 100
    overlap: Annotated[float, Field(gt=0, lt=1)] | None = None
    activation: Activation | None = None
    picture: Text | None = None

    @property
    def is_open(self) -> bool:
        """Whether it leaves open which tensors it is made of."""
        return self.tensor is self.scores is self.classes is self.count is None


@dataclass(frozen=True, slots=True)
class BoxTensors:
    """The tensors of an output of boxes. known: whose names they have, if any."""

    boxes: TensorSpec
    scores: TensorSpec | None = None
    classes: TensorSpec | None = None
    count: TensorSpec | None = None
    known: Known | None = None

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All of them."""
        every = (self.boxes, self.scores, self.classes, self.count)
        return tuple(spec for spec in every if spec is not None)


def known_tensors(specs: Sequence[TensorSpec]) -> BoxTensors | None:
    """Return the tensors of boxes among the outputs of a model that names them in a known way."""
    by_name = {spec.name: spec for spec in specs}
    return _named(by_name, "detection-api") or _named(by_name, "keras")


def _named(by_name: Mapping[str, TensorSpec], known: Known) -> BoxTensors | None:
    """Return the tensors of these names; None unless all but the count are there, and boxes are
    boxes."""
    boxes, scores, classes, count = (
        next((by_name[name] for name in choices if name in by_name), None)
        for choices in NAMES[known]
    )
    if boxes is None or scores is None or classes is None:
        return None
    shape = boxes.shape
    if shape is None or len(shape) not in (2, 3) or shape[-1] not in (4, None):
        return None
    return BoxTensors(boxes, scores, classes, count, known)
