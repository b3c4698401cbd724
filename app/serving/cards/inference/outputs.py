"""What kind of answer an output gives, from its shape, its meaning and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.serving.signature import OutputMeaning, TensorSpec

OutputKind = Literal["classes", "number", "mask", "picture", "vector", "tensor"]
# Units of a sigmoid up to which they are taken for classes without labels and a loss: more are
# rather features, or the code of an autoencoder.
MOST_SIGMOIDS = 32
# The channels of pictures that come out of a model.
GREY_AND_RGB = (1, 3)


@dataclass(frozen=True, slots=True)
class OutputGuess:
    """The kind of an output. guess: why it is a guess, in words; None if it is none."""

    kind: OutputKind
    guess: str | None = None


def output_kind(
    spec: TensorSpec, meaning: OutputMeaning | None, labels: Sequence[str] | None
) -> OutputGuess:
    """Return the kind of an output without a card.

    meaning: None where nothing is known. labels: those beside the model, if there are any.
    """
    units = _units(spec)
    if units is None:
        return OutputGuess("tensor")
    plain: OutputKind = "number" if units == 1 else "vector"
    rows = len(spec.shape or ()) == 2
    if labels is not None and labels_fit(spec, labels):
        return OutputGuess("classes")
    if meaning is None or meaning.numbers == "unknown":
        if meaning is not None and meaning.classes and rows:
            return OutputGuess("classes")
        return OutputGuess(plain, "the file does not tell what the numbers are")
    if not rows:
        return OutputGuess(plain)
    if meaning.classes is not None:
        guess = None if meaning.proven else meaning.reason
        return OutputGuess("classes" if meaning.classes else plain, guess)
    if meaning.numbers in ("softmax", "sigmoid", "log-probabilities"):
        classes = not meaning.multi or units <= MOST_SIGMOIDS
        reason = f"{meaning.reason}; whether of classes, the file does not tell"
        return OutputGuess("classes" if classes else plain, reason)
    if meaning.numbers == "values" and meaning.proven:
        return OutputGuess(plain)
    return OutputGuess(plain, f"{meaning.reason}; they may also be scores of classes")


def labels_fit(spec: TensorSpec, labels: Sequence[str]) -> bool:
    """Tell whether an output has a unit for each label, or one for two labels."""
    units = _units(spec)
    return units is not None and len(spec.shape or ()) == 2 and len(labels) == max(2, units)


def may_be_classes(spec: TensorSpec, meaning: OutputMeaning | None) -> bool:
    """Tell whether labels could be those of an output: its units may stand for classes."""
    known = meaning is not None and meaning.classes is not False
    return known and _units(spec) is not None and len(spec.shape or ()) == 2


def _units(spec: TensorSpec) -> int | None:
    """Return the numbers of a row; None where they are not one row of a known length."""
    shape = spec.shape
    if shape is None or len(shape) not in (1, 2) or spec.dtype in ("string", "bool"):
        return None
    return 1 if len(shape) == 1 else shape[1]
