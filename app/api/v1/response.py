"""Answers of TensorFlow Serving's REST API, in pieces: see app.api.v1.request."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from app.api.http.json_writer import array_pieces, array_value_count
from app.api.v1.request import V1Request
from app.errors import BadRequest, InvalidInput
from app.json_body import write_json, write_numbers
from app.serving.arrays import Array
from app.serving.hub_rounds import VALUES


def write_predictions(outputs: Mapping[str, Array], asked: V1Request) -> Iterator[bytes]:
    """Return the answer to `:predict`, in pieces: `predictions` or `outputs`. A single output drops
    its name. Raises InvalidInput for outputs that are not as many rows as each other."""
    if asked.flat:
        outputs = {n: a[:, 0] if a.ndim == 2 and a.shape[1] == 1 else a for n, a in outputs.items()}
    if asked.rows:
        _check_counts(outputs)
    yield b'{"predictions":' if asked.rows else b'{"outputs":'
    if len(outputs) == 1:
        yield from _tensor(*next(iter(outputs.items())))
    elif asked.rows:
        yield from _rows(outputs)
    else:
        yield from _object(outputs)
    yield b"}\n"


def write_classes(outputs: Mapping[str, Array], asked: V1Request) -> Iterator[bytes]:
    """Return the answer to `:classify`, in pieces: label and score of each class of each example.
    The label is empty and the score 0 where the signature has none."""
    pairs = classes_of(outputs, _examples(asked))
    yield b'{"results":'
    yield from _listed(pairs, _pairs)
    yield b"}\n"


def write_values(outputs: Mapping[str, Array], asked: V1Request) -> Iterator[bytes]:
    """Return the answer to `:regress`, in pieces: one number per example."""
    values = values_of(outputs, _examples(asked))
    yield b'{"results":'
    yield from _tensor("outputs", values)
    yield b"}\n"


def classes_of(outputs: Mapping[str, Array], count: int) -> dict[str, Array]:
    """Return the labels, texts (count, classes), and the scores of the same shape, from the outputs
    of a signature that classifies `count` examples. Raises BadRequest."""
    labels, scores = outputs.get("classes"), outputs.get("scores")
    either = scores if labels is None else labels
    if either is None:
        raise BadRequest("Expected classification signature outputs to contain classes or scores")
    for name, array, kind in (("classes", labels, "O"), ("scores", scores, "f")):
        if array is None:
            continue
        if either.ndim != 2 or array.shape != (count, either.shape[1]):
            raise BadRequest(
                f"Expected Tensor shape: [batch_size num_classes] but got {[*array.shape]}"
            )
        if array.dtype.kind != kind:
            wanted = "DT_STRING" if kind == "O" else "DT_FLOAT"
            raise BadRequest(f"Expected {name} Tensor of {wanted}. Got: {array.dtype}")
    return {
        "classes": np.full(either.shape, b"", object) if labels is None else labels,
        "scores": np.zeros(either.shape) if scores is None else scores,
    }


def values_of(outputs: Mapping[str, Array], count: int) -> Array:
    """Return the numbers (count,) of the outputs of a signature for regression. Raises
    BadRequest."""
    values = outputs.get("outputs")
    if values is None:
        raise BadRequest("No regression outputs found in SignatureDef: expected 'outputs'")
    if values.shape not in ((count,), (count, 1)):
        raise BadRequest(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{[*values.shape]}"
        )
    if values.dtype.kind != "f":
        raise BadRequest(f"Expected output Tensor of DT_FLOAT. Got: {values.dtype}")
    return values.reshape(-1)


def _examples(asked: V1Request) -> int:
    return len(next(iter(asked.inputs.values())))


def _check_counts(outputs: Mapping[str, Array]) -> None:
    """Raise InvalidInput unless all outputs have the same number of rows."""
    counts = {name: len(a) if a.ndim else None for name, a in outputs.items()}
    if None in counts.values() or len(set(counts.values())) > 1:
        counted = ", ".join(
            f"{name} has {'none' if count is None else count}" for name, count in counts.items()
        )
        raise InvalidInput(
            "the outputs have inconsistent batch size, which 'instances' cannot be answered "
            f"with (rows: {counted}): send 'inputs' instead"
        )


def _tensor(name: str, array: Array) -> Iterator[bytes]:
    """Return a tensor in pieces."""
    return array_pieces(array, lambda part: write_json(_written(name, part)))


def _object(arrays: Mapping[str, Array]) -> Iterator[bytes]:
    """Return tensors by name, in pieces."""
    yield b"{"
    comma = b""
    for name, array in arrays.items():
        yield comma + write_json(name) + b":"
        yield from _tensor(name, array)
        comma = b","
    yield b"}"


def _listed(
    arrays: Mapping[str, Array], write: Callable[[Mapping[str, Array]], list[Any]]
) -> Iterator[bytes]:
    """Return a list of what `write` makes of each row of the arrays, in pieces of at least a
    row."""
    rows = len(next(iter(arrays.values())))
    step = max(1, VALUES * rows // max(1, sum(map(array_value_count, arrays.values()))))
    yield b"["
    for at in range(0, rows, step):
        text = write_json(write({name: a[at : at + step] for name, a in arrays.items()}))
        yield b"," + text[1:-1] if at else text[1:-1]
    yield b"]"


def _rows(arrays: Mapping[str, Array]) -> Iterator[bytes]:
    """Return a list with an object per row, in pieces."""
    rows = len(next(iter(arrays.values())))
    if sum(map(array_value_count, arrays.values())) <= VALUES * rows:
        yield from _listed(arrays, _objects)
        return
    yield b"["
    for at in range(rows):
        yield b"," if at else b""
        # As an array also where it is a plain value.
        yield from _object({name: a[at, ...] for name, a in arrays.items()})
    yield b"]"


def _objects(arrays: Mapping[str, Array]) -> list[Any]:
    written = [_written(name, array, 1) for name, array in arrays.items()]
    return [dict(zip(arrays, row, strict=True)) for row in zip(*written, strict=True)]


def _pairs(arrays: Mapping[str, Array]) -> list[Any]:
    labels, scores = arrays.values()
    written = (_written("classes", labels), _written("scores", scores, 2))
    return [list(zip(*row, strict=True)) for row in zip(*written, strict=True)]


def _written(name: str, array: Array, depth: int = 0) -> Any:
    """Return a value that orjson writes as the tensor. depth: how many dimensions may be iterated
    over."""
    if array.dtype == object:
        return _texts(array.tolist(), binary=name.endswith("_bytes"))
    if array.dtype.kind not in "fiub":  # bfloat16, which NumPy itself does not have
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _fragments(array, depth)
    return _contiguous(array)


def _fragments(values: Any, depth: int) -> Any:
    """Numbers, NaN and Infinity among them, that orjson takes as they are written."""
    if depth:
        return [_fragments(value, depth - 1) for value in values]
    return orjson.Fragment(write_numbers(_contiguous(values)))


def _contiguous(values: Any) -> Any:
    """Return an array that orjson takes, or a scalar."""
    return np.ascontiguousarray(values) if np.ndim(values) else values[()]


def _texts(value: Any, *, binary: bool) -> Any:
    if isinstance(value, list):
        return [_texts(item, binary=binary) for item in value]
    return {"b64": b64encode(value).decode()} if binary else value.decode("utf-8", "replace")
