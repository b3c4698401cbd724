"""Numbers of a model become labels, with probabilities or scores."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.json_body import write_json
from app.serving.arrays import Array
from app.serving.cards.card import ClassesOutput
from app.serving.cards.kinds import Kind, Place
from app.serving.cards.part import Activation
from app.serving.signature import OutputMeaning
from app.serving.tasks.outputs.output import Output
from app.serving.tasks.parts import Target, significant

Reading = Literal["binary", "single", "multi"]
# A score with as many characters as any.
LONGEST_SCORE = -1.234567e-300
# Where nothing is known of the numbers.
UNKNOWN = OutputMeaning("unknown", None, False, "")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What makes the numbers of a row those of an answer.

    function: what is applied to them; None for nothing. multi: whether any number of the classes
    may hold. probable: whether the result is a probability.
    """

    function: Literal["softmax", "sigmoid", "exp"] | None
    multi: bool
    probable: bool


def conversion(meaning: OutputMeaning, wanted: Activation | None) -> Conversion:
    """Return how the numbers of several classes, or of one of two, are converted.

    wanted: the activation that the card names. What has already had it stays as it is.
    """
    numbers = meaning.numbers
    found = "sigmoid" if meaning.multi or numbers == "sigmoid" else "softmax"
    activation = found if wanted is None or wanted == "none" else wanted
    multi = activation == "sigmoid"
    if wanted == "none":
        # The card says that they are what they have to be, unless they cannot be.
        return Conversion(None, multi, probable=numbers in ("softmax", "sigmoid", "unknown"))
    if activation == found and numbers in ("softmax", "sigmoid"):
        return Conversion(None, multi, probable=meaning.proven or wanted is not None)
    if activation == found and numbers == "log-probabilities":
        return Conversion("exp", multi, probable=True)
    if wanted is not None or numbers == "logits":
        return Conversion("sigmoid" if multi else "softmax", multi, probable=True)
    return Conversion(None, multi, probable=False)


