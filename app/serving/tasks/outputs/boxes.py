"""Boxes around things in a picture, in pixels of the picture as it was sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InferenceError, NonFiniteOutput
from app.json_body import write_json
from app.serving.arrays import Array
from app.serving.cards.boxes_output import BoxesOutput, BoxTensors
from app.serving.cards.kinds import Kind, Place
from app.serving.signature import OutputMeaning, Signature
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.outputs.classes import LONGEST_SCORE, conversion, rounded
from app.serving.tasks.outputs.output import PlacedOutput
from app.serving.tasks.outputs.overlap import without_overlaps
from app.serving.tasks.parts import significant
from app.thread_slices import checkpoint

# The best boxes of a row, of which those that overlap are left out: more cost time, and hardly ever
# reach an answer.
MOST_CANDIDATES = 5000
SIDES = ("xmin", "ymin", "xmax", "ymax")
# By how much numbers from 0 to 1 may be outside.
_ROUNDING = 1e-3
_UNKNOWN = OutputMeaning("unknown", None, False, "")


def place_in_words(box: Mapping[str, Any]) -> str:
    """Return where a box is, for people: its corners in whole pixels."""
    # Halves upwards, as in scripts of pages.
    left, top, right, bottom = (math.floor(box["box"][side] + 0.5) for side in SIDES)
    return f"{left}, {top} to {right}, {bottom}"


def boxes_in_words(boxes: Sequence[Mapping[str, Any]]) -> str:
    """Return all boxes of an answer in one line."""
    return "; ".join(
        f"{box['label']} {box.get('probability', box.get('score'))} ({place_in_words(box)})"
        for box in boxes
    )


class Boxes(PlacedOutput):
    """Each box with a label and its probability or score, the best first.

    key: what an answer calls the number of a box: "probability" if it is one, else "score".
    pictures: the inputs that take pictures. Raises CardError from `__init__` where card and model
    do not fit.
    """

    kind = "boxes"

    def __init__(
        self, kind: Kind[BoxesOutput], signature: Signature, pictures: Sequence[str]
    ) -> None:
        assert kind.boxes is not None
        tensors, card, place = kind.boxes, kind.card, kind.place
        super().__init__(kind.name, tensors.boxes)
        self._tensors, self._card = tensors, card
        self.picture = _picture(card, place, pictures)
        self.labels = _labels(card, place)
        self._layout = _layout(tensors, self.labels, place)
        detection_api = tensors.known == "detection-api"
        if card.format is None and tensors.known is None:
            raise place.stated(
                "nothing says what the four numbers of a box are: add 'format:' (xyxy, yxyx, xywh "
                "or center_xywh), and 'relative: true' where they are parts of the input's size"
            )
        self.format = card.format or ("yxyx" if detection_api else "xyxy")
        self.relative = detection_api if card.relative is None else card.relative
        if card.first_class is not None and tensors.classes is None:
            raise place.wrong("first_class", " goes with 'classes'")
        self._first = int(detection_api) if card.first_class is None else card.first_class
        found = conversion(
            signature.meaning(tensors.scores or tensors.boxes) or _UNKNOWN, card.activation
        )
        self._function = found.function
        self.key = "probability" if found.probable else "score"
        self._shown = rounded if found.probable else significant
        self.row_bytes = card.top * self._box_bytes()

    def _box_bytes(self) -> int:
        """Bytes of the longest box of an answer in JSON."""
        label = max(self.labels or ["9" * 10], key=lambda each: len(write_json(each)))
        corner = dict.fromkeys(SIDES, 65535.25)
        return len(write_json({"label": label, self.key: LONGEST_SCORE, "box": corner})) + 1

    def placed_values(
        self, outputs: Mapping[str, Array], placed: Sequence[Placement]
    ) -> list[list[dict[str, Any]]]:
        """Return the boxes of each row."""
        boxes, scores, classes, counts = self._arrays(outputs, len(placed))
        assert boxes is not None
        if self._layout.flipped:
            boxes = boxes.swapaxes(1, 2)
        found = []
        for i, placement in enumerate(placed):
            count = boxes.shape[1] if counts is None else _count(counts[i])
            score, number = (
                None if each is None else each[i][:count] for each in (scores, classes)
            )
            found.append(self._row(boxes[i][:count], score, number, placement))
            checkpoint()
        return found

    def _arrays(self, outputs: Mapping[str, Array], rows: int) -> list[Array | None]:
        """Return boxes, scores, classes and count of each row. Raises InferenceError where the
        outputs do not have the rows of the pictures, or not as many scores as boxes."""
        tensors = self._tensors
        specs = (tensors.boxes, tensors.scores, tensors.classes, tensors.count)
        arrays = [None if spec is None else outputs[spec.name] for spec in specs]
        if outputs[tensors.boxes.name].ndim == 2:
            # Models of one picture may leave out the dimension of the rows.
            arrays = [None if array is None else array[None] for array in arrays]
        # Of boxes and what goes with them, the second size is how many there are.
        sizes = {array.shape[:2] for array in arrays[:3] if array is not None}
        if any(array is not None and array.shape[:1] != (rows,) for array in arrays) or (
            len(sizes) > 1
        ):
            shapes = ", ".join(
                f"{spec.name} {list(outputs[spec.name].shape)}" for spec in specs if spec
            )
            raise InferenceError(
                f"the outputs of boxes do not belong together for {rows} pictures: {shapes}"
            )
        return arrays

    def _row(
        self,
        boxes: Array,
        scores: Array | None,
        classes: Array | None,
        placement: Placement,
    ) -> list[dict[str, Any]]:
        """The boxes of one picture."""
        card = self._card
        best, numbers = self._best(boxes, scores, classes)
        if np.isnan(best).any() or np.isposinf(best).any():
            raise NonFiniteOutput
        at = np.flatnonzero(best >= card.threshold)
        if len(at) > MOST_CANDIDATES:
            at = np.sort(at[np.argpartition(-best[at], MOST_CANDIDATES)[:MOST_CANDIDATES]])
        at = at[np.argsort(-best[at], kind="stable")]
        corners = self._corners(boxes[at, :4].astype(np.float64), placement.fed)
        if np.isnan(corners).any():
            raise NonFiniteOutput
        shown = placement.in_picture(corners)
        is_box = (shown[:, 2] > shown[:, 0]) & (shown[:, 3] > shown[:, 1])
        # Padding of Keras has the class -1.
        is_box &= numbers[at] >= 0
        at, corners, shown = at[is_box], corners[is_box], shown[is_box]
        kept = without_overlaps(corners, numbers[at], card.top, card.overlap)
        return [
            {
                "label": self._label(int(numbers[at[i]])),
                self.key: self._shown(float(best[at[i]])),
                "box": dict(zip(SIDES, shown[i].round(2).tolist(), strict=True)),
            }
            for i in kept
        ]

    def _best(
        self, boxes: Array, scores: Array | None, classes: Array | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the best score of each box, and the number of its class."""
        part = np.ones(len(boxes))
        if scores is None:
            columns = boxes[:, 4:]
            if self._layout.objectness:
                part, columns = self._converted(columns[:, 0]), columns[:, 1:]
                _check_part(part)
        elif scores.ndim == 1:
            columns = scores[:, None]
        else:
            columns = scores
        if self._function == "softmax":
            columns = self._converted(columns)
        numbers = columns.argmax(axis=1) if columns.shape[1] > 1 else np.zeros(len(columns), int)
        best = np.take_along_axis(columns, numbers[:, None], axis=1)
        if self._function != "softmax":
            best = self._converted(best)
        if classes is not None:
            # What is no number is no class.
            numbers = np.nan_to_num(classes.reshape(-1).astype(np.float64), nan=-1).round()
            numbers = numbers.astype(np.int64)
        return part * best[:, 0], numbers

    def _converted(self, scores: Array) -> NDArray[np.float64]:
        """Apply the activation that the model has left out."""
        numbers = scores.astype(np.float64)
        if self._function == "exp":
            return np.exp(numbers)
        if self._function == "sigmoid":
            # 0.5 * (1 + tanh(x / 2)) is the sigmoid without its overflow.
            return 0.5 * (1.0 + np.tanh(numbers / 2.0))
        if self._function == "softmax" and numbers.ndim == 2:
            numbers = np.exp(numbers - numbers.max(axis=1, keepdims=True))
            numbers /= numbers.sum(axis=1, keepdims=True)
        return numbers

    def _corners(self, boxes: NDArray[np.float64], fed: tuple[int, int]) -> NDArray[np.float64]:
        """Return left, top, right and bottom in pixels of the model's input, of (width, height)
        `fed`."""
        # Infinity less Infinity is no place.
        with np.errstate(invalid="ignore", over="ignore"):
            if self.format == "yxyx":
                boxes = boxes[:, [1, 0, 3, 2]]
            elif self.format == "xywh":
                boxes = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
            elif self.format == "center_xywh":
                half = boxes[:, 2:] / 2
                boxes = np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])
            return boxes * np.array(fed * 2) if self.relative else boxes

    def _label(self, number: int) -> str:
        """Return the label of a class; its number if it has none."""
        at = number - self._first
        return self.labels[at] if self.labels and 0 <= at < len(self.labels) else str(number)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of a value."""
        corner = {"type": "number", "minimum": 0}
        box = {
            "type": "object",
            "properties": dict.fromkeys(SIDES, corner),
            "required": [*SIDES],
            "additionalProperties": False,
            "description": "In pixels of the picture as it was sent, upright.",
        }
        properties = {"label": {"type": "string"}, self.key: {"type": "number"}, "box": box}
        return {
            "type": "array",
            "items": {
                "type": "object",
                "properties": properties,
                "required": [*properties],
                "additionalProperties": False,
            },
            "maxItems": self._card.top,
            "description": "The highest first.",
        }

    def about(self) -> dict[str, Any]:
        """What the boxes are, and which of them are answered."""
        return {
            "labels": self.labels,
            "number": self.key,
            "threshold": self._card.threshold,
            "top": self._card.top,
            "overlap": self._card.overlap,
            "format": self.format,
            "relative": self.relative,
            "picture": self.picture,
        }


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the tensor of boxes is read. flipped: whether its last two sizes are the other way round.
    objectness: whether the score of any thing at all stands before those of the labels."""

    flipped: bool = False
    objectness: bool = False


