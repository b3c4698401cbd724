"""A picture file becomes pixels.

The kind of file is found by its content, never by its name, and only the formats listed here are
ever opened: Pillow's other readers are a wide surface that no classifier needs.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from app.errors import OverLimit
from app.serving.tasks.files.file_kinds import UnreadableFile
from app.serving.tasks.files.formats import avif, libavif, webp
from app.serving.tasks.files.formats.gif import SIGNATURES, gif_size
from app.serving.tasks.files.formats.jpeg import (
    MAX_SCANS,
    USUAL_SCANS,
    coefficient_bytes,
    scan_count,
)
from app.serving.tasks.files.formats.tiff import silence_libtiff, tile_pixels
from app.serving.tasks.files.picture_spec import DecodeCost as DecodeCost
from app.serving.tasks.files.picture_spec import PictureSpec as PictureSpec
from app.serving.tasks.files.placement import Placement, reduced
from app.serving.tasks.files.strips import (
    BLOCK,
    FILTER,
    REDUCING_GAP,
    WORST_BYTES,
    Box,
    factors,
    is_plain,
    shrink,
)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
FORMATS_TEXT = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
NOT_A_PICTURE = "not a picture in a supported format"
HEIC = "HEIC, the format in which iPhones save photos, is not supported"
HEIC_ADVICE = (
    f"{FORMATS_TEXT}: convert the photo, or choose Most Compatible under Settings > Camera > "
    "Formats on the phone"
)
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
# Bytes of a pixel as Pillow keeps it, where they are not four.
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
# The most that a pixel takes while it is decoded, in an animated WebP: two canvases of libwebp, a
# copy, and the picture.
MOST_BYTES = 16
# Pillow unpacks the runs of a BMP in Python: so many times as long as others take.
RUNS_COST = 16
# What is read of a file at once: zlib makes a thousand times as much of it, and between two pieces
# the work can end.
PIECE = 4096

# Our own check, on our own setting, comes before any pixel is read.
Image.MAX_IMAGE_PIXELS = None
# Warnings about a file concern the client that sent it, not the operator of the server.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
silence_libtiff()


class UnreadablePicture(UnreadableFile):
    """The file is not a picture that can be read; `problem` and `expected` say why."""


class TooManyPixels(UnreadablePicture, OverLimit):
    """The picture is larger than this server's settings allow."""


def never() -> None:
    """The `check` of work that nothing ends."""


def decode(
    file: BinaryIO, spec: PictureSpec, check: Callable[[], None] = never
) -> NDArray[np.uint8]:
    """The picture as uint8 (height, width, channels), upright, the first frame of an animation.

    A JPEG is decoded at the smallest of the scales 1, 1/2, 1/4, 1/8 that is still large enough.
    Transparent parts become white, as on a page, unless the mode is RGBA. check: called again and
    again meanwhile; what it raises ends the work. Raises UnreadablePicture. Thread-safe; releases
    the GIL while it decodes.
    """
    with opened(file, spec, check) as picture:
        return picture.decode()


@contextmanager
def opened(
    file: BinaryIO, spec: PictureSpec, check: Callable[[], None] = never
) -> Iterator[Picture]:
    """The picture in a file, of which only the headers are read. Raises UnreadablePicture, within
    the block as well. check: as for `decode`."""
    file.seek(0)
    source = cast(BinaryIO, _Source(file, check))
    try:
        if source.read(len(SIGNATURES[0])) in SIGNATURES:
            _check_size(gif_size(source), spec)
        source.seek(0)
        source, formats = _by_brand(source)
        with Image.open(source, formats=formats) as image:
            _check_size(image.size, spec)
            yield Picture(image, source, spec, check)
    except UnreadablePicture:
        raise
    except UnidentifiedImageError:
        raise UnreadablePicture(NOT_A_PICTURE, FORMATS_TEXT) from None
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
        RuntimeError,  # an AVIF that libavif does not take
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        # What Pillow's readers raise on damaged files; its messages name no path of ours.
        reason = str(error) or "it cannot be decoded"
        raise UnreadablePicture(f"the picture is damaged: {reason}", "an intact file") from None


def _by_brand(source: BinaryIO) -> tuple[BinaryIO, tuple[str, ...]]:
    """The file as it is to be opened, and the formats that it may have. Raises UnreadablePicture
    for HEIC, which has the same form as AVIF."""
    brands = avif.brands(source.read(256))
    source.seek(0)
    if brands & avif.BRANDS:
        return avif.Still(source.read()), ("AVIF",)
    if brands & avif.HEIC_BRANDS:
        raise UnreadablePicture(HEIC, HEIC_ADVICE)
    return source, FORMATS


