"""What Pillow and libjpeg leave open about JPEG files."""

from __future__ import annotations

from typing import Any, BinaryIO

# Encoders write about ten; each passes over all of the picture, however few bytes it has.
MAX_SCANS = 100
_CHUNK = 1 << 20
_START_OF_SCAN = b"\xff\xda"


def scan_count(file: BinaryIO) -> int:
    """How many scans follow the headers of a JPEG, at most: whatever looks like the start of one
    counts, pictures behind the first included."""
    file.seek(_first_scan(file))
    count, last = 0, b""
    while chunk := file.read(_CHUNK):
        count += (last + chunk).count(_START_OF_SCAN)
        last = chunk[-1:]
    return count


def _first_scan(file: BinaryIO) -> int:
    """Where the first scan begins; the start of the file where the headers are damaged. The
    thumbnail that cameras put into the headers has scans of its own."""
    at = 2
    while True:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return 0
        if head[:2] == _START_OF_SCAN:
            return at
        # A marker may be preceded by any number of bytes 0xFF.
        at += 1 if head[1] == 0xFF else 2 + int.from_bytes(head[2:], "big")


def coefficient_bytes(layers: list[Any], pixels: int) -> int:
    """What libjpeg keeps of a picture of so many pixels with several scans: all of its
    coefficients, 16 bits each, whatever the scale it is decoded at.

    layers: Pillow's (id, horizontal sampling, vertical sampling, table) of each component.
    """
    sampled: list[int] = [across * down for _, across, down, *_ in layers]
    return 2 * pixels * sum(sampled) // max(1, *sampled, 1)