class Classes(Output):
    """Reads the numbers of a classifier as its card and its file say.

    One output unit stands for the second of two labels (`binary`); several units stand for as many
    labels, of which one holds (`single`, softmax) or any number (`multi`, sigmoid). key: what an
    answer calls the number of a label: "probability" if it is one, else "score". meaning: None
    where nothing is known. Raises CardError where labels and outputs do not match.
    """

    kind = "classes"
    wrapped = False
    labels: list[str]

    def __init__(self, kind: Kind[ClassesOutput], meaning: OutputMeaning | None) -> None:
        (spec,) = kind.specs
        super().__init__(kind.name, spec)
        card, place, shape = kind.card, kind.place, spec.shape
        if shape is None or len(shape) != 2 or shape[1] is None:
            raise place.problem(
                f"needs an output of shape (rows, classes), this model's is {shape}"
            )
        self.units: int = shape[1]
        if self.units == 1 and card.activation == "softmax":
            raise place.wrong(
                "activation" if place.long else "output.activation",
                ": softmax needs several units, this model's output has one: use sigmoid",
            )
        meaning = meaning or UNKNOWN
        self._conversion = conversion(meaning, card.activation)
        self.reading: Reading = "multi" if self._conversion.multi else "single"
        if self.units == 1:
            self.reading = "binary"
        self.key = "probability" if self._conversion.probable else "score"
        self.labels = self._labels(card, place)
        # Half of the sum of the two numbers of a single unit.
        self._middle = 0.5 if self._conversion.probable else meaning.middle
        self.threshold = self._middle if card.threshold is None else card.threshold
        self.top = card.top
        self.row_bytes = self._row_bytes()

    def _labels(self, card: ClassesOutput, place: Place) -> list[str]:
        needed = 2 if self.reading == "binary" else self.units
        if card.labels is None:
            return [str(i) for i in range(needed)]
        labels = card.labels
        if isinstance(labels, str):
            raise place.wrong("labels", f": {labels!r} was not read")
        if len(labels) != needed:
            units = f"{self.units} units"
            if self.reading == "binary":
                units = f"1 unit, the {self.key} of the second of two"
            raise place.stated(
                f"{len(labels)} labels do not match the model's output of {units}: "
                f"expected {needed} labels"
            )
        return labels

    def _row_bytes(self) -> int:
        """Bytes of the longest answer in JSON: of several labels all may hold."""
        named = nlargest(self.top, self.labels, key=lambda label: len(write_json(label)))
        number = 0.987654 if self.key == "probability" else LONGEST_SCORE
        top = [{"label": label, self.key: number} for label in named]
        answer = {**top[0], "top": top}
        if self.reading == "multi":
            answer["labels"] = self.labels
        return len(write_json(answer))

    def values(self, array: Array) -> list[dict[str, Any]]:
        """Return one answer per row of (rows, units): the label, its probability or score, and the
        top labels."""
        return [self._one(row) for row in self._numbers(array.astype(np.float64)).tolist()]

    @property
    def has_target(self) -> bool:
        """Always: that of the label."""
        return True

    def target(self, array: Array) -> Target:
        """Follow the number of the label that is answered."""
        (answer,) = self.values(array)
        place = self._best(self._numbers(array.astype(np.float64))[0].tolist())

        def of(rows: Array) -> list[float]:
            found: list[float] = self._numbers(rows.astype(np.float64))[:, place].tolist()
            return found

        about = {"label": answer["label"], self.key: answer[self.key]}
        return Target(about, of, self._shown)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of one answer."""
        label = {"type": "string", "enum": list(dict.fromkeys(self.labels))}
        number = {"type": "number"}
        scored = {
            "type": "object",
            "properties": {"label": label, self.key: number},
            "required": ["label", self.key],
            "additionalProperties": False,
        }
        shown = min(self.top, len(self.labels))
        properties: dict[str, Any] = {"label": label, self.key: number}
        if self.reading == "multi":
            properties["labels"] = {
                "type": "array",
                "items": label,
                "description": f"All with a {self.key} of at least {self.threshold:g}.",
            }
        properties["top"] = {
            "type": "array",
            "items": scored,
            "minItems": shown,
            "maxItems": shown,
            "description": "The most probable first."
            if self.key == "probability"
            else "The highest score first.",
        }
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def about(self) -> dict[str, Any]:
        """Labels, how many of them hold at once, and what their numbers are called."""
        return {
            "labels": self.labels,
            "several": self.reading == "multi",
            "threshold": self.threshold,
            "number": self.key,
        }

    def _numbers(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a number for each label: (rows, labels)."""
        function = self._conversion.function
        if function == "exp":
            scores = np.exp(scores)
        elif function == "softmax" and self.reading != "binary":
            exp = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = exp / exp.sum(axis=1, keepdims=True)
        elif function is not None:
            # 0.5 * (1 + tanh(x / 2)) is the sigmoid without its overflow.
            scores = 0.5 * (1.0 + np.tanh(scores / 2.0))
        if self.reading == "binary":
            scores = np.hstack([2 * self._middle - scores, scores])
        return scores

    def _best(self, row: list[float]) -> int:
        """The place of the label that is answered."""
        if self.reading == "binary":
            return int(row[1] >= self.threshold)
        return max(range(len(row)), key=row.__getitem__)

    def _shown(self, value: float) -> float:
        return rounded(value) if self._conversion.probable else significant(value)

    def _one(self, row: list[float]) -> dict[str, Any]:
        # Plain numbers: for the few units that most models have, NumPy costs more than it does.
        order = nlargest(self.top, range(len(row)), key=row.__getitem__)
        shown = self._shown
        top = [{"label": self.labels[i], self.key: shown(row[i])} for i in order]
        best = self._best(row)
        answer: dict[str, Any] = {
            "label": self.labels[best],
            self.key: shown(row[best]),
        }
        if self.reading == "multi":
            answer["labels"] = [
                label for label, p in zip(self.labels, row, strict=True) if p >= self.threshold
            ]
        answer["top"] = top
        return answer


def rounded(value: float) -> float:
    """Six decimals: what float32 can tell apart near 1, and readable."""
    return round(value, 6)
