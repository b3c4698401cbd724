"""Which outputs are masks or pictures where the card does not say so, and the scale of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.serving.cards.card import Card
from app.serving.cards.inference.model_card import tagged
from app.serving.cards.inference.outputs import GREY_AND_RGB, OutputGuess, output_kind
from app.serving.reductions import MOST_CLASSES
from app.serving.signature import OutputMeaning, PixelRange, Signature, TensorSpec

PICTURE_TYPES = ("float32", "float16", "bfloat16", "uint8")
# What the bounds of the last layer show.
_SCALES: dict[tuple[float, float] | None, PixelRange] = {
    (0.0, 1.0): "0..1",
    (-1.0, 1.0): "-1..1",
    (0.0, 255.0): "none",
}
_FLOATS = ("float32", "float16", "bfloat16", "float64")


def is_picture(spec: TensorSpec, signature: Signature) -> bool:
    """Tell whether an input has the shape and type of pictures. Rows of rows alone could be
    anything, unless the file shows more."""
    shape = spec.row_shape
    if spec.dtype not in PICTURE_TYPES:
        return False
    return (len(shape) == 3 and shape[2] in (1, 3, 4)) or (
        len(shape) == 2 and spec.name in signature.pictures
    )


def answer_kind(
    spec: TensorSpec, signature: Signature, labels: Sequence[str] | None = None
) -> OutputGuess:
    """Return the kind of an output without a card. labels: those beside the model, if they are of
    this output."""
    drawn = drawn_kind(spec, signature)
    found = drawn or output_kind(spec, signature.meaning(spec), labels)
    return tagged(found, spec, signature)


def labels_fit_mask(spec: TensorSpec, labels: Sequence[str]) -> bool:
    """Tell whether a mask has a channel for each label, or one for two labels."""
    channels = spec.row_shape[2] if len(spec.row_shape) == 3 else 1
    return channels is not None and len(labels) == max(2, channels)


def drawn_kind(spec: TensorSpec, signature: Signature) -> OutputGuess | None:
    """Return the kind of an output that is a mask or a picture; None for any other.

    Only a picture in gives a picture out: maps of anything else are tensors.
    """
    shape = spec.row_shape
    meaning = signature.meaning(spec)
    given = [t.row_shape[2] if len(t.row_shape) == 3 else 1 for t in signature.inputs]
    pictures = [is_picture(t, signature) for t in signature.inputs]
    channels = shape[2] if len(shape) == 3 else None
    if not any(pictures) or meaning is None or not channels or spec.dtype not in _FLOATS:
        return None
    alike = channels in [n for n, taken in zip(given, pictures, strict=True) if taken]
    if channels > 1 and not meaning.multi and _one_holds(meaning) and channels <= MOST_CLASSES:
        return OutputGuess("mask", None if meaning.proven else meaning.reason)
    if meaning.numbers == "sigmoid" or (meaning.numbers == "logits" and meaning.multi):
        return _of_sigmoids(channels, meaning, alike=alike)
    if meaning.numbers in ("values", "logits") and channels in GREY_AND_RGB:
        if meaning.classes is False and (alike or channels == 3):
            reason = f"{meaning.reason}; its numbers may also be something else than pixels"
            return OutputGuess("picture", None if alike and channels == 3 else reason)
        if meaning.classes is None and alike and channels == 3:
            reason = f"it has the channels of the input; {meaning.reason}"
            return OutputGuess("picture", reason)
    return None


def _one_holds(meaning: OutputMeaning) -> bool:
    """Whether the channels are classes of which one holds."""
    proven = meaning.numbers in ("softmax", "log-probabilities")
    return proven or (meaning.numbers == "logits" and meaning.classes is True)


def _of_sigmoids(channels: int, meaning: OutputMeaning, *, alike: bool) -> OutputGuess | None:
    """The kind of an output of probabilities of their own."""
    same = "; an output like the input may be either a mask or a picture"
    if meaning.classes is False:
        if channels not in GREY_AND_RGB:
            return None
        return OutputGuess("picture", None if alike else meaning.reason)
    if channels == 1:
        sure = meaning.proven and meaning.classes is True and not alike
        return OutputGuess("mask", None if sure else meaning.reason + (same if alike else ""))
    if alike and channels in GREY_AND_RGB:
        return OutputGuess("picture", meaning.reason + same)
    if meaning.classes is True and channels <= MOST_CLASSES:
        return OutputGuess("mask", f"{meaning.reason}; any number of labels may hold")
    return None


@dataclass(frozen=True, slots=True)
class ScaleGuess:
    """The scale of a picture that comes out. guess: why it is a guess; None if it is none."""

    scale: PixelRange
    guess: str | None = None


def output_scale(spec: TensorSpec, signature: Signature, card: Card) -> ScaleGuess:
    """Return the scale of an output that is a picture, where the card does not say it. card: with
    the scales of its inputs."""
    if not spec.dtype.startswith(("float", "bfloat")):
        return ScaleGuess("none")
    meaning = signature.meaning(spec)
    bounds = None if meaning is None else meaning.bounds
    if bounds in _SCALES:
        return ScaleGuess(_SCALES[bounds])
    scales = [each.scale for each in (card.inputs or {}).values() if each.kind == "picture"]
    taken = scales[0] if scales else "none"
    same: PixelRange = taken if taken in ("0..1", "-1..1") else "none"
    return ScaleGuess(same, "its last layer has no bounds: that of the input is assumed")
