"""A picture file becomes pixels.

The kind of file is found by its content, never by its name, and only the formats listed here are
ever opened: Pillow's other readers are a wide surface that no classifier needs.
"""

from __future__ import annotations

import logging
import struct
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from app.serving.tasks.tiff import silence_libtiff, tile_pixels

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
FORMATS_TEXT = "JPEG, PNG, WebP, GIF, BMP or TIFF"
MEDIA_TYPES = tuple(f"image/{name.lower()}" for name in FORMATS)
ORIENTATION_TAG = 0x0112
# How a picture of each EXIF orientation is set upright (Exif 2.32, tag Orientation).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those that lay the picture on its side.
SIDEWAYS = frozenset({5, 6, 7, 8})
FILTER = Image.Resampling.BILINEAR
# How much finer than needed `resize` may start from a cheap reduction; 2 is hard to tell from none.
REDUCING_GAP = 2.0

# Our own check, on our own setting, comes before any pixel is read.
Image.MAX_IMAGE_PIXELS = None
# The flaws of a client's file are told to the client, not to whoever runs the server.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
silence_libtiff()


class UnreadablePicture(ValueError):
    """The file is not a picture that can be read; `problem` and `expected` say why."""

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.expected = expected


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """The pixels that a model wants. size: (height, width); mode: Pillow's RGB or L."""

    size: tuple[int, int]
    mode: Literal["RGB", "L"]
    resize: Literal["stretch", "crop", "pad"]
    max_pixels: int

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for grey."""
        return 3 if self.mode == "RGB" else 1


def decode(file: BinaryIO, spec: PictureSpec) -> NDArray[np.uint8]:
    """The picture as uint8 (height, width, channels), upright, the first frame of an animation.

    A JPEG is decoded at the smallest of the scales 1, 1/2, 1/4, 1/8 that is still large enough.
    Transparent parts become white, as on a page. Raises UnreadablePicture. Thread-safe; releases
    the GIL while it decodes.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            _check_size(width * height, f"the picture has {width}x{height} pixels", spec)
            if image.format == "TIFF":
                pixels = tile_pixels(file)
                _check_size(pixels, f"the picture is made of tiles of {pixels:,} pixels", spec)
            return _pixels(image, spec)
    except UnreadablePicture:
        raise
    except UnidentifiedImageError:
        raise UnreadablePicture(
            "not a picture in a format that is read here", FORMATS_TEXT
        ) from None
    except MemoryError:
        raise UnreadablePicture(
            "the picture needs more memory than there is", "a smaller picture"
        ) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        OverflowError,
        AssertionError,  # a PNG of palette colours without a palette
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        # What Pillow's readers raise on damaged files; its messages name no path of ours.
        reason = str(error) or type(error).__name__
        raise UnreadablePicture(f"the picture is damaged: {reason}", "an intact file") from None


def _check_size(pixels: int, problem: str, spec: PictureSpec) -> None:
    if pixels > spec.max_pixels:
        raise UnreadablePicture(
            problem, f"at most {spec.max_pixels:,} pixels (KERAPORT_MAX_PIXELS)"
        )


def _pixels(image: Image.Image, spec: PictureSpec) -> NDArray[np.uint8]:
    orientation = _orientation(image)
    height, width = spec.size
    # Resizing first and turning the small picture afterwards is the cheaper order.
    target = (height, width) if orientation in SIDEWAYS else (width, height)
    # What of the decoded pixels is picture: a JPEG at 1/8 of 1203 pixels has 151 of which 150.375
    # count. None: all.
    extent = None
    if image.format in ("JPEG", "MPO"):
        drafted = image.draft(spec.mode, _least_size(image.size, target, spec.resize))
        extent = drafted[1][2:] if drafted else None
    image = _plain(image, spec.mode)
    image = _fitted(image, extent or image.size, target, spec.resize)
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    if image.size != (width, height):
        image = _padded(image, (width, height))
    return np.asarray(image, np.uint8).reshape(height, width, spec.channels)


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow sets these upright itself
        return 1
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # broken metadata says nothing about the pixels
        return 1


def _least_size(size: tuple[float, float], target: tuple[int, int], how: str) -> tuple[int, int]:
    """The size that the whole picture needs for `target` to lose nothing."""
    if how == "stretch":
        return target
    ratios = (target[0] / size[0], target[1] / size[1])
    scale = max(ratios) if how == "crop" else min(ratios)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """RGB or grey, whatever was in the file: palette, alpha, CMYK, 16 and 32 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floating point as 8 bits; Pillow itself would only clip it."""
    values: NDArray[Any] = np.asarray(image)
    if image.mode == "F":
        values = np.clip(np.nan_to_num(values), 0, 255)
        if values.max(initial=0) <= 1:
            values *= 255
    elif image.mode == "I" and values.max(initial=0) <= 255:
        values = np.clip(values, 0, 255)
    else:
        values = np.clip(values, 0, 65535) // 257
    return Image.fromarray(values.astype(np.uint8))


def _fitted(
    image: Image.Image, extent: tuple[float, float], target: tuple[int, int], how: str
) -> Image.Image:
    """The first `extent` of the picture at the size of `target`; to be padded, within it."""
    if image.size == target == extent:
        return image
    across, down = extent
    box = (0.0, 0.0, across, down)
    if how == "pad":
        target = _least_size(extent, target, how)
    elif how == "crop":
        scale = min(across / target[0], down / target[1])
        # Rounding may put the box a hair outside, which Pillow refuses.
        left = max(0.0, (across - target[0] * scale) / 2)
        top = max(0.0, (down - target[1] * scale) / 2)
        box = (left, top, across - left, down - top)
    return image.resize(target, FILTER, box=box, reducing_gap=REDUCING_GAP)


def _padded(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in the middle of a black one of `size`."""
    canvas = Image.new(image.mode, size)
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas
