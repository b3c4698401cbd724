"""Answers to inference of the Open Inference Protocol: JSON alone, or with binary tensors behind
it, compressed where that is asked for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from app.api.oip_request import InferRequest, Wanted
from app.api.oip_tensors import Array, datatype_of, to_binary, to_json
from app.errors import InvalidInput

# Bits of the window: 16 more make it gzip, else it is zlib, which HTTP calls deflate.
CODINGS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
# Speed counts more than size: the numbers of a tensor hardly shrink.
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """The body, and how much of it is JSON where the rest is not; counted before compression."""

    body: bytes
    json_size: int | None


def write_answer(
    head: dict[str, Any],
    outputs: Mapping[str, Array],
    asked: InferRequest,
    labels: Sequence[str] | None,
    coding: str | None,
) -> Answer:
    """head: what else the JSON object says. labels: of the classes of the only output. coding: one
    of `CODINGS`. NaN and Infinity are written by these names, as Triton writes them.

    Raises InvalidInput for an output that cannot be answered as it is asked for.
    """
    wanted = asked.outputs or [Wanted(name, asked.binary) for name in outputs]
    described: list[dict[str, Any]] = []
    parts: list[bytes | memoryview] = []
    finite = True
    for want in wanted:
        array = outputs[want.name]
        if want.classes is not None:
            array = _classes(want.name, array, want.classes, labels)
        one: dict[str, Any] = {
            "name": want.name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
        }
        if want.binary:
            parts.append(part := to_binary(array))
            one["parameters"] = {"binary_data_size": len(part)}
        else:
            one["data"] = to_json(want.name, array)
            finite &= array.dtype.kind != "f" or bool(np.isfinite(array).all())
        described.append(one)
    text = _json({**head, "outputs": described}, finite)
    body = b"".join([text, *parts]) if parts else text
    if coding is not None:
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, CODINGS[coding])
        body = compressor.compress(body) + compressor.flush()
    return Answer(body, len(text) if parts else None)


def _json(value: dict[str, Any], finite: bool) -> bytes:
    if finite:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, default=np.ndarray.tolist, separators=(",", ":")).encode()


def _classes(name: str, array: Array, count: int, labels: Sequence[str] | None) -> Array:
    """The best of each row as `score:index` or `score:index:label`, as Triton's classification
    extension has them (docs/protocol/extension_classification.md)."""
    if array.dtype.kind not in "fiu" or not array.ndim:
        raise InvalidInput(f"{name}: its values cannot be put in order: ask without classification")
    rows = array.reshape(len(array), -1) if array.ndim > 1 else array[None]
    width = rows.shape[1]
    best = np.empty((len(rows), min(count, width)), object)
    # One score of two labels is that of the second.
    named = labels[1:] if labels and len(labels) == 2 and width == 1 else labels or ()
    for row, out in zip(rows, best, strict=True):
        order = np.argsort(_descending(row), kind="stable")
        for place in range(len(out)):
            index = int(order[place])
            label = f":{named[index]}" if index < len(named) else ""
            out[place] = f"{_score(row[index])}:{index}{label}".encode()
    return best if array.ndim > 1 else best[0]


def _descending(row: Array) -> Array:
    """Numbers that grow as those of `row` fall, NaN last. For whole numbers the complement, for
    unsigned ones have no negative."""
    return -row if row.dtype.kind == "f" else ~row


def _score(value: Any) -> str:
    """As C++ writes it: six decimals, or a whole number."""
    return f"{value:f}" if isinstance(value, np.floating) else str(value)
