"""How large an answer will be, as far as shapes tell before the model runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InferenceError, InvalidInput
from app.serving.signature import SignatureDef, TensorSpec
from app.serving.tensors import DTYPES, numpy_dtype

Array = NDArray[Any]
Run = Callable[[Sequence[Array]], Sequence[Array]]
# Bytes of a number in JSON, its comma included: of fractions as orjson writes probabilities, of
# whole numbers the longest, but of 64 bits, most of which are indices.
_IN_JSON = {
    "bool": 6,
    "int8": 5,
    "uint8": 4,
    "int16": 7,
    "uint16": 6,
    "int32": 12,
    "uint32": 11,
    "int64": 12,
    "uint64": 12,
    "float64": 22,
}
_FLOAT_IN_JSON = 15
# Bytes of a text, before it is known.
_TEXT = 16
# Lengths of the open dimensions in two runs that show which dimensions of outputs follow them.
_PROBES = ((7, 11, 13, 5), (17, 19, 23, 9))


class AnswerSize:
    """The size of answers to one signature.

    probe: runs it, to find out which open dimensions of its outputs are as long as those of its
    inputs; without it the sizes of outputs with open dimensions are not known. names: of all
    outputs.
    """

    def __init__(self, signature: SignatureDef, probe: Run | None = None) -> None:
        self._signature = signature
        self.names = frozenset(t.name for t in signature.outputs)
        self._weights = [
            (t.name, _in_json(t.dtype), _in_binary(t.dtype)) for t in signature.outputs
        ]
        self._first = 1 if signature.batchable else 0
        self._open: dict[int, int] = {}  # dimension -> the first input where it is open
        for i, spec in enumerate(signature.inputs):
            for dimension in spec.open_dimensions:
                self._open.setdefault(dimension, i)
        shapes = [None if t.shape is None else t.shape[self._first :] for t in signature.outputs]
        self._fixed = [
            math.prod(size for size in shape if size is not None) if shape is not None else 0
            for shape in shapes
        ]
        self._following: list[tuple[int, ...] | None] = [
            () if shape is not None and None not in shape else None for shape in shapes
        ]
        # Of most models, each row of the answer has the same size.
        self._row_json: int | None = None
        if all(following == () for following in self._following):
            self._row_json = self.known((), 1)
        if probe is not None and self._open and None in self._following:
            self._probe(probe)

    def length(self, inputs: Sequence[Array]) -> int:
        """The longest open dimension; 1 without any."""
        if not self._open:
            return 1
        return max(int(inputs[i].shape[d]) for d, i in self._open.items())

    def known(self, inputs: Sequence[Array], rows: int, binary: Collection[str] = ()) -> int | None:
        """Bytes of the answer to so many rows like these, None where shapes do not tell. binary:
        the outputs that are not written as JSON, by name."""
        if self._row_json is not None and not binary:
            return rows * self._row_json
        total = 0
        for (name, in_json, in_binary), fixed, following in zip(
            self._weights, self._fixed, self._following, strict=True
        ):
            if following is None:
                return None
            elements = rows * fixed
            for dimension in following:
                elements *= inputs[self._open[dimension]].shape[dimension]
            total += elements * (in_binary if name in binary else in_json)
        return total

    def written(self, outputs: Sequence[Array], binary: Collection[str] = ()) -> int:
        """Bytes of an answer of these."""
        total = 0
        for (name, in_json, in_binary), array in zip(self._weights, outputs, strict=True):
            total += array.size * (in_binary if name in binary else in_json)
            if array.dtype == object:
                total += sum(map(len, array.reshape(-1))) - array.size * _TEXT
        return total

    def _probe(self, run: Run) -> None:
        """Which dimensions follow, where the model takes the lengths that are tried."""
        runs = []
        for sizes in _PROBES:
            lengths = {d: sizes[d % len(sizes)] for d in self._open}
            try:
                outputs = run([_zeros(t, lengths) for t in self._signature.inputs])
            except (InvalidInput, InferenceError):
                return
            runs.append((lengths, outputs))
        for number, spec in enumerate(self._signature.outputs):
            if self._following[number] is not None or spec.shape is None:
                continue
            following = []
            for dimension in range(self._first, len(spec.shape)):
                if spec.shape[dimension] is None:
                    alike = [
                        d
                        for d in self._open
                        if all(outs[number].shape[dimension] == n[d] for n, outs in runs)
                    ]
                    following += alike[:1] or [-1]
            if -1 not in following:
                self._following[number] = tuple(following)


def _in_json(dtype: str) -> int:
    return _TEXT if dtype == "string" else _IN_JSON.get(dtype, _FLOAT_IN_JSON)


def _in_binary(dtype: str) -> int:
    # Of what no protocol carries, such as quantised numbers, any size does.
    return numpy_dtype(dtype).itemsize if dtype in DTYPES and dtype != "string" else _TEXT


def _zeros(spec: TensorSpec, lengths: dict[int, int]) -> Array:
    """One row of an input, its open dimensions so long."""
    shape = [lengths.get(d, 1) if size is None else size for d, size in enumerate(spec.shape or ())]
    if spec.dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, numpy_dtype(spec.dtype))
