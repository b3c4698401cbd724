"""Where a picture lies in the input of a model, so that places in the input become places in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.serving.arrays import Array
from app.serving.signature import Grid
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

    @property
    def box(self) -> dict[str, float]:
        """`part`, as answers say it."""
        return dict(zip(("xmin", "ymin", "xmax", "ymax"), self.part, strict=True))

    @property
    def whole(self) -> bool:
        """Whether `part` is all of the picture."""
        return tuple(map(round, self.part)) == (0, 0, *self.size)

    def cut(self, area: Box) -> Placement | None:
        """Return the placement of what lies in `area` of the input; None where that is nothing."""
        left, top = map(max, self.area[:2], area[:2])
        right, bottom = map(min, self.area[2:], area[2:])
        if left >= right or top >= bottom:
            return None
        found = (left, top, right, bottom)
        if found == self.area:
            return self
        corners = self.in_picture(np.array(found, np.float64))
        x, y, x_end, y_end = map(float, corners)
        return replace(self, part=(x, y, x_end, y_end), area=found)


def covered(row: Array, fed: tuple[int, int], grid: Grid | None) -> Box:
    """Return what of an input the pixels of an output show, in pixels of the input: all of it, but
    where these leave out a border, or reach beyond it.

    row: of the output, (height, width, …). fed: (width, height) of the input.
    """
    height, width = fed[1], fed[0]
    if grid is None:
        return 0, 0, width, height
    sizes = [step * count for step, count in zip(grid.step, row.shape[:2], strict=True)]
    if all(abs(a - b) < min(grid.step) for a, b in zip(sizes, (height, width), strict=True)):
        return 0, 0, width, height
    top, left = (first + 0.5 - step / 2 for first, step in zip(grid.first, grid.step, strict=True))
    return left, top, left + sizes[1], top + sizes[0]


def reduced(size: tuple[float, float], most: int) -> tuple[int, int]:
    """Return the size of a picture whose longer side is `most` at the most, in its proportions."""
    scale = min(1.0, most / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
