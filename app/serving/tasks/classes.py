"""Scores of a model become labels and probabilities."""

from __future__ import annotations

from heapq import nlargest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import CardError
from app.serving.card import CARD_FILE, Card
from app.serving.signature import Signature

Kind = Literal["binary", "single", "multi"]


class Classes:
    """Reads the scores of a classifier as its card says.

    One output unit is the probability of the second of two labels (`binary`); several units are
    the probabilities of as many labels, of which one holds (`single`, softmax) or any number
    (`multi`, sigmoid). Raises CardError where labels and outputs do not match.
    """

    def __init__(self, card: Card, signature: Signature) -> None:
        if len(signature.outputs) != 1:
            raise CardError(
                f"{card.task} needs a model with one output, this one has "
                f"{len(signature.outputs)}: use 'task: tensor'"
            )
        shape = signature.outputs[0].shape
        if shape is None or len(shape) != 2 or shape[1] is None:
            raise CardError(
                f"{card.task} needs an output of shape (rows, classes), this model's is "
                f"{shape}: use 'task: tensor'"
            )
        self.units: int = shape[1]
        self.kind: Kind
        wanted, found = card.output.activation, signature.activation
        if self.units == 1:
            if wanted == "softmax":
                raise CardError(
                    f"{CARD_FILE}: output.activation: softmax needs several units, this model's "
                    "output has one: use sigmoid"
                )
            self.kind = "binary"
        else:
            reads = found if wanted in (None, "none") else wanted
            self.kind = "multi" if reads == "sigmoid" else "single"
        # A last layer without activation, as Keras reports it, leaves logits.
        self.logits = found == "linear" if wanted is None else wanted not in ("none", found)
        self.labels = self._labels(card)
        self.threshold = card.threshold
        self.top = card.top

    def _labels(self, card: Card) -> list[str]:
        needed = 2 if self.kind == "binary" else self.units
        if card.labels is None:
            return [str(i) for i in range(needed)]
        labels = card.labels
        if isinstance(labels, str):
            raise CardError(f"{CARD_FILE}: labels: {labels!r} was not read")
        if len(labels) != needed:
            units = "1 unit, a probability" if self.kind == "binary" else f"{self.units} units"
            raise CardError(
                f"{CARD_FILE}: {len(labels)} labels do not match the model's output of {units}: "
                f"expected {needed} labels"
            )
        return labels

    def answer(self, scores: NDArray[Any]) -> list[dict[str, Any]]:
        """scores: float (rows, units). One answer a row: label, probability and the top labels."""
        return [self._one(row) for row in self._probabilities(scores.astype(np.float64)).tolist()]

    def schema(self) -> dict[str, Any]:
        """JSON Schema of one answer."""
        label = {"type": "string", "enum": list(dict.fromkeys(self.labels))}
        probability = {"type": "number"}
        scored = {
            "type": "object",
            "properties": {"label": label, "probability": probability},
            "required": ["label", "probability"],
            "additionalProperties": False,
        }
        shown = min(self.top, len(self.labels))
        properties: dict[str, Any] = {"label": label, "probability": probability}
        if self.kind == "multi":
            properties["labels"] = {
                "type": "array",
                "items": label,
                "description": f"All with a probability of at least {self.threshold:g}.",
            }
        properties["top"] = {
            "type": "array",
            "items": scored,
            "minItems": shown,
            "maxItems": shown,
            "description": "The most probable first.",
        }
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def _probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.logits:
            probabilities = scores
        elif self.kind == "single":
            exp = np.exp(scores - scores.max(axis=1, keepdims=True))
            probabilities = exp / exp.sum(axis=1, keepdims=True)
        else:
            # 0.5 * (1 + tanh(x / 2)) is the sigmoid without its overflow.
            probabilities = 0.5 * (1.0 + np.tanh(scores / 2.0))
        if self.kind == "binary":
            probabilities = np.hstack([1.0 - probabilities, probabilities])
        return probabilities

    def _one(self, row: list[float]) -> dict[str, Any]:
        # Plain numbers: for the few units that most models have, NumPy costs more than it does.
        order = nlargest(self.top, range(len(row)), key=row.__getitem__)
        top = [{"label": self.labels[i], "probability": _rounded(row[i])} for i in order]
        best = int(row[1] >= self.threshold if self.kind == "binary" else order[0])
        answer: dict[str, Any] = {
            "label": self.labels[best],
            "probability": _rounded(row[best]),
        }
        if self.kind == "multi":
            answer["labels"] = [
                label for label, p in zip(self.labels, row, strict=True) if p >= self.threshold
            ]
        answer["top"] = top
        return answer


def _rounded(value: float) -> float:
    """Six decimals: what float32 can tell apart near 1, and readable."""
    return round(value, 6)
