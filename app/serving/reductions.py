"""What of an output is needed where it becomes a picture: bytes, an eighth or less of its numbers.

Both forms of a reduction, that of TensorFlow's graphs in `app.serving.engine.sessions.reduced` and
that of NumPy's arrays here, give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.serving.arrays import Array
from app.serving.signature import PixelRange, SignatureDef, TensorSpec

# What 0 and 1 of a scale become: value * factor + offset is a pixel of 0..255.
FACTORS: dict[PixelRange, tuple[float, float]] = {
    "none": (1.0, 0.0),
    "0..1": (255.0, 0.0),
    "-1..1": (127.5, 127.5),
}
# The most classes of a mask: numbers of a byte, one of which stands for none of them.
MOST_CLASSES = 255


@dataclass(frozen=True, slots=True)
class MaskReduction:
    """Each pixel becomes the number of its class: uint8 (rows, height, width).

    how: "highest": that of the highest channel. "second": of one channel, 1 from `threshold` on.
    "several": that of the highest channel, or `classes` where it is below `threshold`. "numbers":
    the numbers are classes themselves; those of none become `classes`.
    """

    how: Literal["highest", "second", "several", "numbers"]
    classes: int
    threshold: float = 0.5

    def shape(self, spec: TensorSpec) -> tuple[int | None, ...]:
        """Return the shape of the result for an output."""
        return (spec.shape or ())[:3]

    def numpy(self, array: Array) -> Array:
        """Reduce an array of the output."""
        if self.how == "numbers":
            numbers = array.reshape(array.shape[:3])
            known = (numbers >= 0) & (numbers < self.classes)
            return np.where(known, numbers, self.classes).astype(np.uint8)
        if self.how == "second":
            channel: Array = array.reshape(array.shape[:3])
            return (channel >= self.threshold).astype(np.uint8)
        highest: Array = array.argmax(axis=-1)
        if self.how == "several":
            highest = np.where(array.max(axis=-1) >= self.threshold, highest, self.classes)
        return highest.astype(np.uint8)


@dataclass(frozen=True, slots=True)
class PictureReduction:
    """Each number becomes a byte of a pixel, cut off at 0 and 255: uint8 of the output's shape."""

    scale: PixelRange

    def shape(self, spec: TensorSpec) -> tuple[int | None, ...]:
        """Return the shape of the result for an output."""
        return spec.shape or ()

    def numpy(self, array: Array) -> Array:
        """Reduce an array of the output."""
        factor, offset = FACTORS[self.scale]
        pixels = array.astype(np.float32) * np.float32(factor) + np.float32(offset)
        rounded: Array = np.rint(pixels).clip(0, 255).astype(np.uint8)
        return rounded


Reduction = MaskReduction | PictureReduction


def reduced_signature(signature: SignatureDef, reductions: Mapping[str, Reduction]) -> SignatureDef:
    """Return a copy whose outputs are what the reductions leave of them, by their names."""
    outputs = (
        replace(t, dtype="uint8", shape=reductions[t.name].shape(t)) if t.name in reductions else t
        for t in signature.outputs
    )
    return SignatureDef(signature.inputs, tuple(outputs), signature.method)
