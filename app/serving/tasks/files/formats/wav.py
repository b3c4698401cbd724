"""WAV files (RIFF, RIFX and RF64): whether all of the data that the header states are there.

libsndfile takes a file that ends too early for a shorter one.
"""

from __future__ import annotations

import os
from typing import BinaryIO

MAGIC = (b"RIFF", b"RIFX", b"RF64")
# Programs that write to a pipe do not know the size, and state about the largest.
_UNKNOWN = 0x7FFF_0000
# Chunks before the data: more than any program writes.
_MAX_CHUNKS = 1000


def missing_bytes(file: BinaryIO) -> int | None:
    """Return how many bytes of the data are missing; None where all are there, or the header does
    not state how many there should be. file: at any position, which is lost."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    order = "big" if file.read(4) == b"RIFX" else "little"
    at = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:], order)  # type: ignore[arg-type]
        at += 8
        if head[:4] == b"data":
            missing = at + size - end
            return missing if missing > 0 and size < _UNKNOWN else None
        at += size + size % 2
    return None
