"""Checks of AVIF files that Pillow and libavif leave open.

An AVIF is boxes (ISO/IEC 14496-12) that say of which items it is made (ISO/IEC 23008-12), and
where each lies; the items are AV1 (AV1 Bitstream & Decoding Process Specification, section 5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

BRANDS = frozenset({b"avif", b"avis"})
# Of HEIC, and of HEIF in general (ISO/IEC 23008-12, annex B).
HEIC_BRANDS = frozenset(
    (*(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), b"mif1", b"msf1")
)
# libavif looks for an item among all others each time: many would take it minutes, while Pillow
# holds the interpreter's lock. A picture of 100 tiles needs 6 kB.
MAX_STRUCTURE = 16_384
MAX_BOXES = 1000
# Of an item. Each is decoded, although one is shown, and takes a few bytes where it shows nothing
# new. A picture in layers has four.
MAX_FRAMES = 8
# The parts of all items: of AV1 (each frame may have many), and of the file.
MAX_OBUS = 20_000
MAX_EXTENTS = 4_000
# How much larger than its share of the picture a tile may be: the last ones reach out of it.
TILE_SLACK = 4
# Bytes of brands; files have ten of four.
_FTYP = 256
# What libavif reads of `meta`; all but the pictures themselves and colour profiles.
_READ = frozenset({b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp", b"grpl", b"dinf"})
# Others are derived from pictures in ways that cost more than the picture has pixels.
_ITEMS = frozenset({b"av01", b"grid", b"Exif", b"mime", b"uri ", b"tmap"})
# OBU types (section 6.2.2): a frame header, a frame, a redundant frame header.
_FRAMES = frozenset({3, 6, 7})


def brands(head: bytes) -> frozenset[bytes]:
    """Return the brands in the first bytes of a file; none where it is of another kind."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), _FTYP)
    return frozenset(head[at : at + 4] for at in (8, *range(16, end - 3, 4)))


