"""Ogg files (RFC 3533): whether their last page is whole.

libsndfile leaves out a page that is not.
"""

from __future__ import annotations

import os
from typing import BinaryIO

MAGIC = b"OggS"
# Bytes of a page: a header of 27, at most 255 segments, and 255 bytes in each.
_HEADER = 27
_MAX_PAGE = _HEADER + 255 + 255 * 255


def missing_bytes(file: BinaryIO) -> int | None:
    """Return how many bytes of the last page are missing, at least; None where it is whole. file:
    at any position, which is lost."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - _MAX_PAGE)
    file.seek(start)
    tail = file.read(_MAX_PAGE)
    at = tail.rfind(MAGIC)
    if at < 0:
        return None
    page = tail[at:]
    if len(page) < _HEADER:
        return _HEADER - len(page)
    segments = page[_HEADER - 1]
    sizes = page[_HEADER : _HEADER + segments]
    missing = _HEADER + segments + sum(sizes) - len(page)
    return missing if missing > 0 else None
