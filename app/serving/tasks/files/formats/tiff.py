"""Checks of TIFF files that Pillow and libtiff leave open."""

from __future__ import annotations

import ctypes
import struct
from contextlib import suppress
from typing import BinaryIO

from PIL import _imaging

TILE_WIDTH, TILE_LENGTH = 322, 323
# Field types of TIFF 6.0 (and BigTIFF) that hold one unsigned number, as `struct` writes them.
NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
# More than any camera or scanner writes.
MAX_ENTRIES = 4096


def silence_libtiff() -> None:
    """libtiff writes every flaw of a file to stderr, up to one line a row of pixels: a client could
    fill the disk with our log. Pillow has no switch for that, libtiff has."""
    with suppress(OSError, AttributeError):  # a Pillow without libtiff, or with it built in
        libtiff = ctypes.CDLL(_imaging.__file__)
        libtiff.TIFFSetErrorHandler(None)
        libtiff.TIFFSetWarningHandler(None)


def tile_pixels(file: BinaryIO) -> int:
    """The pixels of one tile of the first picture in a TIFF, 0 where it is not tiled.

    libtiff unpacks a tile as a whole, however small the picture itself: 1.5 MB can hold a tile of
    1.6 GB. Reads the tags itself, because for a duplicate tag Pillow uses the last and libtiff the
    first. Raises ValueError or struct.error on a damaged file; leaves the file's position alone.
    """
    position = file.tell()
    try:
        return _tile_pixels(file)
    finally:
        file.seek(position)


def _tile_pixels(file: BinaryIO) -> int:
    def take(layout: str) -> tuple[int, ...]:
        layout = order + layout
        return struct.unpack(layout, file.read(struct.calcsize(layout)))

    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    big = take("H") == (43,)
    (start,) = take("4xQ") if big else take("I")
    file.seek(start)
    (count,) = take("Q") if big else take("H")
    if count > MAX_ENTRIES:
        raise ValueError(f"the TIFF has {count} tags")
    sides = {TILE_WIDTH: 0, TILE_LENGTH: 0}
    for _ in range(count):
        tag, kind, values = take("HHQ" if big else "HHI")
        value = file.read(8 if big else 4)
        if tag not in sides:
            continue
        if values != 1 or kind not in NUMBERS or struct.calcsize(NUMBERS[kind]) > len(value):
            raise ValueError("the TIFF's tile size is not a number")
        sides[tag] = max(sides[tag], struct.unpack_from(order + NUMBERS[kind], value)[0])
    return sides[TILE_WIDTH] * sides[TILE_LENGTH]
