"""`tf.Example`s, which the signatures for classify and regress of TensorFlow Serving take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.errors import Detail, short
from app.serving.arrays import Array
from app.serving.limits import MAX_DETAILS
from app.thread_slices import checkpoint

# Examples that are written before other threads get a turn.
_AT_ONCE = 100
_EXPECTED = "a number, a text, or a list of numbers or of texts"
_FLOAT_MAX = float(np.finfo(np.float32).max)
# Which list of a feature holds values of which Python type
# (tensorflow/core/example/feature.proto).
_LISTS: dict[type, str] = {
    bool: "int64_list",
    int: "int64_list",
    float: "float_list",
    str: "bytes_list",
    bytes: "bytes_list",
}


def serialised(rows: Sequence[Mapping[str, Any]]) -> Array | list[Detail]:
    """Return an object array (rows,) of serialised `tf.Example`s; or what is wrong with them, as
    much as an error lists.

    rows: the features of each example by name: a number, a text (bytes where it is not UTF-8) or a
    list of values of one kind. Whole numbers and true or false become int64, others float32, as
    TensorFlow Serving reads JSON: a feature of decimal numbers needs 1.0, for 1 is another type.
    """
    # Loads TensorFlow, which takes seconds; who has a model to ask has it loaded already.
    from tensorflow.core.example.example_pb2 import Example

    texts = np.empty(len(rows), object)
    details: list[Detail] = []
    for i, features in enumerate(rows):
        if i % _AT_ONCE == 0:
            checkpoint()
        if len(details) > MAX_DETAILS:
            break
        example = Example()
        for name, value in features.items():
            values = value if isinstance(value, list) else [value]
            if problem := _problem(f"examples[{i}].{name[:100]}", values):
                details.append(problem)
                continue
            feature = example.features.feature[name]  # there even when it has no values
            if values:
                kind = getattr(feature, _LISTS[type(values[0])])
                kind.value.extend(map(_native, values))
        texts[i] = example.SerializeToString()
    return details or texts


def _native(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    return int(value) if isinstance(value, bool) else value


def _problem(field: str, values: list[Any]) -> Detail | None:
    for value in values:
        if type(value) not in _LISTS:
            return Detail(field, "wrong type", short(value), _EXPECTED)
    if len({_LISTS[type(value)] for value in values}) > 1:
        return Detail(field, "values of different types", expected="whole numbers only, or 1.0")
    for value in values:
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return Detail(field, "out of range", short(value), "values that fit int64")
        if isinstance(value, float) and _FLOAT_MAX < abs(value) < float("inf"):
            return Detail(field, "out of range", value, "values that fit float32")
    return None
