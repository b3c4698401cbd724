"""What a model wants of a picture, and what decoding it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """The pixels that a model wants. size: (height, width); None for the picture's own, reduced
    where its longer side exceeds `max_side`, and extended by its mirror image to sides that are
    multiples of `multiple`. mode: of Pillow."""

    size: tuple[int, int] | None
    mode: Literal["RGB", "RGBA", "L"]
    resize: Literal["stretch", "crop", "pad"]
    max_pixels: int
    max_side: int = 0
    multiple: int = 1

    @property
    def channels(self) -> int:
        """3 for RGB, 4 for RGBA, 1 for grey."""
        return {"RGB": 3, "RGBA": 4, "L": 1}[self.mode]


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """The cost of decoding a picture. pixels: that go through the decoder, or stand for its work.
    memory: bytes, at the most. fed: pixels that the model is fed with."""

    pixels: int
    memory: int
    fed: int
