"""Answers to inference of the Open Inference Protocol: JSON alone, or with binary tensors behind
it, compressed where that is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from app.api.http.json_writer import array_pieces, array_value_count
from app.api.v2.request import InferRequest, RequestedOutput
from app.api.v2.tensors import binary_pieces, datatype_of, to_json
from app.errors import InvalidInput
from app.json_body import write_json, write_numbers
from app.serving.arrays import Array
from app.serving.hub_rounds import VALUES, spread
from app.serving.limits import Limits
from app.serving.threads import in_a_thread

# Bits of the window: 16 more make it gzip, else it is zlib, which HTTP calls deflate.
CODINGS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
# Speed counts more than size: the numbers of a tensor hardly shrink.
_LEVEL = 1
# Bytes of a class beside its index and label: a score, with the quotes and the comma of JSON.
_SCORE = 11


@dataclass(frozen=True, slots=True)
class InferResponse:
    """The answer. pieces: of the body. json_size: its bytes of JSON, uncompressed; None for all."""

    pieces: list[bytes]
    json_size: int | None


def write_answer(
    head: dict[str, Any],
    outputs: Mapping[str, Array],
    asked: InferRequest,
    labels: Mapping[str, Sequence[str]],
    coding: str | None,
    limits: Limits,
) -> InferResponse:
    """Write the answer. Blocks the greenlet if the outputs are large.

    head: the other members of the JSON object. labels: of the classes of outputs. coding:
    one of `CODINGS`. NaN and Infinity are written by these names, as Triton writes them.

    Raises InvalidInput for an output that cannot be answered as it is asked for, or whose classes
    make the answer too large; the size of the tensors themselves is known before the run.
    """
    wanted = asked.outputs or [RequestedOutput(name, asked.binary) for name in outputs]
    steps: Callable[[Iterable[bytes]], Iterator[bytes]] = iter
    if is_large := sum(map(array_value_count, outputs.values())) > VALUES:
        steps = spread
    described: list[tuple[dict[str, Any], Array | None]] = []
    binary: list[bytes] = []
    for want in wanted:
        work = partial(answered_array, want, outputs[want.name], labels, limits)
        array = in_a_thread(work) if is_large and want.classes is not None else work()
        one: dict[str, Any] = {
            "name": want.name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
        }
        if want.binary:
            parts = [*steps(binary_pieces(array))]
            one["parameters"] = {"binary_data_size": sum(map(len, parts))}
            binary += parts
            described.append((one, None))
        else:
            described.append((one, array))
    text = [*steps(_json(head, described))]
    size = sum(map(len, text)) if binary else None
    pieces = text + binary
    if coding is not None:
        compress = partial(_compressed, pieces, CODINGS[coding])
        pieces = in_a_thread(compress) if is_large else compress()
    return InferResponse(pieces, size)


def answered_array(
    want: RequestedOutput, array: Array, labels: Mapping[str, Sequence[str]], limits: Limits
) -> Array:
    """Return the array of an output as it was asked for: itself, or its best classes as texts.
    labels: of the classes of outputs. Raises InvalidInput."""
    if want.classes is None:
        return array
    return _classes(want.name, array, want.classes, labels.get(want.name), limits)


def _json(
    head: dict[str, Any], described: Iterable[tuple[dict[str, Any], Array | None]]
) -> Iterator[bytes]:
    """Return the object, in pieces. described: the outputs, with their arrays if these are part of
    it."""
    yield write_json(head)[:-1] + b',"outputs":['
    for i, (one, array) in enumerate(described):
        text = b"," + write_json(one) if i else write_json(one)
        if array is None:
            yield text
            continue
        yield text[:-1] + b',"data":'
        yield from array_pieces(array.reshape(-1), partial(_data, one["name"]))
        yield b"}"
    yield b"]}"


def _data(name: str, part: Array) -> bytes:
    value = to_json(name, part)
    return write_json(value) if isinstance(value, list) else write_numbers(value)


def _compressed(pieces: Iterable[bytes], window: int) -> list[bytes]:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, window)
    return [*map(compressor.compress, pieces), compressor.flush()]


def _classes(
    name: str, array: Array, count: int, labels: Sequence[str] | None, limits: Limits
) -> Array:
    """Return the best of each row as `score:index` or `score:index:label`, as Triton's
    classification extension has them (docs/protocol/extension_classification.md)."""
    if array.dtype.kind not in "fiu" or not array.ndim:
        raise InvalidInput(f"{name}: its values cannot be put in order: ask without classification")
    rows = array.reshape(len(array), -1) if array.ndim > 1 else array[None]
    width = rows.shape[1]
    count = min(count, width)
    label_bytes = max((len(label.encode()) for label in labels or ()), default=0)
    longest = _SCORE + len(f":{width}") + label_bytes
    limits.check_answer(len(rows) * count * longest, len(rows))
    best = np.empty((len(rows), count), object)
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
    """Return numbers that grow as those of `row` fall, NaN last. Whole numbers become their
    complement, because unsigned ones have no negative."""
    return -row if row.dtype.kind == "f" else ~row


def _score(value: Any) -> str:
    """Format a number as C++ does: six decimals, or a whole number."""
    return f"{value:f}" if isinstance(value, np.floating) else str(value)
