"""Parts of a row that can be left out, which shows what an answer depends on.

Occlusion: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014, section
4.2.
"""

from __future__ import annotations

import io
import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from app.serving.arrays import Array

_WORD = re.compile(r"\S+")
# Pixels of the longer side of a picture in an answer, and its quality.
MOST_SIDE = 512
QUALITY = 85


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one input of a row.

    shape: how answers arrange them, such as (rows, columns) of a grid. without: makes rows of which
    each lacks one part, those from the first number up to the second, by the names of the model's
    inputs. about: describes the parts for an answer. row_bytes: of a row in memory. All but `shape`
    for native threads.
    """

    shape: tuple[int, ...]
    row_bytes: int
    without: Callable[[int, int], Mapping[str, Array]]
    about: Callable[[], dict[str, Any]]

    @property
    def count(self) -> int:
        """The number of parts."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Target:
    """The number of an answer that is followed. about: describes it, with its value. of: returns it
    for each row of an output. digits: rounds a difference of two such numbers."""

    about: dict[str, Any]
    of: Callable[[Array], list[float]]
    digits: Callable[[float], float]


def patches(name: str, picture: Array, most: int) -> Parts:
    """Return the patches of a grid over a picture. A patch that is left out has the mean colour.

    name: of the model's input. picture: uint8 (1, height, width) or (1, height, width, channels).
    most: patches.
    """
    height, width = picture.shape[1:3]
    side = max(1, math.isqrt(most))
    down, across = math.ceil(height / side), math.ceil(width / side)
    rows, columns = math.ceil(height / down), math.ceil(width / across)
    mean = picture[0].mean(axis=(0, 1)).round().astype(np.uint8)

    def without(start: int, stop: int) -> dict[str, Array]:
        # Row by row: copies of slices leave the lock of the interpreter to others.
        made = np.empty((stop - start, *picture.shape[1:]), np.uint8)
        for i, number in enumerate(range(start, stop)):
            made[i] = picture[0]
            top, left = number // columns * down, number % columns * across
            made[i, top : top + down, left : left + across] = mean
        return {name: made}

    def about() -> dict[str, Any]:
        return {
            "size": [height, width],
            "grid": [rows, columns],
            "patch": [down, across],
            "picture": _as_url(picture[0]),
        }

    return Parts((rows, columns), picture.nbytes, without, about)


def words(text: str, most: int, encode: Callable[[list[str]], Mapping[str, Array]]) -> Parts:
    """Return the words of a text; of a long one, groups of words that follow each other.

    encode: returns what the model is fed with for texts. most: groups.
    """
    places = [match.span() for match in _WORD.finditer(text)]
    size = math.ceil(len(places) / most)
    spans = [
        (places[i][0], places[min(i + size, len(places)) - 1][1])
        for i in range(0, len(places), size)
    ]

    def without(start: int, stop: int) -> Mapping[str, Array]:
        return encode([text[:begin] + text[end:] for begin, end in spans[start:stop]])

    def about() -> dict[str, Any]:
        return {"words": [text[begin:end] for begin, end in spans]}

    return Parts((len(spans),), len(text.encode()), without, about)


def significant(value: float) -> float:
    """Return a number with seven digits: what float32 has, wherever the point is."""
    return float(f"{value:.7g}")


def _as_url(pixels: Array) -> str:
    """Return a picture as a data URL; a large one is shrunk."""
    flat = pixels.reshape(pixels.shape[:2]) if pixels.shape[2:] == (1,) else pixels
    image = Image.fromarray(flat)
    image.thumbnail((MOST_SIDE, MOST_SIDE))
    kind = "PNG" if image.mode == "RGBA" else "JPEG"
    out = io.BytesIO()
    image.save(out, kind, quality=QUALITY)
    return f"data:image/{kind.lower()};base64,{b64encode(out.getvalue()).decode()}"
