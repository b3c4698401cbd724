"""Requests for inference of the Open Inference Protocol: a JSON object, and behind it the tensors
that are sent as binary data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from app.api.v2.tensors import (
    BASE64,
    DTYPES,
    MAX_DIMENSIONS,
    from_base64,
    from_binary,
    from_json,
)
from app.errors import BadRequest, Detail, short
from app.json_body import ENCODED_TWICE, is_wrapped, read_json
from app.serving.arrays import Array
from app.serving.limits import Limits, too_many_elements
from app.serving.signature import SignatureDef
from app.serving.tasks.base import invalid
from app.serving.tensors import sizes

HEADER_LENGTH = "Inference-Header-Content-Length"
# Inputs, and outputs, of one request.
MAX_TENSORS = 1000
# Triton's parameters of requests that depend on earlier ones (extension_sequence.md).
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
_TOO_MANY = f"at most {MAX_TENSORS}"


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output and its form in the answer. classes: how many of the best classes to return as
    text, None for the tensor itself."""

    name: str
    binary: bool
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request. outputs: None for all, all as `binary` says. timeout_s: the client's own limit."""

    id: str | None
    inputs: dict[str, Array]
    outputs: list[RequestedOutput] | None
    binary: bool
    timeout_s: float | None

    def binary_outputs(self, signature: SignatureDef) -> set[str]:
        """Return the outputs whose values are not written as JSON: binary, or only the best
        classes."""
        if self.outputs is None:
            return {t.name for t in signature.outputs} if self.binary else set()
        return {want.name for want in self.outputs if want.binary or want.classes is not None}


def read_request(
    body: bytes, header_length: str | None, limits: Limits, *, batchable: bool
) -> InferRequest:
    """Read a request.

    body: whole, no longer compressed. header_length: the header of that name, which counts in it;
    without one all of it is JSON. batchable: whether first dimensions count rows.

    Raises BadRequest if nothing can be read, InvalidInput with all problems at once.
    """
    size = _json_size(header_length, len(body))
    head = _parsed(body[:size], limits.max_json_depth)
    if is_wrapped(head):
        raise BadRequest(f"the body is not a JSON object: {ENCODED_TWICE}")
    if not isinstance(head, dict):
        raise BadRequest("the body is not a JSON object")
    return RequestReader(memoryview(body)[size:], len(body), limits, batchable).read(head)


def _json_size(header_length: str | None, length: int) -> int:
    if header_length is None:
        return length
    text = header_length.strip()
    # A number of more digits is out of range in any case.
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and 0 < int(text) <= length):
        raise BadRequest(
            f"{HEADER_LENGTH} is {header_length[:100]!r}: expected the length of the JSON object, "
            f"1 to {length} bytes"
        )
    return int(text)


def _parsed(text: bytes, max_depth: int) -> Any:
    if not text.strip():
        raise BadRequest("the body is empty: expected JSON")
    try:
        return read_json(text, max_depth, nan=True)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


