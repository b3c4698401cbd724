"""Answers to inference of the Open Inference Protocol: JSON alone, or with binary tensors behind
it, compressed where that is asked for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson

from app.api.json_writer import array_pieces, array_weight
from app.api.oip_request import InferRequest, Wanted
from app.api.oip_tensors import Array, binary_pieces, datatype_of, to_json
from app.errors import InvalidInput
from app.serving.rounds import VALUES, spread
from app.serving.workers import in_a_thread

# Bits of the window: 16 more make it gzip, else it is zlib, which HTTP calls deflate.
CODINGS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
# Speed counts more than size: the numbers of a tensor hardly shrink.
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """pieces: of the body. json_size: how much of it is JSON where the rest is not, counted before
    compression."""

    pieces: list[bytes]
    json_size: int | None


def write_answer(
    head: dict[str, Any],
    outputs: Mapping[str, Array],
    asked: InferRequest,
    labels: Sequence[str] | None,
    coding: str | None,
) -> Answer:
    """Blocks the greenlet where the outputs are large.

    head: what else the JSON object says. labels: of the classes of the only output. coding: one
    of `CODINGS`. NaN and Infinity are written by these names, as Triton writes them.

    Raises InvalidInput for an output that cannot be answered as it is asked for.
    """
    wanted = asked.outputs or [Wanted(name, asked.binary) for name in outputs]
    steps: Callable[[Iterable[bytes]], Iterator[bytes]] = iter
    if is_large := sum(map(array_weight, outputs.values())) > VALUES:
        steps = spread
    described: list[tuple[dict[str, Any], Array | None]] = []
    binary: list[bytes] = []
    finite = True
    for want in wanted:
        array = outputs[want.name]
        if want.classes is not None:
            work = partial(_classes, want.name, array, want.classes, labels)
            array = in_a_thread(work) if is_large else work()
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
            finite &= array.dtype.kind != "f" or bool(np.isfinite(array).all())
            described.append((one, array))
    text = [*steps(_json(head, described, _dumps if finite else _dumps_nan))]
    size = sum(map(len, text)) if binary else None
    pieces = text + binary
    if coding is not None:
        compress = partial(_compressed, pieces, CODINGS[coding])
        pieces = in_a_thread(compress) if is_large else compress()
    return Answer(pieces, size)


def _json(
    head: dict[str, Any],
    described: Iterable[tuple[dict[str, Any], Array | None]],
    dump: Callable[[Any], bytes],
) -> Iterator[bytes]:
    """The object, in pieces. described: the outputs, with their arrays if these are part of it."""
    yield dump(head)[:-1] + b',"outputs":['
    for i, (one, array) in enumerate(described):
        text = b"," + dump(one) if i else dump(one)
        if array is None:
            yield text
            continue
        yield text[:-1] + b',"data":'
        yield from array_pieces(array.reshape(-1), partial(_data, dump, one["name"]))
        yield b"}"
    yield b"]}"


def _data(dump: Callable[[Any], bytes], name: str, part: Array) -> bytes:
    return dump(to_json(name, part))


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _dumps_nan(value: Any) -> bytes:
    return json.dumps(value, default=np.ndarray.tolist, separators=(",", ":")).encode()


def _compressed(pieces: Iterable[bytes], window: int) -> list[bytes]:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, window)
    return [*map(compressor.compress, pieces), compressor.flush()]


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