def _layout(tensors: BoxTensors, labels: Sequence[str] | None, place: Place) -> _Layout:
    """Return how the tensor of boxes is read. Raises CardError where shapes do not fit."""
    shape = tensors.boxes.shape
    sizes = (None, None) if shape is None else shape[-2:]
    if shape is not None and (len(shape) not in (2, 3) or tensors.boxes.dtype == "string"):
        raise place.problem(
            f"needs boxes of shape (rows, boxes, numbers), this model's are {tensors.boxes.dtype} "
            f"of shape {shape}"
        )
    if tensors.scores is not None:
        if sizes[1] not in (4, None):
            raise place.problem(
                f"needs boxes of four numbers beside 'scores', this model's have the shape {shape}"
            )
        _check_scores(tensors, labels, place)
        return _Layout()
    if tensors.classes is not None:
        raise place.stated("'classes' goes with 'scores': name the output that has them")
    if not labels:
        raise place.stated(
            "name the outputs with 'scores' and 'classes'; or, where "
            f"{tensors.boxes.name} of shape {shape} holds the scores as well, list the 'labels'"
        )
    for flipped, size in ((False, sizes[1]), (True, sizes[0])):
        if size in (4 + len(labels), 5 + len(labels)):
            return _Layout(flipped, objectness=size == 5 + len(labels))
    raise place.stated(
        f"{len(labels)} labels do not match the model's output of shape {shape}: expected 4 "
        "numbers of each box, a score for each label, and perhaps one for all"
    )


