"""Signatures of models that only exist on paper."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Detail, InvalidInput
from app.serving.signature import OutputMeaning, PictureEvidence, Signature, TensorSpec
from app.serving.tasks import Payload, RowTask

Shape = tuple[int | None, ...] | None

# By the activation of the last layer, in a file that says nothing of its training.
MEANINGS = {
    "softmax": OutputMeaning("softmax", True, True, "they come from a softmax"),
    "sigmoid": OutputMeaning("sigmoid", None, True, "they come from a sigmoid", True),
    "linear": OutputMeaning("logits", None, False, "the last layer has no activation"),
    "relu": OutputMeaning("values", None, True, "they come from Relu"),
    "log_softmax": OutputMeaning(
        "log-probabilities", True, True, "they come from a softmax, as logarithms"
    ),
}


def spec(name: str = "x", dtype: str = "float32", shape: Shape = (None, 1)) -> TensorSpec:
    return TensorSpec(name, f"{name}:0", dtype, shape)


def signature(
    *inputs: TensorSpec,
    outputs: tuple[TensorSpec, ...] = (),
    classes: int = 1,
    activation: str | None = None,
    pictures: PictureEvidence | None = None,
) -> Signature:
    """A signature whose output is (rows, classes) unless `outputs` says otherwise.

    activation: that of the last layer, of a Keras file; None for a SavedModel. pictures: the
    evidence for the first input.
    """
    inputs = inputs or (spec(),)
    outputs = outputs or (spec("y", shape=(None, classes)),)
    return Signature(
        inputs,
        outputs,
        meanings=() if activation is None else (MEANINGS[activation],) * len(outputs),
        parameters=None if activation is None else 1,
        pictures={} if pictures is None else {inputs[0].name: pictures},
    )


def problems(task: RowTask, payload: Payload) -> list[Detail]:
    """The details of the InvalidInput that `task` raises."""
    with pytest.raises(InvalidInput) as caught:
        task.read(payload)
    return caught.value.details


def fields_of(details: list[Detail]) -> dict[str, Any]:
    """field -> problem."""
    assert len({d.field for d in details}) == len(details)
    return {d.field: d.problem for d in details}