class _Source:
    """A file as Pillow reads it: by `read` alone, never by its descriptor, which may belong to
    another file by the time that the work notices its end. Each `read` asks `check`."""

    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        self._file = file
        self._check = check
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._file.read(size)


def _check_size(size: tuple[int, int], spec: PictureSpec) -> None:
    width, height = size
    _check_pixels(width * height, f"the picture has {width}x{height} pixels", spec)


def _check_pixels(pixels: int, problem: str, spec: PictureSpec) -> None:
    if pixels > spec.max_pixels:
        raise TooManyPixels(problem, f"at most {spec.max_pixels:,} pixels (KERAPORT_MAX_PIXELS)")


class Picture:
    """A picture whose headers have been read: `opened` gives it. placement: where it lies in what
    `decode` has returned."""

    placement: Placement

    def __init__(
        self, image: Image.Image, file: BinaryIO, spec: PictureSpec, check: Callable[[], None]
    ) -> None:
        self._image = image
        self._file = file
        self._spec = spec
        self._check = check
        # What besides its pixels takes memory and time.
        self._more_bytes = self._least_pixels = 0
        # A JPEG that is reduced while it is decoded becomes smaller.
        self._size = image.size
        # Resizing first and turning the small picture afterwards is the cheaper order.
        self._target = self._wanted(sideways=False)
        # What of the decoded pixels is picture: a JPEG at 1/8 of 1203 pixels has 151 of which
        # 150.375 count. None: all.
        self._extent: tuple[float, float] | None = None
        if image.format in ("JPEG", "MPO"):
            self._open_jpeg()
        else:
            # One that Pillow has opened as a JPEG reads on by itself.
            image.decodermaxblock = PIECE  # type: ignore[attr-defined]
        if image.format == "TIFF":
            self._open_tiff()
        elif image.format == "BMP":
            self._open_bmp()
        elif isinstance(file, avif.Still):
            self._least_pixels = file.frames * image.width * image.height
        elif image.format == "GIF":
            self._more_bytes = image.width * image.height  # filled, for what comes after the frame

    def _open_jpeg(self) -> None:
        image, file = self._image, self._file
        self._target = self._wanted(sideways=_orientation(image) in SIDEWAYS)
        pixels = image.width * image.height
        position = file.tell()
        scans = scan_count(file)
        file.seek(position)
        if scans > MAX_SCANS:
            raise UnreadablePicture(f"the JPEG has {scans} scans", f"at most {MAX_SCANS}")
        # Every pixel is unpacked, however small it comes out.
        self._least_pixels = pixels // 8
        if scans > 1:
            self._least_pixels = pixels * max(1, scans // USUAL_SCANS)
            self._more_bytes = coefficient_bytes(image.layer, pixels)  # type: ignore[attr-defined]
            # A scan of all of the picture may take 70 bytes.
            image.decodermaxblock = PIECE // 4  # type: ignore[attr-defined]
        least = _least_size(image.size, self._target, self._spec.resize)
        drafted = image.draft(self._spec.mode, least)
        self._extent = drafted[1][2:] if drafted else None

    def _open_tiff(self) -> None:
        pixels = tile_pixels(self._file)
        problem = f"the picture is made of tiles of {pixels:,} pixels"
        _check_pixels(pixels, problem, self._spec)
        self._least_pixels = pixels
        # libtiff unpacks a tile or strip, which may be the whole, before Pillow takes its pixels.
        self._more_bytes = 4 * max(pixels, self._image.width * self._image.height)

    def _open_bmp(self) -> None:
        if self._image.tile[0][0] != "bmp_rle":  # type: ignore[attr-defined]
            return
        width, height = self._image.size
        most = self._spec.max_pixels // RUNS_COST
        if width * height > most:
            raise TooManyPixels(
                f"the picture has {width}x{height} pixels in runs",
                "a BMP without RLE, or "
                f"at most {most:,} pixels (KERAPORT_MAX_PIXELS / {RUNS_COST})",
            )
        self._least_pixels = RUNS_COST * width * height
        self._more_bytes = 2 * width * height

    @property
    def media_type(self) -> str:
        """The media type of the file."""
        # A JPEG of several pictures is one as well.
        format = "JPEG" if self._image.format == "MPO" else str(self._image.format)
        return f"image/{format.lower()}"

    @property
    def cost(self) -> DecodeCost:
        """The cost of decoding it."""
        image = self._image
        pixels = image.width * image.height
        box, target = self._region()
        across, down = factors(box, target)
        small = 4 * (pixels // (across * down) + target[0] * target[1])
        block = 0
        a_pixel = PIXEL_BYTES.get(image.mode, 4)
        if image.format == "WEBP":
            a_pixel = webp.PIXEL_BYTES if webp.is_still(image) else MOST_BYTES
        elif image.format == "AVIF":
            a_pixel = libavif.PIXEL_BYTES
        if image.format in ("WEBP", "AVIF") or not is_plain(image, self._spec.mode):
            block = WORST_BYTES * min(pixels, max(BLOCK, across * down))
        memory = a_pixel * pixels + self._more_bytes + small + block
        fed = target[0] * target[1]
        return DecodeCost(max(pixels, self._least_pixels, fed), memory, fed)

    def decode(self) -> NDArray[np.uint8]:
        """The pixels that the model wants, as `decode` gives them."""
        image = self._image
        orientation = _orientation(image)
        sideways = orientation in SIDEWAYS
        if webp.is_still(image):
            self._image = webp.still(image, self._file, PIECE)
        elif isinstance(self._file, avif.Still) and libavif.is_available():
            most = self._file.most_pixels(image.width * image.height)
            self._check()
            self._image = libavif.decode(image, self._file.getvalue(), most)
        else:
            image.load()
        if self._extent is None:
            self._size = self._image.size
        self._target = self._wanted(sideways=sideways)
        part = self._region()[0]
        image = self._fitted()
        if orientation in UPRIGHT:
            image = image.transpose(UPRIGHT[orientation])
        width, height = fed = self._target[::-1] if sideways else self._target
        self.placement = self._placed(part, image.size, fed, sideways=sideways)
        if image.size != fed:
            image = _padded(image, fed)
        pixels = np.asarray(image, np.uint8).reshape(height, width, self._spec.channels)
        return self._extended(pixels) if self._spec.size is None else pixels

    def _extended(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture in its own size with sides that the model takes."""
        multiple = self._spec.multiple
        more = [(0, -side % multiple) for side in pixels.shape[:2]]
        if more == [(0, 0), (0, 0)]:
            return pixels
        pixels = np.pad(pixels, [*more, (0, 0)], "symmetric")
        self.placement = replace(self.placement, fed=(pixels.shape[1], pixels.shape[0]))
        return pixels

    def _wanted(self, *, sideways: bool) -> tuple[int, int]:
        """The size that the model wants, as the picture lies in the file."""
        spec = self._spec
        if spec.size is None:
            return reduced(self._size, spec.max_side)
        return spec.size if sideways else spec.size[::-1]

    def _placed(
        self, part: Box, size: tuple[int, int], fed: tuple[int, int], *, sideways: bool
    ) -> Placement:
        """Where the picture lies in what the model is fed with. part: of the decoded pixels, as
        they lie in the file. size: of the picture at its place."""
        across, down = self._extent or self._image.size
        x, y = self._size[0] / across, self._size[1] / down
        left, top, right, bottom = part[0] * x, part[1] * y, part[2] * x, part[3] * y
        own = self._size
        if sideways:
            left, top, right, bottom, own = top, left, bottom, right, own[::-1]
        at = (fed[0] - size[0]) // 2, (fed[1] - size[1]) // 2
        area = (at[0], at[1], at[0] + size[0], at[1] + size[1])
        return Placement(own, (left, top, right, bottom), fed, area)

    def _fitted(self) -> Image.Image:
        """The picture at the size of `target`; to be padded, within it."""
        image, mode = self._image, self._spec.mode
        box, target = self._region()
        if not is_plain(image, mode):
            image, box = shrink(image, box, target, mode, self._check)
        if image.size == target and box == (0, 0, *target):
            return image
        return image.resize(target, FILTER, box=box, reducing_gap=REDUCING_GAP)

    def _region(self) -> tuple[Box, tuple[int, int]]:
        """The part of the picture that counts, and the size that it gets."""
        across, down = extent = self._extent or self._image.size
        target, how = self._target, self._spec.resize
        box = (0.0, 0.0, across, down)
        if how == "pad":
            target = _least_size(extent, target, how)
        elif how == "crop":
            scale = min(across / target[0], down / target[1])
            # Rounding may put the box a hair outside, which Pillow refuses.
            left = max(0.0, (across - target[0] * scale) / 2)
            top = max(0.0, (down - target[1] * scale) / 2)
            box = (left, top, across - left, down - top)
        return box, target


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


def _padded(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in the middle of a black one of `size`."""
    canvas = Image.new(image.mode, size)
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return canvas
