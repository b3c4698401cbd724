"""Bodies with a Content-Encoding (RFC 9110, section 8.4.1)."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from app.errors import BadRequest

CODINGS = ("gzip", "x-gzip", "deflate")
# A gzip stream has any number of members. Files written in blocks have one for each 64 kB; empty
# members would cost the server far more than the client.
MAX_MEMBERS = 10_000
# Bytes of input and output per call. zlib copies the input that it does not use, so a member begins
# with little.
FIRST, INPUT, OUTPUT = 512, 64 * 1024, 1024 * 1024
# Detects the format by the first bytes.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


def decompress(data: bytes, coding: str, limit: int, check: Callable[[], None]) -> bytes:
    """Decompress `data` to at most `limit` bytes. For a native thread: it may take a while.

    check: called between slices; what it raises ends the work. Raises BadRequest if the data is not
    in `coding`.
    """
    view = memoryview(data)
    parts: list[bytes] = []
    position = size = members = 0
    try:
        while position < len(view) and size < limit:
            members += 1
            if members > MAX_MEMBERS:
                raise BadRequest(
                    f"the {coding} data of the body has more than {MAX_MEMBERS} parts, the limit "
                    "of this server: compress it in one"
                )
            stream = zlib.decompressobj(_GZIP_OR_ZLIB)
            window = FIRST
            while not stream.eof and size < limit:
                check()
                piece = view[position : position + window]
                part = stream.decompress(piece, min(OUTPUT, limit - size))
                if not piece and not part and not stream.eof:
                    raise BadRequest(f"the body ends before its {coding} data does")
                left = len(stream.unused_data if stream.eof else stream.unconsumed_tail)
                position += len(piece) - left
                window = min(2 * window, INPUT)
                parts.append(part)
                size += len(part)
    except zlib.error:
        raise BadRequest(f"the body is not {coding} as its Content-Encoding says") from None
    return b"".join(parts)