class RequestReader:
    """Reads one request and collects what is wrong with it. rest: the bytes behind the JSON.
    length: of the whole body. batchable: whether first dimensions count rows."""

    def __init__(self, rest: memoryview, length: int, limits: Limits, batchable: bool) -> None:
        self._rest = rest
        self._length = length
        self._limits = limits
        self._batchable = batchable
        self._details: list[Detail] = []

    def read(self, head: dict[str, Any]) -> InferRequest:
        """Return the request of a JSON object. Raises InvalidInput with all problems at once."""
        id = head.get("id")
        if id is not None and not isinstance(id, str):
            self._wrong("id", "wrong type", id, "a text")
        parameters = self._parameters("", head)
        binary = self._flag("parameters.binary_data_output", parameters, "binary_data_output")
        self._no_sequences(parameters)
        # In microseconds; 0 stands for none, as in Triton.
        timeout = self._whole("parameters.timeout", parameters, "timeout")
        inputs = self._inputs(head.get("inputs"), parameters.get("content_type"))
        outputs = self._outputs(head.get("outputs"), binary)
        if self._rest and not self._details:
            self._wrong("body", f"{len(self._rest)} bytes more than the inputs take")
        if self._details:
            raise invalid(self._details)
        return InferRequest(id, inputs, outputs or None, binary, timeout / 1e6 if timeout else None)

    def _inputs(self, value: Any, content_type: Any) -> dict[str, Array]:
        """The inputs. content_type: of those that have none of their own."""
        read: dict[str, Array] = {}
        names: set[str] = set()
        for i, item in enumerate(self._objects("inputs", value)):
            field = f"inputs[{i}]"
            name = self._name(field, item, names)
            datatype = item.get("datatype")
            if not isinstance(datatype, str) or datatype not in DTYPES:
                problem = "missing" if datatype is None else "no such datatype"
                expected = f"one of {', '.join(DTYPES)}"
                self._wrong(f"{field}.datatype", problem, datatype, expected)
                datatype = None
            shape = self._shape(field, item.get("shape"))
            data = self._data(field, item)
            if name is None or datatype is None or shape is None or data is None:
                continue
            array = self._array(field, name, datatype, shape, data)
            own = self._parameters(f"{field}.", item).get("content_type", content_type)
            if datatype == "BYTES" and own == BASE64 and not isinstance(array, Detail):
                array = from_base64(name, array)
            if isinstance(array, Detail):
                self._details.append(array)
            else:
                read[name] = array
        if value == []:
            self._wrong("inputs", "none", expected="at least one")
        return read

    def _shape(self, field: str, value: Any) -> list[int] | None:
        field = f"{field}.shape"
        good = (
            isinstance(value, list)
            and len(value) <= MAX_DIMENSIONS
            and all(type(size) is int and size >= 0 for size in value)
        )
        if not good:
            expected = f"a list of at most {MAX_DIMENSIONS} whole numbers from 0"
            problem = "missing" if value is None else "no such shape"
            self._wrong(field, problem, value, expected)
            return None
        shape: list[int] = value
        if 0 in shape and max(shape) > self._length:
            # Empty rows take no space in the body, but each costs the model its time.
            expected = "no dimension larger than the body is long"
            self._wrong(field, "empty tensor with too many rows", value, expected)
            return None
        if shape and self._batchable and (excess := self._limits.excess(field, shape[0])):
            self._details += excess
            return None
        return shape

    def _data(self, field: str, item: dict[str, Any]) -> Any:
        """Return the list in `data`, or a part of the bytes behind the JSON; None if it is
        wrong."""
        parameters = self._parameters(f"{field}.", item)
        if "shared_memory_region" in parameters:
            self._no_shared_memory(field)
            return None
        in_json = item.get("data") is not None
        if in_json == ("binary_data_size" in parameters):
            problem = "both" if in_json else "neither"
            expected = "either 'data' or 'parameters': {'binary_data_size': bytes}"
            self._wrong(field, problem, expected=expected)
            return None
        if in_json:
            return item["data"]
        where = f"{field}.parameters.binary_data_size"
        size = self._whole(where, parameters, "binary_data_size")
        if size is None:
            return None
        if size > len(self._rest):
            expected = f"at most {len(self._rest)}: what is left of the body behind the JSON"
            self._wrong(where, f"{size} bytes", size, f"{expected} ({HEADER_LENGTH})")
            return None
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _array(
        self, field: str, name: str, datatype: str, shape: list[int], data: Any
    ) -> Array | Detail:
        """Return what `_data` has returned as an array; or what is wrong with it."""
        if isinstance(data, memoryview):
            return from_binary(name, datatype, shape, data)
        elements = math.prod(sizes(data))
        if excess := too_many_elements(field, elements, self._limits.max_elements):
            return excess[0]
        return from_json(name, datatype, shape, data)

    def _outputs(self, value: Any, binary: bool) -> list[RequestedOutput]:
        wanted = []
        names: set[str] = set()
        for i, item in enumerate(self._objects("outputs", [] if value is None else value)):
            field = f"outputs[{i}]"
            name = self._name(field, item, names)
            parameters = self._parameters(f"{field}.", item)
            if "shared_memory_region" in parameters:
                self._no_shared_memory(field)
            own = self._flag(f"{field}.parameters.binary_data", parameters, "binary_data", binary)
            where = f"{field}.parameters.classification"
            classes = self._whole(where, parameters, "classification")
            if classes == 0:
                self._wrong(where, "no classes", 0, "at least 1")
            if name is not None:
                wanted.append(RequestedOutput(name, own, classes))
        return wanted

    def _objects(self, field: str, value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            problem = "missing" if value is None else "wrong type"
            self._wrong(field, problem, value, "a list of objects")
            return []
        if len(value) > MAX_TENSORS:
            self._wrong(field, f"{len(value)} of them", len(value), _TOO_MANY)
            return []
        wrong = [i for i, item in enumerate(value) if not isinstance(item, dict)]
        for i in wrong:
            self._wrong(f"{field}[{i}]", "wrong type", value[i], "an object")
        return [] if wrong else value

    def _name(self, field: str, item: dict[str, Any], names: set[str]) -> str | None:
        name = item.get("name")
        if not isinstance(name, str) or not name:
            problem = "missing" if name is None else "empty" if name == "" else "wrong type"
            self._wrong(f"{field}.name", problem, name, "a text")
            return None
        if name in names:
            self._wrong(f"{field}.name", f"{short(name)} a second time", name, "each name once")
            return None
        names.add(name)
        return name

    def _parameters(self, field: str, item: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters of an object. Unknown ones are ignored, as the protocol
        requires."""
        value = item.get("parameters")
        if value is None or isinstance(value, dict):
            return value or {}
        self._wrong(f"{field}parameters", "wrong type", value, "an object")
        return {}

    def _flag(
        self, field: str, parameters: dict[str, Any], key: str, default: bool = False
    ) -> bool:
        value = parameters.get(key, default)
        if isinstance(value, bool):
            return value
        self._wrong(field, "wrong type", value, "true or false")
        return default

    def _whole(self, field: str, parameters: dict[str, Any], key: str) -> int | None:
        value = parameters.get(key)
        if key not in parameters or (type(value) is int and value >= 0):
            return value
        problem = "below 0" if type(value) is int else "wrong type"
        self._wrong(field, problem, value, "a whole number from 0")
        return None

    def _no_sequences(self, parameters: dict[str, Any]) -> None:
        """Refuse to be one of a sequence: a model that forgets would answer, but wrongly."""
        for key in _SEQUENCE:
            # 0, the empty text and false stand for none, as in Triton.
            if parameters.get(key):
                self._wrong(
                    f"parameters.{key}",
                    "sequences of requests are not supported, no model keeps a state",
                    parameters[key],
                    "a request without it, with all steps of the sequence in its inputs",
                )

    def _no_shared_memory(self, field: str) -> None:
        self._wrong(
            f"{field}.parameters.shared_memory_region",
            "shared memory is not supported",
            expected="the data in the body",
        )

    def _wrong(
        self, field: str, problem: str, value: Any = None, expected: str | None = None
    ) -> None:
        shown = None if value is None else short(value)
        self._details.append(Detail(field, problem, shown, expected))