def _check_scores(tensors: BoxTensors, labels: Sequence[str] | None, place: Place) -> None:
    """Raise CardError where there is not one label for each score."""
    assert tensors.scores is not None
    shape = tensors.scores.shape
    if shape is None or tensors.classes is not None or labels is None:
        return
    units = shape[-1] if len(shape) == len(tensors.boxes.shape or shape) else 1
    if units is not None and units != len(labels):
        raise place.stated(
            f"{len(labels)} labels do not match the model's output {tensors.scores.name} of shape "
            f"{shape}: expected {units}"
        )


def _labels(card: BoxesOutput, place: Place) -> list[str] | None:
    if isinstance(card.labels, str):
        raise place.wrong("labels", f": {card.labels!r} goes with classes: list the labels")
    return card.labels


def _picture(card: BoxesOutput, place: Place, pictures: Sequence[str]) -> str:
    """Return the input that has the boxes. Raises CardError."""
    names = ", ".join(pictures)
    if not pictures:
        raise place.problem("needs a picture among the inputs")
    if card.picture is None and len(pictures) > 1:
        raise place.stated(f"say with 'picture:' which of {names} has the boxes")
    if card.picture is not None and card.picture not in pictures:
        raise place.wrong("picture", f": {card.picture!r} is none of {names}")
    return card.picture or pictures[0]


def _check_part(objectness: NDArray[np.float64]) -> None:
    """Raise InferenceError where scores cannot be multiplied with it: of two negative numbers, the
    product would be a good score."""
    low, high = objectness.min(initial=0), objectness.max(initial=0)
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InferenceError(
            f"the objectness of boxes is from {objectness.min():g} to {objectness.max():g}, which "
            "is no part of 1: set 'activation: sigmoid' in the card's output"
        )


def _count(array: Array) -> int:
    """Return how many boxes count. Raises NonFiniteOutput."""
    number = float(array.reshape(-1)[0])
    if not math.isfinite(number):
        raise NonFiniteOutput
    return max(0, int(number))
