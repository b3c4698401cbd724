"""Pictures that are too large, malicious or damaged."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.serving.tasks.files.formats.jpeg import MAX_SCANS
from app.serving.tasks.files.pictures import (
    FORMATS,
    DecodeCost,
    PictureSpec,
    UnreadablePicture,
    decode,
    opened,
)
from tests.unit.test_pictures import encode, read, refused

# --- limits


@pytest.mark.parametrize("format", FORMATS)
def test_the_pixel_limit_is_the_last_that_passes(format: str) -> None:
    data = encode(Image.new("RGB", (30, 20)), format)
    read(data, (4, 4), max_pixels=600)
    error = refused(data, max_pixels=599)
    assert (error.problem, error.expected) == (
        "the picture has 30x20 pixels",
        "at most 599 pixels (KERAPORT_MAX_PIXELS)",
    )


def tiled_tiff(tile: int, *, big: bool = False, decoy: bool = False) -> bytes:
    """An 8x8 picture made of one tile of `tile` x `tile`. decoy: a second, modest tile size."""
    pixels = zlib.compressobj(9)
    data = b"".join(pixels.compress(bytes(tile)) for _ in range(tile)) + pixels.flush()
    sizes = [(322, tile), (323, tile)] + ([(322, 16), (323, 16)] if decoy else [])
    tags = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1), *sizes]
    head = 16 if big else 8
    tags += [(324, head), (325, len(data))]
    start = struct.pack("<4sHHQ", b"II\x2b\0", 8, 0, head + len(data)) if big else None
    out = (start or struct.pack("<4sI", b"II\x2a\0", head + len(data))) + data
    out += struct.pack("<Q" if big else "<H", len(tags))
    for tag, value in tags:
        out += struct.pack("<HHQQ" if big else "<HHII", tag, 4, 1, value)
    return out + bytes(8 if big else 4)


@pytest.mark.parametrize("big", [False, True])
def test_a_tile_of_a_tiff_counts_up_to_the_limit(big: bool) -> None:
    read(tiled_tiff(32, big=big), (8, 8), max_pixels=1024)
    assert "tiles of 1,024 pixels" in refused(tiled_tiff(32, big=big), max_pixels=1023).problem


def png(colour: int, side: int, bits: int = 8, extra: bytes = b"") -> bytes:
    """A PNG of zeros, as small as it can be. colour: PNG's colour type, one of 0, 2, 3, 4 and 6."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + side * samples * bits // 8)
    packed = zlib.compressobj(9)
    data = b"".join(packed.compress(row) for _ in range(side)) + packed.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0))]
    if colour == 3:
        chunks += [(b"PLTE", bytes(6)), (b"tRNS", b"\x64")]
    chunks += [(b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _flat(mode: str, format: str, side: int = 4000, **options: Any) -> bytes:
    return encode(Image.new(mode, (side, side)), format, **options)


COSTLY = {
    "png rgba": lambda: png(6, 4000),
    "png la": lambda: png(4, 4000),
    "png rgb 16 bits": lambda: png(2, 4000, 16),
    "png palette": lambda: png(3, 4000),
    "gif": lambda: _flat("P", "GIF", disposal=2, transparency=1),
    "webp": lambda: _flat("RGBA", "WEBP"),
    "webp lossy": lambda: _flat("RGB", "WEBP", lossless=False),
    "jpeg": lambda: _flat("RGB", "JPEG"),
    "jpeg progressive": lambda: _flat("RGB", "JPEG", progressive=True, subsampling=0),
    "jpeg progressive cmyk": lambda: _flat("CMYK", "JPEG", progressive=True),
    "tiff": lambda: _flat("RGB", "TIFF", compression="tiff_lzw"),
    "tiff one strip": lambda: _flat(
        "RGB", "TIFF", compression="tiff_adobe_deflate", strip_size=1 << 30
    ),
    "tiff float": lambda: _flat("F", "TIFF", compression="tiff_lzw"),
    "tiff 16 bits": lambda: _flat("I;16", "TIFF", compression="tiff_lzw"),
    "tiff bits": lambda: _flat("1", "TIFF", compression="group4"),
    "tile": lambda: tiled_tiff(4000),
    "avif": lambda: _flat("RGB", "AVIF", speed=10),
    "avif rgba": lambda: _flat("RGBA", "AVIF", speed=10, subsampling="4:4:4"),
}


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there again and again."""
    data = encode(Image.new("L", (64, 64), 99), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan, before = data[last:-2], data.count(b"\xff\xda")
    return data[:-2] + scan * (count - before) + b"\xff\xd9"


def test_the_scans_of_a_jpeg_are_counted_up_to_the_limit() -> None:
    read(with_scans(MAX_SCANS), (8, 8))
    error = refused(with_scans(MAX_SCANS + 1))
    assert (error.problem, error.expected) == ("the JPEG has 65 scans", "at most 64")


def bmp_in_runs(side: int) -> bytes:
    """A BMP (RLE8) of one colour."""
    row = b"\xff\x01" * (side // 255) + bytes([side % 255, 1]) + b"\0\0"
    body = row * side
    start = 54 + 1024
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + bytes(1024) + body


def test_a_bmp_in_runs_may_have_a_sixteenth_of_the_pixels() -> None:
    """Pillow unpacks it in Python: one of 64 million pixels and 1 kB takes 15 seconds."""
    read(bmp_in_runs(300), (8, 8), max_pixels=16 * 300 * 300)
    assert cost(bmp_in_runs(300)).pixels == 16 * 300 * 300
    error = refused(bmp_in_runs(300), max_pixels=16 * 300 * 300 - 1)
    assert error.problem == "the picture has 300x300 pixels in runs"
    assert "at most 89,999 pixels (KERAPORT_MAX_PIXELS / 16)" in error.expected


def cost(data: bytes, size: tuple[int, int] = (8, 8)) -> DecodeCost:
    with opened(io.BytesIO(data), PictureSpec(size, "RGB", "stretch", 64_000_000)) as found:
        return found.cost


def test_pixels_count_as_they_have_to_be_decoded() -> None:
    side = 1600
    image = Image.new("RGB", (side, side))
    pixels = side * side
    # At the eighth: but each of its pixels is unpacked.
    assert cost(encode(image, "JPEG")).pixels == pixels // 8
    assert cost(encode(image, "JPEG"), (800, 800)).pixels == pixels // 4
    assert cost(encode(image, "JPEG", progressive=True)).pixels == pixels
    assert cost(with_scans(MAX_SCANS)).pixels == 4 * 64 * 64
    assert cost(encode(image)).pixels == pixels
    assert cost(tiled_tiff(500)).pixels == 500 * 500
    # A small picture for a large model is work as well.
    assert cost(encode(Image.new("L", (1, 1))), (900, 700)).pixels == 900 * 700


@pytest.mark.parametrize("thumbnail", [False, True])
def test_the_thumbnail_of_a_camera_is_no_scan(thumbnail: bool) -> None:
    """Or each of its photos would count as one with several."""
    small = encode(Image.new("RGB", (160, 120)), "JPEG") if thumbnail else b""
    data = encode(Image.new("RGB", (1600, 1200)), "JPEG")
    app1 = b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small
    assert cost(data[:2] + app1 + data[2:]).pixels == 1600 * 1200 // 8


class EnoughError(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "least"), [("png palette", 64), ("png rgba", 64), ("gif", 8), ("png rgb 16 bits", 16)]
)
def test_work_can_end_within_a_picture(kind: str, least: int) -> None:
    """While it is unpacked, and between its blocks."""
    data, asked = COSTLY[kind](), 0
    spec = PictureSpec((8, 8), "L", "stretch", 64_000_000)

    def check() -> None:
        nonlocal asked
        asked += 1

    decode(io.BytesIO(data), spec, check)
    assert asked >= least
    half = asked // 2
    asked = 0

    def enough() -> None:
        check()
        if asked == half:
            raise EnoughError

    with pytest.raises(EnoughError):
        decode(io.BytesIO(data), spec, enough)


# --- damage


def damaged_files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    alpha = Image.fromarray(rng.integers(0, 256, (24, 32, 4), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (24, 32), np.uint16))
    palette = colour.quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames: dict[str, Any] = {
        "save_all": True,
        "append_images": [colour.transpose(Image.Transpose.ROTATE_180)],
    }
    return {
        "jpeg": encode(colour, "JPEG", exif=exif),
        "progressive": encode(colour, "JPEG", progressive=True),
        "cmyk": encode(colour.convert("CMYK"), "JPEG"),
        "mpo": encode(colour, "MPO", **frames),
        "png": encode(alpha, exif=exif),
        "png16": encode(deep),
        "apng": encode(colour, **frames),
        "webp": encode(alpha, "WEBP", exif=exif),
        "webp_lossy": encode(colour, "WEBP", lossless=False),
        "webp_animated": encode(colour, "WEBP", **frames),
        "gif": encode(palette, "GIF", transparency=3, **frames),
        "avif": encode(colour, "AVIF", exif=exif),
        "avif_alpha": encode(alpha, "AVIF"),
        "avif_animated": encode(colour, "AVIF", **frames),
        "bmp": encode(colour, "BMP"),
        "bmp_palette": encode(palette, "BMP"),
        "tiff": encode(colour, "TIFF", exif=exif),
        "tiff_lzw": encode(deep, "TIFF", compression="tiff_lzw"),
        "tiff_deflate": encode(alpha, "TIFF", compression="tiff_adobe_deflate"),
        "tiff_jpeg": encode(colour, "TIFF", compression="jpeg"),
        "tiff_fax": encode(colour.convert("1"), "TIFF", compression="group4"),
        "tiff_float": encode(Image.fromarray(rng.random((24, 32), np.float32)), "TIFF"),
        "tiff_tiled": tiled_tiff(16),
        "tiff_big": tiled_tiff(16, big=True),
    }


ROUNDS = 250
SPECS = (
    PictureSpec((8, 8), "RGB", "stretch", 1_000_000),
    PictureSpec((9, 7), "L", "crop", 1_000_000),
    PictureSpec((7, 40), "RGB", "pad", 1_000_000),
    PictureSpec(None, "RGB", "stretch", 1_000_000, max_side=40),
)


def corrupted(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, most often near the start, and sometimes the end missing."""
    out = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5, 20])):
        at = rng.randrange(min(len(out), rng.choice([64, 300, len(out)])))
        flipped = out[at] ^ (1 << rng.randrange(8))
        out[at] = rng.choice([0, 255, 1, 127, 128, rng.randrange(256), flipped])
    return bytes(out[: rng.randrange(len(out))] if rng.random() < 0.2 else out)


