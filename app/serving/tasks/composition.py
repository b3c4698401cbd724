"""The module of each kind: what reads an input, and what answers an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from app.serving.cards.card import InputCard, OutputCard
from app.serving.cards.kinds import Kind, Kinds
from app.serving.limits import Limits
from app.serving.signature import Signature
from app.serving.tasks.inputs.audio import Audio
from app.serving.tasks.inputs.fields import Fields
from app.serving.tasks.inputs.input import Input
from app.serving.tasks.inputs.picture import MAX_SIDE, Picture
from app.serving.tasks.inputs.series import Series
from app.serving.tasks.inputs.tensor import Tensors
from app.serving.tasks.inputs.text import Text
from app.serving.tasks.outputs.boxes import Boxes
from app.serving.tasks.outputs.classes import Classes
from app.serving.tasks.outputs.mask import Mask
from app.serving.tasks.outputs.number import Number
from app.serving.tasks.outputs.output import Output
from app.serving.tasks.outputs.picture import PictureOut
from app.serving.tasks.outputs.tensor import Tensor
from app.serving.tasks.outputs.vector import Vector

if TYPE_CHECKING:
    from app.serving.cards.boxes_output import BoxesOutput
    from app.serving.cards.card import (
        ClassesOutput,
        FieldsInput,
        NumberOutput,
        PictureInput,
        TensorInput,
        TensorOutput,
        VectorOutput,
    )
    from app.serving.cards.drawn_outputs import MaskOutput, PictureOutput
    from app.serving.cards.text_input import TextInput
    from app.serving.cards.time_inputs import AudioInput, SeriesInput


def inputs_of(
    kinds: Kinds, signature: Signature, limits: Limits, max_side: int | None, *, rows: bool
) -> list[Input]:
    """Return the inputs of a model. max_side: of pictures in their own size; None for the usual.
    rows: whether first dimensions count rows. Raises CardError where a kind does not fit."""
    if all(kind.card.kind == "tensor" for kind in kinds.inputs):
        tensors = cast("tuple[Kind[TensorInput], ...]", kinds.inputs)
        return [Tensors(tensors, signature, limits, rows=rows)]
    return [_input(kind, signature, limits, max_side) for kind in kinds.inputs]


def _input(
    kind: Kind[InputCard], signature: Signature, limits: Limits, max_side: int | None
) -> Input:
    if kind.card.kind == "picture":
        return Picture(cast("Kind[PictureInput]", kind), limits, max_side or MAX_SIDE)
    if kind.card.kind == "audio":
        return Audio(cast("Kind[AudioInput]", kind), limits)
    if kind.card.kind == "fields":
        return Fields(cast("Kind[FieldsInput]", kind), limits)
    if kind.card.kind == "text":
        return Text(cast("Kind[TextInput]", kind), limits)
    if kind.card.kind == "series":
        return Series(cast("Kind[SeriesInput]", kind), limits)
    return Tensors([cast("Kind[TensorInput]", kind)], signature, limits, rows=True)


def output_of(
    kind: Kind[OutputCard], signature: Signature, pictures: Sequence[str], *, rows: bool
) -> Output:
    """Return an output of a model. pictures: the inputs that take some. rows: whether first
    dimensions count rows. Raises CardError where the kind does not fit."""
    if kind.card.kind == "boxes":
        return Boxes(cast("Kind[BoxesOutput]", kind), signature, pictures)
    if kind.card.kind == "classes":
        meaning = signature.meaning(kind.specs[0])
        return Classes(cast("Kind[ClassesOutput]", kind), meaning)
    if kind.card.kind == "number":
        return Number(cast("Kind[NumberOutput]", kind))
    if kind.card.kind == "mask":
        return Mask(cast("Kind[MaskOutput]", kind), signature)
    if kind.card.kind == "picture":
        return PictureOut(cast("Kind[PictureOutput]", kind), signature)
    if kind.card.kind == "vector":
        return Vector(cast("Kind[VectorOutput]", kind))
    return Tensor(cast("Kind[TensorOutput]", kind), rows=rows)
