"""Small photographs with the statistics of photographs in general.

`training/photographs.py` makes the sheet that holds them, and names their sources.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHEET = Path(__file__).with_name("photographs.webp")
SIDE = 224
COLUMNS, ROWS = 4, 6
COUNT = COLUMNS * ROWS


def photographs(count: int, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Return uint8 (count, height, width, channels). count: at most `COUNT`; fewer show as many
    different subjects as possible. channels: 1 for grey, 3 for RGB, 4 for RGB that is opaque."""
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    pixels = np.empty((count, height, width, channels), np.uint8)
    for number in range(count):
        column, row = number // ROWS, number % ROWS
        left, top = column * SIDE, row * SIDE
        square = _sheet().crop((left, top, left + SIDE, top + SIDE))
        small = square.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        pixels[number] = np.asarray(small.convert(mode)).reshape(height, width, channels)
    return pixels


@cache
def _sheet() -> Any:
    with Image.open(SHEET) as image:
        return image.convert("RGB")
