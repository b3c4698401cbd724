"""Models of tensors."""

from __future__ import annotations

from app.serving.cards.card import Card
from app.serving.signature import TensorSpec
from app.serving.tasks import Limits, RowTask
from tests.unit.signatures import Shape, signature, spec


def task(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> RowTask:
    return RowTask(Card(task="tensor"), signature(*inputs, outputs=outputs), Limits())


def one(dtype: str = "float32", shape: Shape = (None, 2)) -> RowTask:
    return task(spec(dtype=dtype, shape=shape))


TWO = task(spec("a", shape=(None, 1)), spec("b", "string", (None,)))
