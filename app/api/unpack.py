"""Bodies with a Content-Encoding (RFC 9110, section 8.4.1)."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from app.errors import BadRequest

CODINGS = ("gzip", "x-gzip", "deflate")
# gzip consists of any number of parts. Files written in blocks have one each 64 kB; parts of
# nothing would cost a server far more than the client.
MAX_MEMBERS = 10_000
# Bytes that go in and come out at once. What is not taken of them zlib copies, so a part begins
# with few.
FIRST, INPUT, OUTPUT = 512, 64 * 1024, 1024 * 1024
# Tells the two apart by their first bytes.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


def unpacked(data: bytes, coding: str, limit: int, check: Callable[[], None]) -> bytes:
    """Decompress `data`, at most `limit` bytes of it. For a native thread: it may take a while.

    check: called between slices; what it raises ends the work. Raises BadRequest for data that is
    not what `coding` says.
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
