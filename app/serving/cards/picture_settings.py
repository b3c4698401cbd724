"""How pictures become the inputs of a model where its card leaves that open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.serving.cards.card import Card, ImageInput
from app.serving.cards.kinds import kinds_of
from app.serving.signature import Signature, TensorSpec

# Height and width for a model that takes any and does not tell its usual ones.
USUAL_SIZE = (224, 224)
PICTURE_TYPES = ("float32", "float16", "bfloat16", "uint8")


def is_picture(spec: TensorSpec, signature: Signature) -> bool:
    """Tell whether an input has the shape and type of pictures. Rows of rows alone could be
    anything, unless the file shows more."""
    shape = spec.row_shape
    if spec.dtype not in PICTURE_TYPES:
        return False
    return (len(shape) == 3 and shape[2] in (1, 3, 4)) or (
        len(shape) == 2 and spec.name in signature.pictures
    )


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
    for kind in kinds_of(card, signature).inputs:
        if kind.card.kind == "picture":
            inputs[kind.name] = _settled(kind.card, kind.specs[0], signature)
    return card.model_copy(update={"inputs": inputs})


def _settled(said: ImageInput, spec: TensorSpec, signature: Signature) -> Any:
    evidence = signature.pictures.get(spec.name)
    update: dict[str, Any] = {}
    if "scale" not in said.model_fields_set:
        update["scale"] = "none" if evidence is None else evidence.scale
        if evidence is not None and evidence.order == "bgr" and said.color is None:
            update["color"] = "bgr"
        if update["scale"] == "caffe" and said.color == "bgr":
            # That scale puts the colours into this order itself.
            update["color"] = "rgb"
    if evidence is not None and evidence.cropped and "resize" not in said.model_fields_set:
        update["resize"] = "crop"
    if evidence is not None and said.size is None:
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
