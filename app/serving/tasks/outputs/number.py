"""A number, or several that mean something each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from app.serving.arrays import Array
from app.serving.cards.card import NumberOutput
from app.serving.cards.kinds import Kind
from app.serving.tasks.outputs.output import Output
from app.serving.tasks.parts import Target, significant
from app.serving.tensors import nested_schema


class Number(Output):
    """One number a row; a list where the model gives several, or an object by the card's names.
    Raises CardError from `__init__` where card and model do not fit."""

    kind = "number"

    def __init__(self, kind: Kind[NumberOutput]) -> None:
        (spec,) = kind.specs
        super().__init__(kind.name, spec)
        if spec.shape == () or spec.dtype == "string":
            raise kind.place.problem(
                f"needs an output of numbers, one or more a row, this model's is {spec.dtype} of "
                f"shape {spec.shape}"
            )
        self._decimals, self._unit = kind.card.decimals, kind.card.unit
        self._names = kind.card.names
        known = [size for size in spec.row_shape if size is not None]
        open_size = spec.shape is None or len(known) < len(spec.row_shape)
        self._count = None if open_size else math.prod(known)
        if self._names is not None and len(self._names) != self._count:
            raise kind.place.stated(
                f"{len(self._names)} names do not match the model's output of shape {spec.shape}"
            )
        self.row_bytes = sum(len(name.encode()) + 20 for name in self._names or ())

    def values(self, array: Array) -> list[Any]:
        """A number a row, or several."""
        values = array.reshape(len(array), -1)
        if self._decimals is not None:
            # + 0.0 makes -0.0 a plain zero.
            values = values.astype(np.float64).round(self._decimals) + 0.0
        if self._names is not None:
            return [dict(zip(self._names, row, strict=True)) for row in values]
        return [*values[:, 0]] if values.shape[1] == 1 else [*values]

    @property
    def has_target(self) -> bool:
        """Whether it is one number."""
        return self._count == 1 and self.spec.dtype != "bool"

    def target(self, array: Array) -> Target:
        """Follow the number."""

        def of(rows: Array) -> list[float]:
            found: list[float] = rows.reshape(len(rows), -1)[:, 0].astype(np.float64).tolist()
            return found

        (value,) = of(array)
        digits = significant if self._decimals is None else self._rounded
        about: dict[str, Any] = {"value": digits(value)}
        return Target(about | ({"unit": self._unit} if self._unit else {}), of, digits)

    def _rounded(self, value: float) -> float:
        # One decimal more than answers have, whose differences may be small.
        return round(value, (self._decimals or 0) + 1)

    def schema(self) -> dict[str, Any]:
        """JSON Schema of a value."""
        number = nested_schema(self.spec.dtype, ())
        value: dict[str, Any]
        if self._names is not None:
            value = {
                "type": "object",
                "properties": dict.fromkeys(self._names, number),
                "required": self._names,
                "additionalProperties": False,
            }
        elif self._count is None:
            value = {"anyOf": [number, {"type": "array", "items": number}]}
        elif self._count == 1:
            value = number
        else:
            value = nested_schema(self.spec.dtype, (self._count,))
        return value if self._unit is None else {**value, "x-unit": self._unit}

    def about(self) -> dict[str, Any]:
        """Unit, decimals, and how many numbers a row has; None where that is open."""
        return {"unit": self._unit, "decimals": self._decimals, "count": self._count}
