"""Nested lists: for what no other kind fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from app.errors import CardError, Detail, short
from app.serving.arrays import Array
from app.serving.cards.card import TensorInput
from app.serving.cards.kinds import Kind
from app.serving.limits import Limits
from app.serving.signature import SignatureDef, TensorSpec
from app.serving.tasks.base import ENOUGH, Payload, invalid, parse_json
from app.serving.tasks.inputs.input import Input, Parsed, Where
from app.serving.tensors import DTYPES, PLAIN, from_nested, nested_schema
from app.thread_slices import checkpoint


class Tensors(Input):
    """Inputs of the model as they are. A body is a list of rows, or `{input: rows, …}` for several;
    a value is one row of a single input.

    signature: of the model. rows: whether first dimensions count rows, of which there may be any
    number. Raises CardError from `__init__` for types that JSON cannot carry.
    """

    kind = "tensor"
    accepts = frozenset({"json"})

    def __init__(
        self,
        kinds: Sequence[Kind[TensorInput]],
        signature: SignatureDef,
        limits: Limits,
        *,
        rows: bool,
    ) -> None:
        specs = [spec for kind in kinds for spec in kind.specs]
        if rows:
            specs = [_with_rows(spec) for spec in specs]
        super().__init__(kinds[0].name if kinds else "", specs, limits)
        self._names = [kind.name for kind in kinds]
        self._signature = signature
        self._rows = rows
        for spec in specs:
            if spec.dtype not in DTYPES:
                raise CardError(f"{spec.name} is of type {spec.dtype}, which JSON cannot carry")

    def body(self, payload: Payload) -> Parsed:
        """Check shapes, types and ranges of every input."""
        texts = any(spec.dtype == "string" for spec in self.specs)
        value = parse_json(payload.data, self.limits, texts=texts)
        names = self._names
        if len(names) == 1 and not isinstance(value, dict):
            value = {names[0]: value}
        if not isinstance(value, dict):
            expected = f"an object with one list of rows for each of {', '.join(names)}"
            raise invalid([Detail("body", "not an object", expected=expected)])
        details = [Detail(n, "missing", expected="a list of rows") for n in names if n not in value]
        details += [
            Detail(short(n), "unexpected", expected=f"one of {', '.join(names)}")
            for n in islice((n for n in value if n not in names), ENOUGH)
        ]
        arrays = {}
        for name, spec in zip(names, self.specs, strict=True):
            if name in value:
                rows = value[name]
                if rows == [] and self._rows:
                    details.append(Detail(name, "no rows", expected="at least one row"))
                    continue
                if self._rows and isinstance(rows, list):
                    excess = self.limits.excess(name, len(rows))
                    if excess:
                        details += excess
                        continue
                read = from_nested(rows, replace(spec, name=name))
                if isinstance(read, Detail):
                    details.append(read)
                else:
                    arrays[spec.name] = read
        if self._rows and not details:
            counts = {
                name: len(arrays[spec.name]) for name, spec in zip(names, self.specs, strict=True)
            }
            if len(set(counts.values())) > 1:
                details.append(
                    Detail("body", "different numbers of rows", counts, "as many in every input")
                )
        if details:
            raise invalid(details)
        return Parsed(arrays)

    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read one row each, for the only input that this fills."""
        (spec,) = self.specs
        bounds = spec.bounds and replace(spec.bounds, rows=False)
        shape = None if spec.shape is None else spec.row_shape
        rows: list[Array] = []
        details: list[Detail] = []
        for i, value in enumerate(values):
            row = replace(spec, name=where(i), shape=shape, bounds=bounds)
            read = from_nested(value, row)
            if isinstance(read, Detail):
                details.append(read)
            elif rows and read.shape != rows[0].shape:
                sent, expected = list(read.shape), f"{list(rows[0].shape)}, that of the first row"
                details.append(Detail(where(i), f"another shape: {sent}", sent, expected))
            else:
                rows.append(read)
            if len(details) > ENOUGH:
                raise invalid(details, more=i + 1 < len(values))
            checkpoint()
        if details:
            return Parsed(details=details)
        # One by one: NumPy would hold the lock of the interpreter until it has stacked them all.
        stacked = np.empty((len(rows), *rows[0].shape), rows[0].dtype)
        for i, read in enumerate(rows):
            stacked[i] = read
            checkpoint()
        return Parsed({spec.name: stacked})

    def body_schema(self) -> dict[str, Any]:
        """JSON Schema of the body, and the signature."""
        inputs = {
            name: nested_schema(t.dtype, t.shape, t.bounds.length if t.bounds else None)
            for name, t in zip(self._names, self.specs, strict=True)
        }
        if self._rows:
            amount = {"minItems": 1, "maxItems": self.limits.max_rows}
            inputs = {name: {**rows, **amount} for name, rows in inputs.items()}
        if len(inputs) == 1:
            return {**next(iter(inputs.values())), **self._signature.describe()}
        return {
            "type": "object",
            "properties": inputs,
            "required": list(inputs),
            "additionalProperties": False,
            **self._signature.describe(),
        }

    def value_schema(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        (spec,) = self.specs
        length = spec.bounds.length if spec.bounds else None
        # Of an input of any rank a row may be a plain value.
        return {} if spec.shape is None else nested_schema(spec.dtype, spec.row_shape, length)

    def example_body(self, value: Any) -> Any:
        """Return one row of each input."""
        rows = {self._names[0]: value} if len(self._names) == 1 else value
        if not isinstance(rows, dict):
            return rows
        if self._rows:
            rows = {name: [row] for name, row in rows.items()}
        return rows if len(self._names) > 1 else rows[self._names[0]]

    def expected(self) -> str:
        """Nested lists, or a plain value."""
        spec = self.specs[0]
        return PLAIN.expected(replace(spec, shape=spec.row_shape if spec.shape else None))

    def about(self) -> dict[str, dict[str, Any]]:
        """The type and the shape of each."""
        return {
            name: {
                "kind": self.kind,
                "dtype": spec.dtype,
                "shape": None if spec.shape is None else [*spec.shape],
            }
            for name, spec in zip(self._names, self.specs, strict=True)
        }


def _with_rows(spec: TensorSpec) -> TensorSpec:
    """Return an input that takes any number of rows."""
    bounds = spec.bounds and replace(spec.bounds, rows=True)
    shape = None if spec.shape is None else (None, *spec.row_shape)
    return replace(spec, shape=shape, bounds=bounds)
