"""Typed values in messages, as arrays and back, and the parts of the encoding of protocol buffers
that are needed for it (https://protobuf.dev/programming-guides/encoding).

Numbers of a fixed width lie in a message as in an array, byte by byte; all others are converted in
slices. Encoded messages that follow each other are merged by who reads them, so that a long answer
is written in parts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from app.serving.arrays import Array
from app.thread_slices import checkpoint

# Values that are converted before other threads get a turn.
_AT_ONCE = 10_000
# What the elements of a packed field take, where that is the same for each.
_WIDTHS = {np.dtype(np.float32): 4, np.dtype(np.float64): 8, np.dtype(np.bool_): 1}
# The wire type of texts, messages and packed values.
_DELIMITED = 2


def read_values(message: Any, field: str, dtype: np.dtype[Any]) -> Array:
    """Return the numbers (n,) of a repeated field. Raises OverflowError for values that `dtype`
    cannot hold."""
    values = getattr(message, field)
    width = _WIDTHS.get(dtype)
    if width is not None:
        alone = type(message)()
        getattr(alone, field).MergeFrom(values)
        return np.frombuffer(alone.SerializeToString(), np.uint8)[-width * len(values) :].view(
            dtype
        )
    array = np.empty(len(values), dtype)
    for at in range(0, len(values), _AT_ONCE):
        array[at : at + _AT_ONCE] = np.array(values[at : at + _AT_ONCE], dtype)
        checkpoint()
    return array


def read_texts(values: Any) -> Array:
    """Return the texts (n,) of a repeated field, as objects (bytes)."""
    array = np.empty(len(values), object)
    for at in range(0, len(values), _AT_ONCE):
        array[at : at + _AT_ONCE] = values[at : at + _AT_ONCE]
        checkpoint()
    return array


def written_values(kind: Any, field: str, array: Array) -> Iterator[bytes]:
    """Return messages of class `kind` that together have the values (n,) in a repeated field."""
    if array.dtype in _WIDTHS and len(array):
        yield encoded_field(kind, field, [array.tobytes()])
        return
    for at in range(0, len(array), _AT_ONCE):
        yield kind(**{field: array[at : at + _AT_ONCE].tolist()}).SerializeToString()
        checkpoint()


def encoded_field(kind: Any, field: str, parts: Iterable[bytes]) -> bytes:
    """Return a field of a message of class `kind`, encoded, with the parts, one after another, as
    its content: a text, a message or packed values."""
    return _delimited(kind.DESCRIPTOR.fields_by_name[field].number, b"".join(parts))


def encoded_entry(kind: Any, field: str, key: str, value: bytes) -> bytes:
    """Return an entry of a map of messages, encoded. value: an encoded message."""
    return encoded_field(kind, field, [_delimited(1, key.encode()), _delimited(2, value)])


def _delimited(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return a whole number from 0 on, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at an offset, and the offset behind it. Raises ValueError."""
    value = shift = 0
    for end in range(at, min(at + 10, len(data))):
        value |= (data[end] & 0x7F) << shift
        shift += 7
        if data[end] < 0x80:
            return value, end + 1
    raise ValueError("no number ends here")
