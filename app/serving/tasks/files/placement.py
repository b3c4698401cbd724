"""Where a picture lies in the input of a model, so that places in the input become places in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.serving.tasks.files.strips import Box


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in the input of a model.

    size: (width, height) of the picture, upright. part: what of it the input shows, in its pixels:
    left, top, right, bottom. fed: (width, height) of the input. area: where that part lies in the
    input, in its pixels.
    """

    size: tuple[int, int]
    part: Box
    fed: tuple[int, int]
    area: Box

    def in_picture(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return corners of boxes in pixels of the picture, within it. corners: (n, 4) of left,
        top, right, bottom in pixels of the input."""
        left, top, right, bottom = self.part
        x, y, x_end, y_end = self.area
        scale = np.array([(right - left) / (x_end - x), (bottom - top) / (y_end - y)] * 2)
        moved = (corners - np.array([x, y] * 2)) * scale + np.array([left, top] * 2)
        within: NDArray[np.float64] = moved.clip(0, np.array(self.size * 2, np.float64))
        return within


def reduced(size: tuple[float, float], most: int) -> tuple[int, int]:
    """Return the size of a picture whose longer side is `most` at the most, in its proportions."""
    scale = min(1.0, most / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
