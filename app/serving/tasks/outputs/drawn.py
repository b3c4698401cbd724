"""Outputs that are answered as pictures: drawn by native threads, as PNG files or data URLs."""

from __future__ import annotations

import io
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from app.errors import Detail, InvalidInput
from app.resources.container import own_cores
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.limits import Limits
from app.serving.reductions import Reduction
from app.serving.tasks.base import Drawing, object_schema
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.outputs.output import Output
from app.serving.threads import Check, Workers

DATA_URL = "data:image/png;base64,"
# Bytes turned into base64 at once, a multiple of 3: what that takes holds the interpreter's lock.
_PIECE = 3 * 2**17
# Of zlib. Masks are as small as with any; pictures take a third of the time of the usual 6.
_COMPRESSION = 2
# Pixels that are drawn at once: a mask of a photograph takes a few bytes for each, three times.
_ROOM = 64_000_000


class Drawn(Output):
    """An output of which each row is a picture. reduction: what is needed of the model's numbers.
    resized: whether it gets the size of the picture that the model was given."""

    reduction: Reduction
    resized: bool

    @abstractmethod
    def draw(self, row: Array, placed: Placement | None, drawing: Drawing, check: Check) -> Any:
        """Return the value of one row, in a native thread.

        row: as the reduction leaves it. placed: where the picture that was given lies in the
        model's input; None without one.
        """

    def values(self, array: Array) -> list[Any]:
        """Return the values that were drawn."""
        return [*array]


def check_drawing(
    outputs: Sequence[Drawn], placed: Sequence[Placement], drawing: Drawing, limits: Limits
) -> None:
    """Raise InvalidInput where pictures of the size of those that were given would be too large
    together. placed: of these, one a row."""
    if drawing.at_model_size:
        return
    each = sum(place.size[0] * place.size[1] for place in placed)
    pixels = each * sum(out.resized for out in outputs)
    _check_pixels(pixels, len(placed), limits, ", or '?size=model' for masks of the model's size")


def _check_pixels(pixels: int, rows: int, limits: Limits, instead: str = "") -> None:
    if pixels <= limits.max_pixels:
        return
    problem = f"about {pixels:,} pixels for {rows:,} {'row' if rows == 1 else 'rows'}"
    expected = (
        f"at most {limits.max_pixels:,} (KERAPORT_MAX_PIXELS): send fewer or smaller pictures at a "
        f"time{instead}"
    )
    detail = Detail("answer", problem, pixels, expected)
    raise InvalidInput(f"answer: {problem}, expected {expected}", [detail])


def draw_all(
    arrays: Mapping[Drawn, Array],
    placed: Sequence[Placement] | None,
    drawing: Drawing,
    call: Call,
    limits: Limits,
) -> dict[Drawn, Array]:
    """Draw the rows of outputs, in native threads. Blocks the greenlet.

    arrays: of each output, as its reduction leaves them. placed: the pictures that were given, one
    a row. Returns arrays of values in their place. Raises InvalidInput where they are too large
    together, and what ends `call`.
    """
    rows = max(map(len, arrays.values()))
    sizes = [array.shape[0] * array.shape[1] * array.shape[2] for array in arrays.values()]
    _check_pixels(sum(sizes), rows, limits)
    jobs = [(out, i) for out, array in arrays.items() for i in range(len(array))]

    def draw(job: tuple[Drawn, int], check: Check) -> Any:
        out, i = job
        return out.draw(arrays[out][i], placed[i] if placed else None, drawing, check)

    costs = []
    for out, i in jobs:
        height, width = arrays[out].shape[1:3]
        if placed and out.resized and not drawing.at_model_size:
            height, width = max(height, placed[i].size[1]), max(width, placed[i].size[0])
        costs.append(height * width)
    values = _pool().map(draw, jobs, call, costs)
    drawn = {out: np.empty(len(array), object) for out, array in arrays.items()}
    for (out, i), value in zip(jobs, values, strict=True):
        drawn[out][i] = value
    size = sum(len(value["png"]) for value in values)
    limits.check_answer(size, rows)
    return drawn


@cache
def _pool() -> Workers:
    """Native threads for drawing, as many as cores: Pillow and zlib release the GIL."""
    return Workers(own_cores(), "draw", room=_ROOM, small=2**20)


def drawn_schema(png: str, **more: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a value with a picture. png: describes it."""
    side = {"type": "integer", "minimum": 1}
    size = {"type": "array", "items": side, "minItems": 2, "maxItems": 2}
    return object_schema(
        {
            **more,
            "size": {**size, "description": "Height and width of the picture."},
            "png": {"type": "string", "description": f"{png} As a data URL."},
        }
    )


def part_of(row: Array, placed: Placement) -> Array:
    """Return the part of an array (height, width, …) that shows the picture, to the nearest
    number."""
    (across, down), (height, width) = placed.fed, row.shape[:2]
    left, top, right, bottom = placed.area
    x, y = round(left * width / across), round(top * height / down)
    x_end, y_end = round(right * width / across), round(bottom * height / down)
    return row[y : max(y + 1, y_end), x : max(x + 1, x_end)]


def png_of(image: Image.Image, drawing: Drawing, check: Check, **options: Any) -> str | bytes:
    """Return a picture as a PNG file, or as a data URL of one."""
    file = _File(check)
    image.save(file, "PNG", compress_level=_COMPRESSION, **options)
    data = file.getvalue()
    return data if drawing.as_files else "".join(_data_url(data, check))


def _data_url(data: bytes, check: Check) -> Iterator[str]:
    yield DATA_URL
    for at in range(0, len(data), _PIECE):
        check()
        yield b64encode(data[at : at + _PIECE]).decode("ascii")


class _File(io.BytesIO):
    """A file that is written only as long as someone waits for it."""

    def __init__(self, check: Check) -> None:
        super().__init__()
        self._check = check

    def write(self, data: Any) -> int:
        self._check()
        return super().write(data)
