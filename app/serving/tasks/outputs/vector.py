"""Numbers that only mean something together, such as the features of a picture."""

from __future__ import annotations

from typing import Any

from app.serving.arrays import Array
from app.serving.cards.card import VectorOutput
from app.serving.cards.kinds import Kind
from app.serving.tasks.outputs.output import Output
from app.serving.tensors import nested_schema


class Vector(Output):
    """A list of numbers a row. Raises CardError from `__init__` where card and model do not fit."""

    kind = "vector"

    def __init__(self, kind: Kind[VectorOutput]) -> None:
        (spec,) = kind.specs
        super().__init__(kind.name, spec)
        if spec.shape is None or len(spec.shape) != 2 or spec.dtype in ("string", "bool"):
            raise kind.place.problem(
                f"needs an output of shape (rows, numbers), this model's is {spec.dtype} of shape "
                f"{spec.shape}"
            )

    def values(self, array: Array) -> list[Any]:
        """The rows."""
        return [*array]

    def schema(self) -> dict[str, Any]:
        """JSON Schema of a value."""
        return nested_schema(self.spec.dtype, self.spec.row_shape)

    def about(self) -> dict[str, Any]:
        """How many numbers it has."""
        return {"length": self.spec.row_shape[0]}
