"""Pixels of any kind become RGB or grey of about the wanted size, block by block.

A decoded picture has one byte a pixel where it has a palette, and would have 16 on its way through
RGBA onto white. What is done here to a block at a time is, pixel by pixel, what Pillow does to the
whole picture. And Pillow keeps the interpreter's lock while it puts one picture onto another: for
64 million pixels, more than a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
FILTER = Image.Resampling.BILINEAR
# How much finer than needed `resize` may start from a cheap reduction; 2 is hard to tell from none.
REDUCING_GAP = 2.0
# Pixels of a block: some megabytes on the way, milliseconds of the interpreter's lock.
BLOCK = 1 << 18
WORST_BYTES = 16  # a pixel of a block: as it was, as RGBA, white, and both together


def is_plain(image: Image.Image, mode: str) -> bool:
    """Tell whether the pixels are of `mode` as they are."""
    return image.mode == mode and not image.has_transparency_data


def factors(box: Box, target: tuple[int, int]) -> tuple[int, int]:
    """Return how many columns and rows become one before the rest is resized, as in
    `Image.resize`."""
    across = (box[2] - box[0]) / target[0] / REDUCING_GAP
    down = (box[3] - box[1]) / target[1] / REDUCING_GAP
    return int(across) or 1, int(down) or 1


def shrink(
    image: Image.Image, box: Box, target: tuple[int, int], mode: str, check: Callable[[], None]
) -> tuple[Image.Image, Box]:
    """Return what `resize` needs to make `target` of `box`, in `mode` (RGBA, or RGB or L on white),
    reduced by `factors`; and where in it the box is.

    check: called between blocks; what it raises ends the work.
    """
    plain = _plain(image, mode, check)
    across, down = factors(box, target)
    left, top, right, bottom = _margin(box, target, image.size)
    small = Image.new(mode, (math.ceil((right - left) / across), math.ceil((bottom - top) / down)))
    for part in _blocks((left, top, right, bottom), across, down):
        check()
        block = plain(image.crop(part))
        if (across, down) != (1, 1):
            block = block.reduce((across, down))
        small.paste(block, ((part[0] - left) // across, (part[1] - top) // down))
    return small, (
        (box[0] - left) / across,
        (box[1] - top) / down,
        (box[2] - left) / across,
        (box[3] - top) / down,
    )


def _margin(box: Box, target: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels that the filter reads for `box`: half of an output pixel more on each side."""
    across = (box[2] - box[0]) / target[0] / 2
    down = (box[3] - box[1]) / target[1] / 2
    return (
        max(0, int(box[0] - across)),
        max(0, int(box[1] - down)),
        min(size[0], math.ceil(box[2] + across)),
        min(size[1], math.ceil(box[3] + down)),
    )


def _blocks(
    box: tuple[int, int, int, int], across: int, down: int
) -> Iterator[tuple[int, int, int, int]]:
    """Parts of `box` whose sides are multiples of the factors, but for the last."""
    left, top, right, bottom = box
    width = min(right - left, max(1, BLOCK // down // across) * across)
    height = max(1, BLOCK // width // down) * down
    for y in range(top, bottom, height):
        for x in range(left, right, width):
            yield x, y, min(x + width, right), min(y + height, bottom)


def _plain(
    image: Image.Image, mode: str, check: Callable[[], None]
) -> Callable[[Image.Image], Image.Image]:
    """What makes `mode` of a block of `image`, whatever was in the file: palette, alpha, CMYK, 16
    and 32 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        scale = _eight_bits(image, check)
        return lambda block: _flat(scale(block), mode)
    if image.mode == "P" and image.has_transparency_data and mode != "RGBA":
        _flatten_palette(image)
        # By way of RGB: Pillow rounds a palette's grey in another way.
        return lambda block: _flat(block.convert("RGB"), mode)
    return lambda block: _flat(block, mode)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    if image.has_transparency_data and mode != "RGBA":
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _flatten_palette(image: Image.Image) -> None:
    """Put the colours of a palette onto white, instead of all pixels."""
    colours = image.crop((0, 0, 256, 1))
    colours.frombytes(bytes(range(256)))
    colours = _flat(colours, "RGB")
    image.info.pop("transparency", None)
    image.putpalette(colours.tobytes())


def _eight_bits(
    image: Image.Image, check: Callable[[], None]
) -> Callable[[Image.Image], Image.Image]:
    """What makes 8 bits of a block of grey of 16 or 32 bits or floating point; Pillow itself would
    only clip it. What the largest values of the picture are says what they mean."""
    mode = image.mode
    peak = 0.0
    if mode in ("F", "I"):
        for part in _blocks((0, 0, *image.size), 1, 1):
            check()
            peak = max(peak, _finite(image.crop(part)).max(initial=0))

    def scale(block: Image.Image) -> Image.Image:
        values = _finite(block)
        if mode == "F":
            values = np.clip(values, 0, 255)
            if peak <= 1:
                values *= 255
        elif mode == "I" and peak <= 255:
            values = np.clip(values, 0, 255)
        else:
            values = np.clip(values, 0, 65535) // 257
        return Image.fromarray(values.astype(np.uint8))

    return scale


def _finite(block: Image.Image) -> NDArray[Any]:
    """Its values, with 0 for NaN."""
    values: NDArray[Any] = np.asarray(block)
    return np.nan_to_num(values) if block.mode == "F" else values
