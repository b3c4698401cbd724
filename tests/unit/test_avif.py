"""AVIF files that say other than they hold, or hold more than a picture needs; and HEIC."""

from __future__ import annotations

import ctypes
import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image, _avif

from app.serving.tasks.files.formats import avif, libavif
from app.serving.tasks.files.pictures import DecodeCost, PictureSpec, UnreadablePicture, opened
from tests.unit.test_pictures import GREEN, RED, assert_close, encode, read, refused


def still(size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    return encode(Image.new(mode, size, RED if mode == "RGB" else 0), "AVIF", **options)


def cost(data: bytes) -> DecodeCost:
    with opened(io.BytesIO(data), PictureSpec((8, 8), "RGB", "stretch", 64_000_000)) as found:
        return found.cost


def with_more(data: bytes, more: bytes) -> bytes:
    """The file with `more` at the end of its only item."""
    meta = dict(avif._boxes(data, 0, len(data)))[b"meta"]
    iloc = dict(avif._boxes(data, meta[0] + 4, meta[1]))[b"iloc"]
    ((_, _, ((offset, length),)),) = avif._locations(data, *iloc)
    assert offset + length == len(data)
    place = struct.pack(">II", offset, length)
    assert data.count(place) == 1
    data = data.replace(place, struct.pack(">II", offset, length + len(more)))
    size = data.rindex(b"mdat") - 4
    return data[:size] + bytes(4) + data[size + 4 :] + more


def test_pillow_brings_what_decodes_it() -> None:
    assert libavif.is_available()


def test_pixels_are_those_of_pillow() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (9, 7, 4), np.uint8)
    data = encode(Image.fromarray(pixels), "AVIF", quality=90)
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(image)
        found = np.asarray(libavif.decode(image, data, 63))
    assert np.array_equal(found, wanted)


def test_frames_are_counted_up_to_the_limit() -> None:
    """Each is decoded, whether it is shown or not: 16 MB may hold a hundred thousand."""
    data = still()
    (frame,) = avif._items(data, _meta(data)).values()
    assert_close(read(with_more(data, frame * (avif.MAX_FRAMES - 1)), (4, 4)), RED, 4)
    error = refused(with_more(data, frame * avif.MAX_FRAMES))
    assert error.problem == "the picture is damaged: more frames than a picture has"
    assert cost(data).pixels == 40 * 30
    assert cost(with_more(data, frame * 3)).pixels == 4 * 40 * 30


def test_parts_are_counted_up_to_the_limit() -> None:
    data = still()
    kinds = len(list(avif._obus(next(iter(avif._items(data, _meta(data)).values())))))
    padding = b"\x7a\x00"
    avif.Still(with_more(data, padding * (avif.MAX_OBUS - kinds)))
    with pytest.raises(ValueError, match="more parts than a picture has"):
        avif.Still(with_more(data, padding * (avif.MAX_OBUS - kinds + 1)))


def _meta(data: bytes) -> dict[bytes, tuple[int, int]]:
    start, end = dict(avif._boxes(data, 0, len(data)))[b"meta"]
    return dict(avif._boxes(data, start + 4, end))


@pytest.mark.parametrize("size", [(8, 8), (39, 30), (41, 30), (400, 300)])
def test_a_frame_of_another_size_than_the_file_says(size: tuple[int, int]) -> None:
    """A smaller one that it says would pass the limits of a request."""
    data = still((400, 300)) if size == (8, 8) else still()
    said = struct.pack(">II", *((400, 300) if size == (8, 8) else (40, 30)))
    assert data.count(b"ispe" + bytes(4) + said) == 1
    data = data.replace(said, struct.pack(">II", *size))
    if size in ((8, 8), (39, 30)):
        assert refused(data).problem.startswith("the picture is damaged: ")
    else:  # libavif makes it as large as the file says, which has been counted
        assert cost(data).pixels == size[0] * size[1]


