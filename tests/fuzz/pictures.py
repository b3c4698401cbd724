"""Pictures of every format and mode, and the fields of their files that are worth changing."""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "AVIF": ("L", "RGB", "RGBA"),
}
# What may be in a field of a header.
_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    1000,
    8001,
    32767,
    65535,
    2**31 - 1,
    2**32 - 1,
)
_TIFF_COMPRESSIONS = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")


def image(seed: int, size: tuple[int, int] = (24, 18), mode: str = "RGB") -> Image.Image:
    """A picture with smooth content. At most 48 colours, so that a palette loses nothing."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    found = small.resize(size, Image.Resampling.NEAREST)
    if mode == "I;16":
        values = np.asarray(found.convert("L"), np.uint16) * 257
        return Image.fromarray(values)
    return found.convert("RGBA").convert(mode) if mode == "LA" else found.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The file of a picture."""
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue() if kind != "AVIF" else _without_times(out.getvalue())


def _without_times(avif: bytes) -> bytes:
    """An animation without the time at which it was written (ISO 14496-12, 8.2.2, 8.3.2, 8.4.2), so
    that the same seed makes the same file."""
    data = bytearray(avif)
    for box in re.finditer(b"mvhd|tkhd|mdhd", avif):
        times = 16 if avif[box.end()] == 1 else 8
        begin = box.end() + 4
        data[begin : begin + times] = bytes(times)
    return bytes(data)


def lossless(seed: int) -> dict[str, bytes]:
    """One picture as files that all hold the same pixels."""
    picture = image(seed)
    palette = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    files = {
        "PNG": encoded(picture, "PNG"),
        "BMP": encoded(picture, "BMP"),
        "TIFF": encoded(picture, "TIFF"),
        "TIFF-LZW": encoded(picture, "TIFF", compression="tiff_lzw"),
        "WEBP": encoded(picture, "WEBP", lossless=True),
    }
    if np.array_equal(np.asarray(palette.convert("RGB")), np.asarray(picture)):
        files["GIF"] = encoded(palette, "GIF")
        files["PNG-palette"] = encoded(palette, "PNG")
    return files


@cache
def flat_picture(mode: str, side: int, kind: str) -> bytes:
    """A square of one colour: many pixels in few bytes. Palettes have a transparent colour, which
    makes them the most expensive to convert."""
    if mode == "I;16":
        return encoded(Image.fromarray(np.zeros((side, side), np.uint16)), kind)
    picture = Image.new(mode, (side, side))
    if mode == "P":
        picture.putpalette([value for i in range(256) for value in (i, 255 - i, 7)])
        return encoded(picture, kind, transparency=bytes(range(256)) if kind == "PNG" else 3)
    return encoded(picture, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))


def any_picture(rng: random.Random) -> bytes:
    """A small one of any format and mode."""
    kind = rng.choice(FORMATS)
    mode = rng.choice(_MODES[kind])
    size = (rng.choice((1, 2, 8, 17, 64)), rng.choice((1, 3, 8, 33)))
    picture = image(rng.randrange(1000), size, mode)
    options: dict[str, object] = {}
    if kind == "TIFF":
        compression = rng.choice(_TIFF_COMPRESSIONS)
        fits = {"jpeg": ("L", "RGB", "CMYK"), "group4": ("1",)}.get(compression or "", (mode,))
        options = {"compression": compression} if compression and mode in fits else {}
    elif kind == "JPEG":
        options = {"progressive": rng.random() < 0.3, "quality": rng.choice((1, 50, 95))}
    elif kind in ("GIF", "AVIF") and rng.random() < 0.3:
        options = {"save_all": True, "append_images": [picture] * rng.randrange(1, 5)}
    elif kind == "PNG" and mode in ("P", "L", "RGB") and rng.random() < 0.3:
        options = {"transparency": 0 if mode != "RGB" else (0, 0, 0)}
    return encoded(picture, kind, **options)


def changed_picture(rng: random.Random, data: bytes | None = None) -> bytes:
    """A picture with some of its structure changed, so that more of the reader is reached than by
    random bytes alone."""
    data = data or any_picture(rng)
    for _ in range(rng.randrange(1, 4)):
        if data[:4] == b"\x89PNG":
            data = _png(rng, data)
        elif data[:2] == b"\xff\xd8":
            data = _jpeg(rng, data)
        elif data[:4] in (b"II*\0", b"MM\0*"):
            data = _tiff(rng, data)
        else:
            # The boxes of an AVIF take some hundred bytes.
            data = _header(rng, data, 600 if data[4:8] == b"ftyp" else 64)
    if rng.random() < 0.2:
        data = data[: rng.randrange(len(data) + 1)]
    return data


