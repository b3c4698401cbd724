"""Signatures of models that only exist on paper."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Detail, InvalidInput
from app.serving.signature import Signature, TensorSpec
from app.serving.tasks import Payload, Task

Shape = tuple[int | None, ...] | None


def spec(name: str = "x", dtype: str = "float32", shape: Shape = (None, 1)) -> TensorSpec:
    return TensorSpec(name, f"{name}:0", dtype, shape)


def signature(
    *inputs: TensorSpec,
    outputs: tuple[TensorSpec, ...] = (),
    classes: int = 1,
    activation: str | None = None,
    rescales: bool = False,
) -> Signature:
    """A signature whose output is (rows, classes) unless `outputs` says otherwise."""
    return Signature(
        inputs or (spec(),),
        outputs or (spec("y", shape=(None, classes)),),
        activation=activation,
        rescales=rescales,
    )


def problems(task: Task, payload: Payload) -> list[Detail]:
    """The details of the InvalidInput that `task` raises."""
    with pytest.raises(InvalidInput) as caught:
        task.read(payload)
    return caught.value.details


def fields_of(details: list[Detail]) -> dict[str, Any]:
    """field -> problem."""
    assert len({d.field for d in details}) == len(details)
    return {d.field: d.problem for d in details}
