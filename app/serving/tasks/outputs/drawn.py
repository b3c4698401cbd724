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

from app.errors import Detail, InvalidInput, LimitDetail, LimitedInput
from app.resources.container import own_cores
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.cards.drawn_outputs import Covers
from app.serving.limits import Limits
from app.serving.reductions import Reduction
from app.serving.signature import Grid, TensorSpec
from app.serving.tasks.base import Drawing, object_schema
from app.serving.tasks.files.placement import Placement, covered
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
    resized: whether it gets the size of the picture that the model was given.

    covers: what of the input it shows, where the card says it. grid: where its pixels lie in the
    input, where the file shows it.
    """

    reduction: Reduction
    resized: bool

    def __init__(
        self, name: str, spec: TensorSpec, covers: Covers | None, grid: Grid | None
    ) -> None:
        super().__init__(name, spec)
        self._middle = covers == "middle"
        self._grid = None if covers is not None else grid

    def shown(self, row: Array, placed: Placement | None) -> tuple[Array, Placement | None]:
        """Return the part of a row that shows the picture, and what of the picture that is. Raises
        InvalidInput where it shows nothing of it."""
        if placed is None:
            return row, None
        grid = middle_of(row, placed.fed) if self._middle else self._grid
        return part_of(row, placed, grid)

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
    detail = LimitDetail("answer", problem, pixels, expected)
    raise LimitedInput(f"answer: {problem}, expected {expected}", [detail])


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
    schema = object_schema(
        {
            **more,
            "size": {**size, "description": "Height and width of the picture."},
            "png": {"type": "string", "description": f"{png} As a data URL."},
        }
    )
    sides = {side: {"type": "number"} for side in ("xmin", "ymin", "xmax", "ymax")}
    box = {
        **object_schema(sides),
        "description": "What it shows of the picture that was sent, in its pixels, if not all.",
    }
    return {**schema, "properties": {**schema["properties"], "box": box}}


def part_of(row: Array, placed: Placement, grid: Grid | None) -> tuple[Array, Placement]:
    """Return the part of an array (height, width, …) that shows the picture, to the nearest number,
    and what of the picture that is. Raises InvalidInput where it shows nothing of it."""
    shown = covered(row, placed.fed, grid)
    place = placed.cut(shown)
    if place is None:
        (across, down), (width, height) = placed.fed, placed.size
        problem = f"too small for this model, with {width} × {height} pixels"
        expected = (
            "a larger picture: the model leaves out a border of its input, which has "
            f"{across} × {down} pixels"
        )
        raise InvalidInput(
            f"picture: {problem}, expected {expected}", [Detail("picture", problem, None, expected)]
        )
    left, top, right, bottom = place.area
    height, width = row.shape[:2]
    across, down = width / (shown[2] - shown[0]), height / (shown[3] - shown[1])
    x, y = round((left - shown[0]) * across), round((top - shown[1]) * down)
    x_end, y_end = round((right - shown[0]) * across), round((bottom - shown[1]) * down)
    return row[y : max(y + 1, y_end), x : max(x + 1, x_end)], place


def middle_of(row: Array, fed: tuple[int, int]) -> Grid:
    """Return the grid of an output whose pixels are those in the middle of the input."""
    height, width = row.shape[:2]
    return Grid((1.0, 1.0), ((fed[1] - height) / 2, (fed[0] - width) / 2))


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