def mistyped(data: bytes) -> Iterator[bytes]:
    """A TIFF with each of its tags, one after the other, as values of every type and number."""
    start = struct.unpack_from("<I", data, 4)[0]
    tags = struct.unpack_from("<H", data, start)[0]
    for at in range(start + 2, start + 2 + 12 * tags, 12):
        for kind in (*range(14), 16, 99):
            for count in (0, 1, 2, 70_000):
                out = bytearray(data)
                struct.pack_into("<HI", out, at + 2, kind, count)
                yield bytes(out)


def damages() -> Iterator[bytes]:
    rng = random.Random(20)
    files = damaged_files()
    for data in files.values():
        yield from (corrupted(data, rng) for _ in range(ROUNDS))
    for name in ("tiff", "tiff_float", "tiff_lzw", "tiff_tiled"):
        yield from mistyped(files[name])
    yield files["png"].replace(b"IEND", b"\xf9\x14uY")


def decode_damaged() -> tuple[int, int]:
    """Decode thousands of damaged files. Returns how many could be read, and how many were refused
    with a reason."""
    good = bad = 0
    for i, data in enumerate(damages()):
        spec = SPECS[i % len(SPECS)]
        try:
            pixels = decode(io.BytesIO(data), spec)
        except UnreadablePicture as error:
            bad += not error.problem.endswith(": ")
        else:
            # The size of a picture of its own size is its own.
            good += spec.size is None or pixels.shape == (*spec.size, spec.channels)
    return good, bad


@pytest.mark.parametrize("format", FORMATS)
def test_half_a_file_is_unreadable(format: str) -> None:
    rng = np.random.default_rng(0)
    data = encode(Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)), format)
    error = refused(data[: len(data) // 2])
    assert error.problem.startswith(("the picture is damaged: ", "not a picture"))
