"""Nested lists: for what no other kind fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from app.errors import CardError
from app.serving.arrays import Array
from app.serving.cards.card import TensorOutput
from app.serving.cards.kinds import Kind
from app.serving.hub_rounds import VALUES, spread
from app.serving.tasks.outputs.output import Output
from app.serving.tensors import DTYPES, nested_schema


class Tensor(Output):
    """A nested list a row. rows: whether the first dimension counts rows; else the whole is
    one value. Raises CardError from `__init__` for a type that JSON cannot carry."""

    kind = "tensor"
    wrapped = False

    def __init__(self, kind: Kind[TensorOutput], *, rows: bool) -> None:
        (spec,) = kind.specs
        super().__init__(kind.name, spec)
        if spec.dtype not in DTYPES:
            raise CardError(f"{spec.name} is of type {spec.dtype}, which JSON cannot carry")
        self._rows = rows

    def values(self, array: Array) -> list[Any]:
        """The rows, with texts for bytes. Blocks the greenlet where they are many."""
        readable = _readable(array)
        return [*readable] if self._rows else [readable]

    def schema(self) -> dict[str, Any]:
        """JSON Schema of a value."""
        spec = self.spec
        shape = spec.shape[1:] if self._rows and spec.shape is not None else spec.shape
        # Of an output of any rank a row may be a plain value.
        return {} if spec.shape is None else nested_schema(spec.dtype, shape)

    def about(self) -> dict[str, Any]:
        """The type and the shape."""
        shape = self.spec.shape
        return {"dtype": self.spec.dtype, "shape": None if shape is None else [*shape]}


def _readable(out: Array) -> Any:
    """Text outputs are bytes in TensorFlow; JSON needs text. Blocks the greenlet where they are
    many."""
    if out.dtype != object:
        return out
    texts = np.empty(out.size, object)
    flat = out.reshape(-1)
    steps: Iterable[int] = range(0, out.size, VALUES)
    for at in steps if out.size <= VALUES else spread(steps):
        texts[at : at + VALUES] = [_text(item) for item in flat[at : at + VALUES]]
    return texts.reshape(out.shape)


def _text(item: Any) -> Any:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item
