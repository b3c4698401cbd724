"""JSON of any size, written in pieces that take about a millisecond each at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.serving.hub_rounds import VALUES
from app.serving.tasks.predictions import Predictions

# Bytes sent at once: smaller pieces are joined.
CHUNK = 256 * 1024
# Characters that count as one value.
_TEXT = 64
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def dumps(value: Any) -> bytes:
    """Return JSON in one piece; NumPy arrays and scalars become lists and numbers."""
    return orjson.dumps(value, default=_default, option=_OPTIONS)


def value_count(value: Any) -> int:
    """Return the approximate number of values in `value`: a list counts as if all its items were
    like the first."""
    if isinstance(value, float | int):  # as most are
        return 1
    if isinstance(value, dict):
        return 1 + sum(map(value_count, value.values()))
    if isinstance(value, str):
        return 1 + len(value) // _TEXT
    if isinstance(value, np.generic):
        return 1
    if isinstance(value, np.ndarray):
        return array_value_count(value)
    if isinstance(value, list | Predictions):
        return 1 + (len(value) * value_count(value[0]) if value else 0)
    return 1


def json_pieces(value: Any) -> Iterator[bytes]:
    """Yield the JSON that `dumps` returns, in pieces.

    Empties arrays of strings on the way: freeing millions of them at once stops the hub.
    """
    if isinstance(value, np.ndarray):
        yield from array_pieces(value, _dumps_last if value.dtype == object else dumps)
    elif isinstance(value, str) and value_count(value) > VALUES:
        yield b'"'
        for at in range(0, len(value), VALUES * _TEXT):
            yield dumps(value[at : at + VALUES * _TEXT])[1:-1]
        yield b'"'
    elif not isinstance(value, dict | list | Predictions) or value_count(value) <= VALUES:
        yield dumps(value)
    elif isinstance(value, dict):
        opening = b"{"
        for key, item in value.items():
            yield opening + dumps(str(key)) + b":"
            yield from json_pieces(item)
            opening = b","
        yield b"}"
    else:
        yield b"["
        comma = b""
        for part in value.parts() if isinstance(value, Predictions) else _parts(value):
            # A prediction may be many times as large as the outputs that it is made from.
            if value_count(part) <= 4 * VALUES:
                yield comma + dumps(part)[1:-1]
                comma = b","
                continue
            for item in part:
                yield comma
                yield from json_pieces(item)
                comma = b","
        yield b"]"


def array_pieces(array: NDArray[Any], write: Callable[[NDArray[Any]], bytes]) -> Iterator[bytes]:
    """Yield the JSON that `write` makes of an array, in pieces.

    write: makes a JSON list of any array that has dimensions, each item independently of the
    others.
    """
    if not array.ndim or array_value_count(array) <= VALUES:
        yield write(array)
        return
    yield b"["
    yield from _items(array, write)
    yield b"]"


def _items(array: NDArray[Any], write: Callable[[NDArray[Any]], bytes]) -> Iterator[bytes]:
    if array_value_count(array) <= VALUES or array.shape == (1,):
        yield write(array)[1:-1]
        return
    if len(array) == 1:
        yield from array_pieces(array[0], write)
        return
    many = array.size > VALUES
    step = max(1, VALUES * len(array) // array.size) if many else len(array) // 2
    for at in range(0, len(array), step):
        if at:
            yield b","
        yield from _items(array[at : at + step], write)


def array_value_count(array: NDArray[Any]) -> int:
    """Return the number of values in `array`, with long strings counted as several. The strings of
    an array of more than VALUES are not looked at."""
    if array.dtype != object or array.size > VALUES:
        return 1 + array.size
    return 1 + array.size + sum(map(len, array.flat)) // _TEXT


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join `pieces` into chunks of at least CHUNK bytes; the last may be smaller.

    Yields nothing (b"") while it collects a chunk, so that others get their turn.
    """
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
        else:
            yield b""
    if held:
        yield b"".join(held)


def _dumps_last(texts: NDArray[Any]) -> bytes:
    """Return the JSON of strings that are not used again, and drop them."""
    text = dumps(texts)
    texts[...] = None
    return text


def _parts(value: list[Any]) -> Iterator[list[Any]]:
    step = max(1, VALUES // value_count(value[0]))
    for start in range(0, len(value), step):
        yield value[start : start + step]


def _default(value: Any) -> Any:
    """Convert arrays that orjson does not accept, such as views with gaps and arrays of strings."""
    return value.tolist()
