"""The size of answers, as far as shapes show it before the model runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from app.errors import InferenceError, InvalidInput
from app.serving.arrays import Array
from app.serving.signature import SignatureDef, TensorSpec
from app.serving.tensors import DTYPES, numpy_dtype

Probe = Callable[[Sequence[Array]], Sequence[Array]]
# Bytes of a number in JSON with its comma: for fractions as orjson writes probabilities, for
# integers the longest, except those of 64 bits, most of which are indices.
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
# Bytes of a text while it is unknown.
_TEXT = 16
# Lengths of the open dimensions in two trial runs, which show the dimensions of outputs that depend
# on them.
_TRIAL_LENGTHS = ((7, 11, 13, 5), (17, 19, 23, 9))


class AnswerSize:
    """The size of answers for one signature.

    probe: runs the signature, to find out which open dimensions of its outputs have the length of
    those of its inputs; without it, the sizes of outputs with open dimensions are unknown. names:
    of all outputs. rows: whether first dimensions count rows.
    """

    def __init__(
        self, signature: SignatureDef, probe: Probe | None = None, *, rows: bool | None = None
    ) -> None:
        self._signature = signature
        self.names = frozenset(t.name for t in signature.outputs)
        self._weights = [
            (t.name, _in_json(t.dtype), _in_binary(t.dtype)) for t in signature.outputs
        ]
        self._first = 1 if rows or (rows is None and signature.batchable) else 0
        self._open: dict[int, int] = {}  # dimension -> the first input where it is open
        for i, spec in enumerate(signature.inputs):
            for dimension in spec.open_dimensions:
                self._open.setdefault(dimension, i)
        shapes = [None if t.shape is None else t.shape[self._first :] for t in signature.outputs]
        self._fixed = [
            math.prod(size for size in shape if size is not None) if shape is not None else 0
            for shape in shapes
        ]
        self._dependent: list[tuple[int, ...] | None] = [
            () if shape is not None and None not in shape else None for shape in shapes
        ]
        # Bytes of a row in JSON, if all rows have the same size, as for most models.
        self._row_json: int | None = None
        if all(dependent == () for dependent in self._dependent):
            self._row_json = self.expected_bytes((), 1)
        if probe is not None and self._open and None in self._dependent:
            self._probe(probe)

    def length(self, inputs: Sequence[Array]) -> int:
        """Return the length of the longest open dimension; 1 without any."""
        if not self._open:
            return 1
        return max(int(inputs[i].shape[d]) for d, i in self._open.items())

    def expected_bytes(
        self, inputs: Sequence[Array], rows: int, binary: Collection[str] = ()
    ) -> int | None:
        """Return the bytes of the answer to `rows` rows like these; None if shapes do not
        determine them. binary: the names of outputs that are not written as JSON."""
        if self._row_json is not None and not binary:
            return rows * self._row_json
        total = 0
        for (name, in_json, in_binary), fixed, dependent in zip(
            self._weights, self._fixed, self._dependent, strict=True
        ):
            if dependent is None:
                return None
            elements = rows * fixed
            for dimension in dependent:
                elements *= inputs[self._open[dimension]].shape[dimension]
            total += elements * (in_binary if name in binary else in_json)
        return total

    def actual_bytes(self, outputs: Sequence[Array], binary: Collection[str] = ()) -> int:
        """Return the bytes of an answer with these outputs."""
        total = 0
        for (name, in_json, in_binary), array in zip(self._weights, outputs, strict=True):
            total += array.size * (in_binary if name in binary else in_json)
            if array.dtype == object:
                total += sum(map(len, array.reshape(-1))) - array.size * _TEXT
        return total

    def _probe(self, run: Probe) -> None:
        """Find out which dimensions depend on inputs, if the model accepts the trial lengths."""
        runs = []
        for sizes in _TRIAL_LENGTHS:
            lengths = {d: sizes[d % len(sizes)] for d in self._open}
            try:
                outputs = run([_zeros(t, lengths) for t in self._signature.inputs])
            except (InvalidInput, InferenceError):
                return
            runs.append((lengths, outputs))
        for number, spec in enumerate(self._signature.outputs):
            if self._dependent[number] is not None or spec.shape is None:
                continue
            dependent = []
            for dimension in range(self._first, len(spec.shape)):
                if spec.shape[dimension] is None:
                    alike = [
                        d
                        for d in self._open
                        if all(outs[number].shape[dimension] == n[d] for n, outs in runs)
                    ]
                    dependent += alike[:1] or [-1]
            if -1 not in dependent:
                self._dependent[number] = tuple(dependent)


def _in_json(dtype: str) -> int:
    return _TEXT if dtype == "string" else _IN_JSON.get(dtype, _FLOAT_IN_JSON)


def _in_binary(dtype: str) -> int:
    # Any size will do for types that no protocol carries, such as quantised numbers.
    return numpy_dtype(dtype).itemsize if dtype in DTYPES and dtype != "string" else _TEXT


def _zeros(spec: TensorSpec, lengths: dict[int, int]) -> Array:
    """Return one row of an input. lengths: of its open dimensions."""
    shape = [lengths.get(d, 1) if size is None else size for d, size in enumerate(spec.shape or ())]
    if spec.dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, numpy_dtype(spec.dtype))