def _header(rng: random.Random, data: bytes, length: int, start: int = 0) -> bytes:
    """Another number somewhere in the first bytes, where BMP, GIF and WebP have their sizes."""
    layout = rng.choice(("<B", "<H", ">H", "<I", ">I"))
    value = rng.choice(_NUMBERS) & (256 ** struct.calcsize(layout) - 1)
    at = start + rng.randrange(max(1, min(length, len(data))))
    packed = struct.pack(layout, value)
    return data[:at] + packed + data[at + len(packed) :]


def _png(rng: random.Random, data: bytes) -> bytes:
    """Chunks changed, doubled, dropped or moved, their checksums right."""
    chunks = []
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if length > len(data):
            return _header(rng, data, len(data))
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return data
    i = rng.randrange(len(chunks))
    kind, content = chunks[i]
    action = rng.randrange(6)
    if action == 0:
        chunks[i] = (kind, _header(rng, content, len(content)) if content else b"\0")
    elif action == 1:
        chunks.insert(i, chunks[i])
    elif action == 2:
        del chunks[i]
    elif action == 3:
        chunks.insert(rng.randrange(len(chunks)), chunks.pop(i))
    elif action == 4:
        text = zlib.compress(b"x" * rng.choice((10, 10**6, 10**7)))
        made = rng.choice((b"zTXt", b"iCCP", b"tRNS", b"acTL", b"fcTL", b"eXIf", b"tEXt"))
        chunks.insert(1, (made, b"key\0\0" + text))
    else:
        size = rng.choice(_NUMBERS) & 0x7FFFFFFF, rng.choice((1, 100, 8000, 70000))
        depth, color = rng.choice((1, 2, 4, 8, 16)), rng.choice((0, 2, 3, 4, 6))
        chunks[0] = (b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, rng.randrange(2)))
    parts = [data[:8]]
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))
    return b"".join(parts)


def _jpeg(rng: random.Random, data: bytes) -> bytes:
    """Segments before the scan changed, doubled or dropped."""
    segments = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        segments.append(data[at : at + 2 + length])
        at += 2 + length
    if not segments:
        return _header(rng, data, len(data))
    i = rng.randrange(len(segments))
    action = rng.randrange(4)
    if action == 0:
        segments[i] = _header(rng, segments[i], len(segments[i]), start=4)
    elif action == 1:
        segments[i:i] = [segments[i]] * rng.choice((1, 10, 1000))
    elif action == 2:
        del segments[i]
    else:
        for j, segment in enumerate(segments):
            if 0xC0 <= segment[1] <= 0xC2 and len(segment) > 9:  # the frame: height, then width
                sizes = struct.pack(">HH", rng.choice((0, 1, 8000, 65535)), rng.choice((1, 8000)))
                segments[j] = segment[:5] + sizes + segment[9:]
    return data[:2] + b"".join(segments) + data[at:]


def _tiff(rng: random.Random, data: bytes) -> bytes:
    """Tags changed, or a second time with another value: libraries disagree on which counts."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return _header(rng, data, len(data))
    (count,) = struct.unpack_from(order + "H", data, start)
    tags = [data[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    tags = [tag for tag in tags if len(tag) == 12]
    if not tags:
        return _header(rng, data, len(data))
    rest = data[start + 2 + 12 * count :]
    i = rng.randrange(len(tags))
    tag, kind, values, _ = struct.unpack(order + "HHII", tags[i])
    changed = struct.pack(
        order + "HHII",
        rng.choice((tag, tag, 256, 257, 258, 259, 262, 277, 278, 322, 323, 338, 339)),
        rng.choice((kind, kind, 3, 4, rng.randrange(20))),
        rng.choice((values, values, 1, rng.choice(_NUMBERS))),
        rng.choice(_NUMBERS),
    )
    if rng.random() < 0.5:
        tags[i] = changed
    else:
        tags.insert(rng.randrange(len(tags) + 1), changed)
    # The directory moves to the end, where it has room.
    head = data[:4] + struct.pack(order + "I", len(data))
    directory = struct.pack(order + "H", len(tags)) + b"".join(tags) + rest[:4].ljust(4, b"\0")
    return head + data[8:] + directory
