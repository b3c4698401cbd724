"""Requests for inference of the Open Inference Protocol as messages of gRPC: the same members as in
JSON, with tensors in `raw_input_contents` or as typed values."""

from __future__ import annotations

import math
from typing import Any

from app.api.grpc.values import read_texts, read_values
from app.api.v2.request import InferRequest, RequestReader
from app.api.v2.tensors import DTYPES, from_binary
from app.errors import Detail
from app.serving.arrays import Array
from app.serving.limits import Limits
from app.serving.tensors import numpy_dtype

# The field of typed values for each datatype; the others have none.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_infer_request(message: Any, size: int, limits: Limits, *, batchable: bool) -> InferRequest:
    """Read a ModelInferRequest. size: in bytes. batchable: whether first dimensions count rows.
    Raises InvalidInput with all problems at once."""
    return _Reader(message, size, limits, batchable).read(_head(message))


def _head(message: Any) -> dict[str, Any]:
    """Return what a message has of the JSON object."""
    return {
        "id": message.id or None,
        "parameters": _parameters(message),
        "inputs": [
            {
                "name": each.name,
                "datatype": each.datatype,
                "shape": [*each.shape],
                "parameters": _parameters(each),
                "place": place,
            }
            for place, each in enumerate(message.inputs)
        ],
        "outputs": [
            {"name": each.name, "parameters": _parameters(each)} for each in message.outputs
        ],
    }


def parameter_value(parameter: Any) -> Any:
    """Return the value of a parameter, None if it has none."""
    choice = parameter.WhichOneof("parameter_choice")
    return None if choice is None else getattr(parameter, choice)


def _parameters(message: Any) -> dict[str, Any]:
    found = ((name, parameter_value(each)) for name, each in message.parameters.items())
    return {name: value for name, value in found if value is not None}


class _Reader(RequestReader):
    """A reader that finds the data of inputs in a message."""

    def __init__(self, message: Any, size: int, limits: Limits, batchable: bool) -> None:
        super().__init__(memoryview(b""), size, limits, batchable)
        self._message = message
        self._raw = message.raw_input_contents
        self._expected = len(message.inputs)
        if self._raw and len(self._raw) != self._expected:
            problem = f"{len(self._raw)} of them"
            expected = f"{self._expected}: one for each input, or none"
            self._wrong("raw_input_contents", problem, len(self._raw), expected)

    def _data(self, field: str, item: dict[str, Any]) -> Any:
        """Return the bytes of an input, or its typed values as a message; None if it is wrong."""
        if "shared_memory_region" in item["parameters"]:
            self._no_shared_memory(field)
            return None
        contents = self._message.inputs[item["place"]].contents
        if not self._raw:
            return contents
        if contents.ByteSize():
            expected = "either raw_input_contents or contents"
            self._wrong(f"{field}.contents", "both", expected=expected)
            return None
        return memoryview(self._raw[item["place"]]) if item["place"] < len(self._raw) else None

    def _array(
        self, field: str, name: str, datatype: str, shape: list[int], data: Any
    ) -> Array | Detail:
        if isinstance(data, memoryview):
            return from_binary(name, datatype, shape, data)
        wanted = _CONTENTS.get(datatype)
        if wanted is None:
            return Detail(name, f"{datatype} has no typed values", expected="raw_input_contents")
        for other, _ in data.ListFields():
            if other.name != wanted:
                problem = f"values in {other.name}"
                return Detail(f"{field}.contents", problem, expected=f"{wanted} for {datatype}")
        values = getattr(data, wanted)
        count = math.prod(shape)
        if len(values) != count:
            expected = f"{count} for shape {shape}, or raw_input_contents"
            problem = f"{len(values)} values in {wanted}"
            return Detail(f"{field}.contents", problem, len(values), expected)
        if datatype == "BYTES":
            flat = read_texts(values)
        else:
            dtype = numpy_dtype(DTYPES[datatype])
            try:
                flat = read_values(data, wanted, dtype)
            except OverflowError:
                expected = f"values that fit {datatype}"
                return Detail(f"{field}.contents", "out of range", expected=expected)
        try:
            return flat.reshape(shape)
        except ValueError as error:  # the number is right, but one of the sizes is 0
            return Detail(name, f"no such shape: {error}")
