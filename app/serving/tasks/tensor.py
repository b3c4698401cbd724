"""Nested lists in, nested lists out: for every model that no other task fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from app.errors import CardError, Detail, short
from app.serving.call import Call
from app.serving.card import CARD_FILE, Card, may_classify_pictures
from app.serving.rounds import VALUES, spread
from app.serving.signature import Signature
from app.serving.tasks.base import ENOUGH, Array, Limits, Payload, Task, invalid, parse_json
from app.serving.tensors import DTYPES, from_nested, nested_schema


class TensorTask(Task):
    """`tensor`: the body is a list of rows, or `{input: rows, …}` for a model with several inputs.

    Rows are nested lists of the input's shape without its batch dimension.
    """

    accepts = frozenset({"json"})

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        super().__init__(card, signature, limits)
        for spec in (*signature.inputs, *signature.outputs):
            if spec.dtype not in DTYPES:
                raise CardError(f"{spec.name} is of type {spec.dtype}, which JSON cannot carry")
        if may_classify_pictures(signature):
            self.hint = (
                f"; its input has the shape of a picture: a {CARD_FILE} with "
                "'task: image-classification' makes it take pictures"
            )

    def read(self, payload: Payload, call: Call | None = None) -> list[Array]:
        """Checks shapes, types and ranges of every input."""
        value = parse_json(payload.data, self.limits)
        specs = self.signature.inputs
        names = [t.name for t in specs]
        if len(specs) == 1 and not isinstance(value, dict):
            value = {names[0]: value}
        if not isinstance(value, dict):
            expected = f"an object with one list of rows for each of {', '.join(names)}"
            raise invalid([Detail("body", "not an object", expected=expected)])
        details = [Detail(n, "missing", expected="a list of rows") for n in names if n not in value]
        details += [
            Detail(short(n), "unexpected", expected=f"one of {', '.join(names)}")
            for n in islice((n for n in value if n not in names), ENOUGH)
        ]
        arrays = []
        for spec in specs:
            if spec.name in value:
                rows = value[spec.name]
                if rows == [] and self.signature.batchable:
                    details.append(Detail(spec.name, "no rows", expected="at least one row"))
                    continue
                if self.signature.batchable and isinstance(rows, list):
                    excess = self.limits.excess(spec.name, len(rows))
                    if excess:
                        details += excess
                        continue
                read = from_nested(rows, spec)
                if isinstance(read, Detail):
                    details.append(read)
                else:
                    arrays.append(read)
        if self.signature.batchable and not details:
            counts = {n: len(a) for n, a in zip(names, arrays, strict=True)}
            if len(set(counts.values())) > 1:
                details.append(
                    Detail("body", "different numbers of rows", counts, "as many in every input")
                )
        if details:
            raise invalid(details)
        return arrays

    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """A nested list a row, or `{output: nested list}` where there are several outputs."""
        readable = [_readable(out) for out in outputs]
        if not self.signature.batchable:
            # Nothing says that the first dimension counts rows: the answer is one.
            readable = [[out] for out in readable]
        if len(readable) == 1:
            return list(readable[0])
        names = [t.name for t in self.signature.outputs]
        return [dict(zip(names, row, strict=True)) for row in zip(*readable, strict=True)]

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of a row of the outputs, or of all of them where there are no rows."""
        batchable = self.signature.batchable
        schemas: dict[str, dict[str, Any]] = {}
        for out in self.signature.outputs:
            shape = out.shape[1:] if batchable and out.shape is not None else out.shape
            # Of an output of any rank a row may be a plain value.
            schemas[out.name] = {} if out.shape is None else nested_schema(out.dtype, shape)
        if len(schemas) == 1:
            return next(iter(schemas.values()))
        return {
            "type": "object",
            "properties": schemas,
            "required": list(schemas),
            "additionalProperties": False,
        }

    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the body, and the signature."""
        inputs = {
            t.name: nested_schema(t.dtype, t.shape, t.bounds.length if t.bounds else None)
            for t in self.signature.inputs
        }
        if self.signature.batchable:
            amount = {"minItems": 1, "maxItems": self.limits.max_rows}
            inputs = {name: {**rows, **amount} for name, rows in inputs.items()}
        if len(inputs) == 1:
            return {**next(iter(inputs.values())), **self.signature.describe()}
        return {
            "type": "object",
            "properties": inputs,
            "required": list(inputs),
            "additionalProperties": False,
            **self.signature.describe(),
        }


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
