"""How pictures become the inputs of a model where its card leaves that open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.serving.cards.card import Card, ImageInput, OutputCard
from app.serving.cards.inference.picture_outputs import output_scale
from app.serving.cards.kinds import Kind, kinds_of
from app.serving.signature import Signature, TensorSpec

# Height and width for a model that takes any and does not tell its usual ones.
USUAL_SIZE = (224, 224)
_ANY_SIZE = (None, None)


def settle_pictures(card: Card, signature: Signature) -> Card:
    """Fill in what a card leaves open of its pictures: the scale, with it the order of the colours,
    the cropping, and the size for a model that takes any. What the card says stays."""
    if card.task == "image-classification" and signature.inputs:
        # The task says what is wrong with a model of other inputs.
        settled = _settled(card.input, signature.inputs[0], signature)
        return card.model_copy(update={"input": settled})
    if card.inputs is None:
        return card
    inputs = dict(card.inputs)
    kinds = kinds_of(card, signature)
    drawn = any(kind.card.kind in ("mask", "picture", "boxes") for kind in kinds.outputs)
    for kind in kinds.inputs:
        if kind.card.kind == "picture":
            inputs[kind.name] = _settled(kind.card, kind.specs[0], signature, drawn=drawn)
    card = card.model_copy(update={"inputs": inputs})
    return _with_scales(card, kinds.outputs, signature) if drawn else card


def _with_scales(card: Card, kinds: Sequence[Kind[OutputCard]], signature: Signature) -> Card:
    """Fill in the scales of pictures that come out."""
    outputs = dict(card.outputs or {})
    for kind in kinds:
        if kind.card.kind == "picture" and kind.card.scale is None:
            scale = output_scale(kind.specs[0], signature, card).scale
            outputs[kind.name] = kind.card.model_copy(update={"scale": scale})
    return card.model_copy(update={"outputs": outputs})


def _settled(
    said: ImageInput, spec: TensorSpec, signature: Signature, *, drawn: bool = False
) -> Any:
    """drawn: whether an output is a picture, or says something of places in one."""
    evidence = signature.pictures.get(spec.name)
    update: dict[str, Any] = {}
    if drawn and said.size is None and len(spec.row_shape) > 1 and spec.row_shape[:2] == _ANY_SIZE:
        update["size"] = "own"
    if "scale" not in said.model_fields_set:
        update["scale"] = "none" if evidence is None else evidence.scale
        if evidence is not None and evidence.order == "bgr" and said.color is None:
            update["color"] = "bgr"
        if update["scale"] == "caffe" and said.color == "bgr":
            # That scale puts the colours into this order itself.
            update["color"] = "rgb"
    if evidence is not None and evidence.cropped and "resize" not in said.model_fields_set:
        update["resize"] = "crop"
    if evidence is not None and said.size is None and "size" not in update:
        height, width = spec.row_shape[:2]
        if height is None or width is None:
            usual = evidence.size or USUAL_SIZE
            update["size"] = (height or usual[0], width or usual[1])
    return said.model_copy(update=update)


def as_exported(signature: Signature) -> Signature:
    """Return the signature of a model that lies among the files of an export of Teachable Machine.
    With layers of its kind, it is one."""
    found = {
        name: replace(
            evidence,
            proven=True,
            reason=evidence.reason if evidence.proven else "it is an export of Teachable Machine",
            exported=True,
        )
        if evidence.cropped
        else evidence
        for name, evidence in signature.pictures.items()
    }
    return replace(signature, pictures=found)
