"""Tensors of the Open Inference Protocol, as JSON and as the binary tensor data extension frames
them.

The extension is Triton's (docs/protocol/extension_binary_data.md in triton-inference-server/server)
and KServe's: little-endian, row-major, no padding; a BOOL is a byte, an element of BYTES its length
as an unsigned 32-bit integer, followed by its bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.errors import Detail, InvalidInput, short
from app.serving.arrays import Array
from app.serving.base64_text import decode_base64
from app.serving.hub_rounds import VALUES
from app.serving.signature import TensorSpec
from app.serving.tensors import Wording, from_nested, numpy_dtype
from app.thread_slices import checkpoint

# The protocol's names of what TensorFlow has.
DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "string",
}
DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
BINARY = Wording(DATATYPES, encoded="BYTES of shape [n], as binary data or base64")
# There are no bytes in JSON, and a text stands for others only where its content type says so.
JSON = replace(
    BINARY, unreadable=", as binary data or, with 'parameters': {'content_type': 'base64'}, base64"
)
# MLServer's name for BYTES that are base64 (mlserver/codecs/base64.py).
BASE64 = "base64"
_LENGTH = struct.Struct("<I")
# Texts that are worked on before other threads get a turn.
_AT_ONCE = 10_000
# Bytes of numbers that are copied at once.
_PIECE = 256 * 1024
# What NumPy's arrays can have.
MAX_DIMENSIONS = 64


def datatype_of(array: Array) -> str:
    """Return the protocol's name of an array's type; objects are texts."""
    return DATATYPES["string" if array.dtype == object else array.dtype.name]


def from_json(field: str, datatype: str, shape: Sequence[int], data: Any) -> Array | Detail:
    """`data`, flat or nested like `shape`, as an array; or what is wrong with it."""
    if datatype == "BF16":
        return Detail(field, "BF16 in JSON", expected="it as binary data")
    if not isinstance(data, list):
        return Detail(field, "wrong type", short(data), "a list")
    nested = bool(data) and isinstance(data[0], list)
    wanted = tuple(shape) if nested else (math.prod(shape),)
    spec = TensorSpec(field, "", DTYPES[datatype], wanted)
    read = from_nested(data, spec, finite=False, wording=JSON)
    return read if isinstance(read, Detail) else _shaped(field, read, shape)


def from_binary(
    field: str, datatype: str, shape: Sequence[int], part: memoryview
) -> Array | Detail:
    """Return the bytes of a tensor as an array, of numbers without a copy; or what is wrong with
    them."""
    if datatype == "BYTES":
        texts = _texts(field, math.prod(shape), part)
        return texts if isinstance(texts, Detail) else _shaped(field, texts, shape)
    dtype = numpy_dtype(DTYPES[datatype])
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(part):
        expected = f"{needed} for {datatype} of shape {list(shape)}"
        return Detail(field, f"{len(part)} bytes of data", len(part), expected)
    if datatype == "BOOL":
        # A byte that is neither 0 nor 1 would be a bool that is neither.
        return _shaped(field, np.frombuffer(part, np.uint8) != 0, shape)
    return _shaped(field, np.frombuffer(part, dtype), shape)


def from_base64(field: str, array: Array) -> Array | Detail:
    """An array of BYTES in base64 as the bytes that they stand for; or what is wrong with it."""
    found = np.empty(array.shape, object)
    flat = found.reshape(-1)
    for i, text in enumerate(array.reshape(-1)):
        try:
            flat[i] = decode_base64(text.decode("ascii"))
        except ValueError:
            where = "".join(f"[{at}]" for at in np.unravel_index(i, array.shape))
            return Detail(f"{field}{where}", "not base64", expected="base64, or a data URL")
    return found


def _shaped(field: str, flat: Array, shape: Sequence[int]) -> Array | Detail:
    # The number of elements is right: only a shape without any can have such dimensions.
    try:
        return flat.reshape(shape)
    except ValueError as error:
        return Detail(field, f"no such shape: {error}")


def _texts(field: str, count: int, part: memoryview) -> Array | Detail:
    expected = f"{count} of them, each after its length in 4 bytes, little-endian"
    texts: list[bytes] = []
    at, end = 0, len(part)
    while at < end:
        start = at + _LENGTH.size
        if len(texts) == count:
            return Detail(field, "more elements than the shape has", expected=expected)
        if start > end:
            return Detail(field, "ends within a length", expected=expected)
        (length,) = _LENGTH.unpack_from(part, at)
        at = start + length
        if at > end:
            return Detail(
                field,
                f"element {len(texts)} has a length of {length} bytes, but {end - start} are left",
                expected=expected,
            )
        texts.append(bytes(part[start:at]))
        if len(texts) % _AT_ONCE == 0:
            checkpoint()
    if len(texts) != count:
        return Detail(field, f"{len(texts)} elements", expected=expected)
    array = np.empty(count, object)
    for i in range(0, count, _AT_ONCE):
        array[i : i + _AT_ONCE] = texts[i : i + _AT_ONCE]
        checkpoint()
    return array


def to_json(name: str, array: Array) -> Any:
    """Return a flat array, or list of texts, that JSON can carry. Raises InvalidInput for what it
    cannot."""
    if datatype_of(array) == "BF16":
        raise InvalidInput(f"{name}: BF16 in JSON: ask for it with 'binary_data': true")
    if array.dtype != object:
        return np.ascontiguousarray(array).reshape(-1)
    try:
        return [text.decode() for text in array.reshape(-1)]
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{name}: its texts are not UTF-8: ask for them with 'binary_data': true"
        ) from None


def binary_pieces(array: Array) -> Iterator[bytes]:
    """Return the bytes of a tensor, in pieces."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if array.dtype != object:
        data = flat.view(np.uint8).data
        for at in range(0, len(data), _PIECE):
            yield bytes(data[at : at + _PIECE])
        return
    for at in range(0, len(flat), VALUES):
        yield b"".join(
            part for text in flat[at : at + VALUES] for part in (_LENGTH.pack(len(text)), text)
        )
