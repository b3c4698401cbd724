"""Non-maximum suppression: of boxes of one class that overlap, the best stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.thread_slices import checkpoint


def without_overlaps(
    boxes: NDArray[np.float64], classes: NDArray[np.int64], top: int, overlap: float | None
) -> list[int]:
    """Return the places of the first `top` boxes that overlap none before them of their class.

    boxes: (n, 4) of left, top, right, bottom, the best first. overlap: intersection over union that
    is too much; None for any.
    """
    if overlap is None:
        return [*range(min(top, len(boxes)))]
    boxes = boxes.clip(-1e9, 1e9)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.ones(len(boxes), bool)
    kept: list[int] = []
    for i in range(len(boxes)):
        if not left[i]:
            continue
        kept.append(i)
        if len(kept) == top:
            break
        rest = i + 1 + np.flatnonzero(left[i + 1 :] & (classes[i + 1 :] == classes[i]))
        width = np.minimum(boxes[i, 2], boxes[rest, 2]) - np.maximum(boxes[i, 0], boxes[rest, 0])
        height = np.minimum(boxes[i, 3], boxes[rest, 3]) - np.maximum(boxes[i, 1], boxes[rest, 1])
        shared = width.clip(0) * height.clip(0)
        left[rest[shared > overlap * (areas[i] + areas[rest] - shared)]] = False
        checkpoint()
    return kept
