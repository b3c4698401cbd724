"""Checks of GIF files that Pillow leaves open."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import BinaryIO

SIGNATURES = (b"GIF87a", b"GIF89a")
_EXTENSION, _FRAME = b"!", b","


def gif_size(file: BinaryIO) -> tuple[int, int]:
    """(width, height) of a GIF's first picture: the screen, or the frame where that is larger.

    While it opens a GIF, Pillow already fills as many pixels as the frame says: 100 bytes can ask
    for 4 GB. (0, 0) where no frame is found, as in a file that ends too early. GIF89a
    specification, sections 18 to 23.
    """
    with suppress(struct.error, IndexError):
        return _size(file)
    return 0, 0


def _size(file: BinaryIO) -> tuple[int, int]:
    file.seek(len(SIGNATURES[0]))
    width, height, flags = struct.unpack("<HHB2x", file.read(7))
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, 1)
    while (kind := file.read(1)) not in (b"", b";"):
        if kind == _EXTENSION:
            file.seek(1, 1)
            while length := file.read(1)[0]:
                file.seek(length, 1)
        elif kind == _FRAME:
            left, top, across, down = struct.unpack("<HHHH", file.read(8))
            return max(width, left + across), max(height, top + down)
    return 0, 0
