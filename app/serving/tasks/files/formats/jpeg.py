"""Checks of JPEG files that Pillow and libjpeg leave open."""

from __future__ import annotations

from typing import Any, BinaryIO

# Encoders write about ten; each passes over all of the picture, however few bytes it has.
USUAL_SCANS = 16
MAX_SCANS = 64
_CHUNK = 1 << 20
_START_OF_SCAN = b"\xff\xda"


def scan_count(file: BinaryIO) -> int:
    """Count the scans that follow the headers of a JPEG, at most: whatever looks like the start of
    one counts, pictures behind the first included."""
    file.seek(0)
    chunk = file.read(_CHUNK)
    chunk = chunk[_first_scan(chunk) :]
    count, last = 0, b""
    while chunk:
        count += (last + chunk).count(_START_OF_SCAN)
        last = chunk[-1:]
        chunk = file.read(_CHUNK)
    return count


def _first_scan(head: bytes) -> int:
    """Where the first scan begins; 0 where that is not found in `head`. The thumbnail that cameras
    put into the headers has scans of its own."""
    at = 2
    while head[at : at + 1] == b"\xff":
        if head[at : at + 2] == _START_OF_SCAN:
            return at
        # A marker may be preceded by any number of bytes 0xFF.
        filled = head[at + 1 : at + 2] == b"\xff"
        at += 1 if filled else 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0


def coefficient_bytes(layers: list[Any], pixels: int) -> int:
    """Return the bytes that libjpeg keeps of a picture of `pixels` pixels with several scans: all
    its coefficients, 16 bits each, whatever the scale it is decoded at.

    layers: Pillow's (id, horizontal sampling, vertical sampling, table) of each component.
    """
    sampled: list[int] = [across * down for _, across, down, *_ in layers]
    return 2 * pixels * sum(sampled) // max(1, *sampled, 1)