class Still(BytesIO):
    """An AVIF as a still picture: of an animation, the one that it shows where nothing moves.

    tiles: of which it is made. frames: of the tile that has the most. Raises ValueError or
    struct.error where it is damaged or unreasonable.
    """

    def __init__(self, data: bytes) -> None:
        boxes: dict[bytes, tuple[int, int]] = {}
        for kind, place in _boxes(data, 0, len(data)):
            boxes[kind] = place
            if kind == b"meta":  # libavif reads no further
                break
        else:
            raise ValueError("no still picture in it")
        start, end = boxes[b"ftyp"]
        if end - start > _FTYP:
            raise ValueError("more brands than a picture has")
        start, end = boxes[b"meta"]
        meta = dict(_boxes(data, start + 4, end))
        _check_structure(data, meta)
        types = dict(_item_types(data, *meta.get(b"iinf", (0, 0))))
        if others := {*types.values()} - _ITEMS:
            raise ValueError(f"it has items of the type {min(others)!r}")
        items = _items(data, meta)
        self.frames = _most_frames([items[i] for i in items if types.get(i) == b"av01"])
        self.tiles = _tiles(items, types)
        super().__init__(_without_motion(data, boxes))

    def most_pixels(self, pixels: int) -> int:
        """Return the most pixels of a tile of a picture of so many."""
        return pixels if self.tiles == 1 else TILE_SLACK * -(-pixels // self.tiles)


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """The type of each box between two positions, each type once, and where its content lies."""
    seen = set()
    count = 0
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head or start + size > end:
            raise ValueError("a box is longer than what holds it")
        count += 1
        if count > MAX_BOXES:
            raise ValueError(f"more than {MAX_BOXES} boxes in one")
        if kind in (b"meta", b"moov", b"ftyp", *_READ, b"idat") and kind in seen:
            raise ValueError(f"a second box {kind!r}")
        seen.add(kind)
        yield kind, (start + head, start + size)
        start += size


def _check_structure(data: bytes, meta: dict[bytes, tuple[int, int]]) -> None:
    size = sum(end - start for kind, (start, end) in meta.items() if kind in _READ)
    for kind, (start, end) in _boxes(data, *meta.get(b"iprp", (0, 0))):
        if kind == b"ipco":
            size -= sum(e - s for k, (s, e) in _boxes(data, start, end) if k == b"colr")
    if size > MAX_STRUCTURE:
        raise ValueError(f"{size:,} bytes of structure, expected at most {MAX_STRUCTURE:,}")


def _item_types(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    if not start:
        return
    start += 6 if data[start] == 0 else 8
    while start < end:
        size, kind, version = struct.unpack_from(">I4sB", data, start)
        if size < 8 or kind != b"infe" or version not in (2, 3):
            raise ValueError("the list of its items is damaged")
        layout = ">H2x4s" if version == 2 else ">I2x4s"
        item, name = struct.unpack_from(layout, data, start + 12)
        yield item, name
        start += size


def _items(data: bytes, meta: dict[bytes, tuple[int, int]]) -> dict[int, bytes]:
    """The content of each item."""
    idat, idat_end = meta.get(b"idat", (0, 0))
    found: dict[int, bytes] = {}
    left = len(data)
    for item, in_idat, extents in _locations(data, *meta.get(b"iloc", (0, 0))):
        base, limit = (idat, idat_end) if in_idat else (0, len(data))
        parts = [found.get(item, b"")]
        for offset, length in extents:
            start = base + offset
            part = data[start : min(start + length, limit) if length else limit]
            left -= len(part)
            if left < 0:
                raise ValueError("its items are larger than the file")
            parts.append(part)
        found[item] = b"".join(parts)
    return found


def _locations(
    data: bytes, start: int, end: int
) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Of each item whether it lies in `idat`, and where."""
    at = start

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > end:
            raise ValueError("the places of its items are damaged")
        return int.from_bytes(data[at - size : at], "big")

    if not start:
        return
    left = MAX_EXTENTS
    version = number(4) >> 24
    sizes = number(2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    for _ in range(number(wide)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        if method > 1:
            raise ValueError("an item lies in another")
        number(2)
        first = number(base)
        extents = []
        count = number(2)
        left -= count
        if left < 0:
            raise ValueError("its items are in too many parts")
        for _ in range(count):
            number(index if version else 0)
            extents.append((first + number(offset), number(length)))
        yield item, method == 1, extents


def _most_frames(items: list[bytes]) -> int:
    """The frames that an AV1 decoder may find in the item that has the most."""
    most = obus = 0
    for data in items:
        frames = 0
        for kind in _obus(data):
            frames += kind in _FRAMES
            obus += 1
            if frames > MAX_FRAMES or obus > MAX_OBUS:
                what = "frames" if frames > MAX_FRAMES else "parts"
                raise ValueError(f"more {what} than a picture has")
        most = max(most, frames)
    return most


def _obus(data: bytes) -> Iterator[int]:
    """The type of each OBU of an item (sections 5.3.2 and 4.10.5)."""
    at = 0
    while at < len(data):
        header = data[at]
        yield header >> 3 & 15
        at += 2 if header & 4 else 1
        if not header & 2:
            break
        size = shift = 0
        while True:
            byte = data[at] if at < len(data) else 0
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if not byte & 128 or shift > 56:
                break
        at += size


def _tiles(items: dict[int, bytes], types: dict[int, bytes]) -> int:
    """The tiles of the picture; 1 where it is no grid."""
    grids = {items.get(item, b"")[2:4] for item, kind in types.items() if kind == b"grid"}
    if len(grids) > 1:
        raise ValueError("its grids differ")
    shape = grids.pop() if grids else b"\0\0"
    if len(shape) < 2:
        raise ValueError("its grid is damaged")
    return (shape[0] + 1) * (shape[1] + 1)


def _without_motion(data: bytes, boxes: dict[bytes, tuple[int, int]]) -> bytes:
    """The file as one that has no tracks, which libavif takes long to read where they are long, and
    no other form of `meta`."""
    still = bytearray(data)
    start, end = boxes[b"ftyp"]
    still[start : start + 4] = b"avif"
    for at in range(start + 8, end - 3, 4):
        if bytes(still[at : at + 4]) in (b"avis", b"mif3"):
            still[at : at + 4] = b"avif"
    if b"moov" in boxes:
        start, _ = boxes[b"moov"]
        at = still.rindex(b"moov", 0, start)
        still[at : at + 4] = b"free"
    return bytes(still)
