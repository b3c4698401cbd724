"""JSON of any size, written piece by piece: none takes longer than about a millisecond."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.serving.rounds import VALUES
from app.serving.tasks.predictions import Predictions

# What is sent at once, in bytes: smaller pieces are joined.
CHUNK = 256 * 1024
# Characters that count as one value.
_TEXT = 64
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def dumps(value: Any) -> bytes:
    """JSON in one piece; NumPy arrays and scalars become lists and numbers."""
    return orjson.dumps(value, default=_default, option=_OPTIONS)


def weight(value: Any) -> int:
    """How many values there are in `value`, about: a list counts as if all its items were like the
    first."""
    if isinstance(value, dict):
        return 1 + sum(map(weight, value.values()))
    if isinstance(value, np.ndarray):
        return array_weight(value)
    if isinstance(value, list | Predictions):
        return 1 + (len(value) * weight(value[0]) if value else 0)
    return 1 + len(value) // _TEXT if isinstance(value, str) else 1


def json_pieces(value: Any) -> Iterator[bytes]:
    """What `dumps` writes, in pieces. Arrays of texts are emptied on the way: freed in one go,
    millions stop the hub."""
    if isinstance(value, np.ndarray):
        yield from array_pieces(value, _dumps_last if value.dtype == object else dumps)
    elif not isinstance(value, dict | list | Predictions) or weight(value) <= VALUES:
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
            # A prediction may be many times what it is made of.
            if weight(part) <= 4 * VALUES:
                yield comma + dumps(part)[1:-1]
                comma = b","
                continue
            for item in part:
                yield comma
                yield from json_pieces(item)
                comma = b","
        yield b"]"


def array_pieces(array: NDArray[Any], write: Callable[[NDArray[Any]], bytes]) -> Iterator[bytes]:
    """What `write` makes of an array, in pieces. write: makes a JSON list of any that has
    dimensions, whose items do not depend on each other."""
    if not array.ndim or array_weight(array) <= VALUES:
        yield write(array)
        return
    yield b"["
    yield from _items(array, write)
    yield b"]"


def _items(array: NDArray[Any], write: Callable[[NDArray[Any]], bytes]) -> Iterator[bytes]:
    if array_weight(array) <= VALUES or array.shape == (1,):
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


def array_weight(array: NDArray[Any]) -> int:
    """How many values there are in `array`, long texts as several; more than VALUES are not looked
    at."""
    if array.dtype != object or array.size > VALUES:
        return 1 + array.size
    return 1 + array.size + sum(map(len, array.flat)) // _TEXT


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces`, joined to chunks of at least CHUNK bytes but for the last. One that is under way is
    yielded as nothing, for others to have their turn."""
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
    """JSON of texts that are of no more use."""
    text = dumps(texts)
    texts[...] = None
    return text


def _parts(value: list[Any]) -> Iterator[list[Any]]:
    step = max(1, VALUES // weight(value[0]))
    for start in range(0, len(value), step):
        yield value[start : start + step]


def _default(value: Any) -> Any:
    """Arrays that orjson does not take by itself, such as views with gaps and those of texts."""
    return value.tolist()
