"""A model of every kind of input and output, and requests to it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from app.serving.cards.card import Card
from app.serving.cards.inference.infer import completed
from app.serving.signature import Signature
from app.serving.tasks import Limits, Payload, RowTask
from tests.support import picture
from tests.unit.signatures import signature, spec

MANY = signature(
    spec("left", shape=(None, 6, 8, 3)),
    spec("right", shape=(None, 4, 4, 1)),
    spec("facts", shape=(None, 2)),
    spec("matrix", shape=(None, 3, 2)),
    outputs=(
        spec("age", shape=(None, 1)),
        spec("gender", shape=(None, 2)),
        spec("features", shape=(None, 5)),
        spec("map", shape=(None, 2, 2)),
    ),
    activation="linear",
)
INPUTS: dict[str, Any] = {
    "left": {"kind": "picture"},
    "right": {"kind": "picture", "scale": "0..1"},
    "facts": {"kind": "fields", "fields": [{"name": "a"}, {"name": "b", "min": 0}]},
    "matrix": {"kind": "tensor"},
}
OUTPUTS: dict[str, Any] = {
    "age": {"kind": "number", "unit": "years", "decimals": 0},
    "gender": {"kind": "classes", "labels": ["f", "m"]},
    "features": {"kind": "vector"},
    "map": {"kind": "tensor"},
}
BASE64 = b64encode(picture(0)).decode()


def filled(card: Card | None, of: Signature) -> Card:
    """The card with which a model is served."""
    return completed(card, of)[0]


def task(
    inputs: Any = INPUTS, outputs: Any = OUTPUTS, of: Signature = MANY, limits: Limits | None = None
) -> RowTask:
    said = {"inputs": inputs, "outputs": outputs}
    card = Card.model_validate({key: value for key, value in said.items() if value is not None})
    return RowTask(filled(card, of), of, limits or Limits())


def body(value: Any) -> Payload:
    return Payload("json", json.dumps(value).encode())
