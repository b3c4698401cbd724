"""What a card could say of a model that takes lists, by the shape of its input."""

from __future__ import annotations

from app.serving.cards.card import CARD_FILE
from app.serving.cards.inference.infer import may_classify_pictures
from app.serving.signature import Signature
from app.serving.tasks.inputs.audio import may_be_sound


def card_hint(signature: Signature) -> str:
    """Return advice for clients that send such a model something else; empty if there is none."""
    if may_classify_pictures(signature):
        return (
            f"; its input has the shape of a picture: a {CARD_FILE} with 'inputs: "
            f"{{{signature.inputs[0].name}: {{kind: picture}}}}' makes it take pictures, or "
            "'task: image-classification' for a classifier"
        )
    if len(signature.inputs) == 1 and may_be_sound(signature.inputs[0]):
        name = signature.inputs[0].name
        return (
            f"; its input has the shape of sound and of series: a {CARD_FILE} with 'inputs: "
            f"{{{name}: {{kind: audio, rate: 16000}}}}' makes it take recordings, of as many "
            f"samples a second as it was trained on, 'inputs: {{{name}: {{kind: series}}}}' rows "
            "in time order"
        )
    return ""