def test_structure_counts_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for colour profiles, which are long."""
    data = still(icc_profile=b"x" * 100_000)
    assert avif.Still(data).frames == 1
    monkeypatch.setattr(avif, "MAX_STRUCTURE", 10)
    problem = refused(data).problem
    size = int(problem.split(": ")[1].split()[0].replace(",", ""))
    assert 100 < size < 1000
    monkeypatch.setattr(avif, "MAX_STRUCTURE", size)
    avif.Still(data)
    monkeypatch.setattr(avif, "MAX_STRUCTURE", size - 1)
    with pytest.raises(ValueError, match="of structure"):
        avif.Still(data)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def made_of(*boxes: bytes) -> bytes:
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"meta", bytes(4) + b"".join(boxes))


def infe(item: int, kind: bytes) -> bytes:
    return box(b"infe", struct.pack(">BxxxHH4sx", 2, item, 0, kind))


def iinf(*entries: bytes) -> bytes:
    return box(b"iinf", struct.pack(">IH", 0, len(entries)) + b"".join(entries))


def iloc(*items: tuple[int, list[tuple[int, int]]]) -> bytes:
    content = struct.pack(">IHH", 0, 0x4400, len(items))
    for item, extents in items:
        content += struct.pack(">HHH", item, 0, len(extents))
        content += b"".join(struct.pack(">II", *extent) for extent in extents)
    return box(b"iloc", content)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (box(b"ftyp", b"avis\0\0\0\0avis") + box(b"moov", bytes(50)), "no still picture"),
        (box(b"ftyp", b"avif\0\0\0\0" * 33) + made_of()[24:], "more brands"),
        (made_of(iinf(infe(1, b"sato"))), "items of the type b'sato'"),
        (made_of(iloc((1, [(0, 100)] * 3))), "larger than the file"),
        (made_of(iloc((1, [(0, 0)] * 2))), "larger than the file"),
        (made_of(iinf(infe(1, b"av01")), iinf(infe(1, b"av01"))), "a second box b'iinf'"),
        (made_of(box(b"free", b"") * avif.MAX_BOXES + iinf()), "more than 1000 boxes"),
        (
            made_of(box(b"iloc", struct.pack(">IHHHHH", 0, 0, 1, 1, 0, avif.MAX_EXTENTS + 1))),
            "too many parts",
        ),
        (
            made_of(
                iinf(infe(1, b"grid"), infe(2, b"grid")),
                iloc((1, [(0, 8)]), (2, [(1, 8)])),
            ),
            "its grids differ",
        ),
        (made_of(iinf(infe(1, b"grid"))), "its grid is damaged"),
    ],
)
def test_unreasonable_files_are_refused_before_libavif_reads_them(data: bytes, why: str) -> None:
    assert why in refused(data).problem


def test_tiles_share_the_pixels_of_the_picture() -> None:
    grid = b"\0\0\x02\x03"  # 3 rows of 4
    data = made_of(iinf(infe(1, b"grid")), iloc((1, [(200, 4)])))
    found = avif.Still(data.ljust(200, b"\0") + grid)
    assert found.tiles == 12
    assert found.most_pixels(1200) == avif.TILE_SLACK * 100
    assert avif.Still(still()).most_pixels(1200) == 1200


class Picture(ctypes.Structure):
    """The first fields of `avifImage`."""

    _fields_ = (
        ("head", ctypes.c_uint32 * 6),
        ("planes", ctypes.c_void_p * 3),
        ("row_bytes", ctypes.c_uint32 * 3),
    )


class Data(ctypes.Structure):
    """`avifRWData`."""

    _fields_ = (("data", ctypes.POINTER(ctypes.c_uint8)), ("size", ctypes.c_size_t))


def grid(rows: int, columns: int, side: int) -> bytes:
    """An AVIF of square tiles, each brighter than the one before, which Pillow cannot write."""
    library: Any = ctypes.CDLL(_avif.__file__)
    made = ctypes.POINTER(Picture)
    library.avifImageCreate.restype = made
    library.avifEncoderCreate.restype = ctypes.c_void_p
    encoder = ctypes.c_void_p(library.avifEncoderCreate())
    tiles = (made * (rows * columns))()
    for i in range(rows * columns):
        tiles[i] = library.avifImageCreate(side, side, 8, 1)  # YUV444
        assert library.avifImageAllocatePlanes(tiles[i], 1) == 0
        for plane in range(3):
            size = tiles[i].contents.row_bytes[plane] * side
            ctypes.memset(tiles[i].contents.planes[plane], 20 * i if plane == 0 else 128, size)
    assert library.avifEncoderAddImageGrid(encoder, columns, rows, tiles, 2) == 0
    out = Data()
    assert library.avifEncoderFinish(encoder, ctypes.byref(out)) == 0
    return ctypes.string_at(out.data, out.size)


def test_a_picture_made_of_tiles() -> None:
    data = grid(2, 3, 64)
    pixels = read(data, (2 * 64, 3 * 64))[32::64, 32::64]
    assert cost(data).pixels == 2 * 3 * 64 * 64
    assert avif.Still(data).tiles == 6
    assert_close(pixels.max(axis=2).ravel(), [0, 20, 40, 60, 80, 100], 4)
    # Of each tile, not of the picture: or each might hold as many pixels as all.
    with Image.open(io.BytesIO(data)) as image:
        libavif.decode(image, data, 64 * 64)
        with pytest.raises(ValueError, match="Decoding"):
            libavif.decode(image, data, 64 * 64 - 1)


def test_of_an_animation_no_track_is_read() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (GREEN, RED, RED)]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    meta, moov, rest = data.index(b"meta") - 4, data.index(b"moov") - 4, data.index(b"mdat") - 4
    assert meta < moov < rest
    broken = data[: moov + 8] + b"\xff" * (rest - moov - 8) + data[rest:]
    assert_close(read(broken, (4, 4)), GREEN, 4)
    # Before the picture as well.
    junk = box(b"moov", b"\xff" * 50)
    assert avif.Still(data[:meta] + junk + data[meta:moov]).getvalue().count(b"moov") == 0
    with Image.open(io.BytesIO(data)) as whole, Image.open(avif.Still(data)) as found:
        assert (whole.n_frames, found.n_frames) == (3, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("major", [b"heic", b"heix", b"mif1", b"msf1"])
def test_heic_is_named_with_what_to_do(major: bytes) -> None:
    data = box(b"ftyp", major + b"\0\0\0\0mif1heic") + bytes(100)
    error = refused(data)
    assert error.problem == "HEIC, the format in which iPhones save photos, is not supported"
    assert error.expected.startswith("JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF: convert the photo")
    assert "Most Compatible" in error.expected


def test_other_files_of_this_form_are_no_pictures() -> None:
    data = box(b"ftyp", b"isom\0\0\0\0mp42") + bytes(100)
    assert refused(data).problem == "not a picture in a supported format"


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_each_byte_may_be_damaged(mode: str) -> None:
    """Whatever a damaged file makes libavif say, it is a refusal or a picture."""
    data = still((8, 6), mode)
    problems = set()
    for at in range(len(data)):
        for byte in {0, 255, data[at] ^ 1, data[at] ^ 128} - {data[at]}:
            with suppress(UnreadablePicture):
                read(data[:at] + bytes([byte]) + data[at + 1 :], (4, 4))
                continue
            problems.add(at)
    assert len(problems) > 100
