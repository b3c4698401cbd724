"""A picture file becomes pixels, or an UnreadablePicture."""

from __future__ import annotations

import io
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.serving.tasks.files.pictures import FORMATS, PictureSpec, UnreadablePicture, decode
from tests.support import picture

Pixels = NDArray[np.uint8]
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3
LOSSLESS = ("PNG", "WEBP", "GIF", "BMP", "TIFF")


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    if format == "WEBP":
        options = {"lossless": True, "exact": True} | options
    image.save(out, format, **options)
    return out.getvalue()


def read(
    data: bytes,
    size: tuple[int, int],
    mode: Any = "RGB",
    resize: Any = "stretch",
    max_pixels: int = 64_000_000,
) -> Pixels:
    """size: (height, width)."""
    pixels = decode(io.BytesIO(data), PictureSpec(size, mode, resize, max_pixels))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (*size, {"RGB": 3, "RGBA": 4, "L": 1}[mode])
    return pixels


def refused(data: bytes, **options: Any) -> UnreadablePicture:
    with pytest.raises(UnreadablePicture) as caught:
        read(data, (4, 4), **options)
    return caught.value


def quarters(height: int = 40, width: int = 60) -> Pixels:
    """Red, green; blue, white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    pixels[:top, :left], pixels[:top, left:] = RED, GREEN
    pixels[top:, :left], pixels[top:, left:] = BLUE, WHITE
    return pixels


def assert_close(found: Pixels, wanted: Any, within: float = 2) -> None:
    difference = np.abs(found.astype(float) - np.broadcast_to(wanted, found.shape))
    assert difference.max() <= within


# --- kinds of pixels


@pytest.mark.parametrize("format", LOSSLESS)
def test_colour_arrives_pixel_by_pixel(format: str) -> None:
    pixels = quarters()
    assert np.array_equal(read(encode(Image.fromarray(pixels), format), (40, 60)), pixels)


@pytest.mark.parametrize(("format", "subsampling"), [("JPEG", 0), ("AVIF", "4:4:4")])
def test_others_arrive_nearly_so(format: str, subsampling: Any) -> None:
    image = Image.fromarray(quarters(64, 64))
    data = encode(image, format, quality=100, subsampling=subsampling)
    assert_close(read(data, (64, 64)), quarters(64, 64), within=6)


def test_grey_fills_all_three_channels_and_colour_becomes_luma() -> None:
    grey = Image.new("L", (3, 2), 90)
    assert_close(read(encode(grey), (2, 3)), 90, within=0)
    assert_close(read(encode(grey), (2, 3), "L"), 90, within=0)
    # ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B
    assert_close(read(encode(Image.new("RGB", (3, 2), (200, 100, 50))), (2, 3), "L"), 124, 1)
    assert_close(read(encode(Image.new("RGB", (8, 8), (200, 100, 50)), "JPEG"), (8, 8), "L"), 124)


def test_black_and_white_bits() -> None:
    assert_close(read(encode(Image.new("1", (9, 9), 1)), (9, 9)), WHITE, 0)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    rgba = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    rgba.putpixel((0, 0), (0, 0, 0, 255))
    rgba.putpixel((1, 0), (0, 0, 0, 128))
    for image, format in (
        (rgba, "PNG"),
        (rgba, "WEBP"),
        (rgba, "TIFF"),
        (rgba.convert("LA"), "PNG"),
    ):
        pixels = read(encode(image, format), (2, 4), mode)
        assert_close(pixels[0, 0], 0, 0)
        assert_close(pixels[0, 1], 127, 1)
        assert_close(pixels[1], 255, 0)


def test_a_model_of_rgba_gets_what_is_transparent() -> None:
    rgba = Image.new("RGBA", (4, 2), (*RED, 255))
    rgba.putpixel((0, 0), (*BLUE, 0))
    rgba.putpixel((1, 0), (*BLUE, 128))
    for format in ("PNG", "WEBP", "TIFF"):
        pixels = read(encode(rgba, format), (2, 4), "RGBA")
        assert np.array_equal(pixels, np.asarray(rgba))
    # As Pillow resizes them: what cannot be seen has no colour.
    assert np.array_equal(
        read(encode(rgba), (4, 8), "RGBA"),
        np.asarray(rgba.resize((8, 4), Image.Resampling.BILINEAR, reducing_gap=2.0)),
    )


def test_a_model_of_rgba_gets_opaque_pictures_of_every_other_kind() -> None:
    rgb = Image.new("RGB", (8, 8), RED)
    for image, format in (
        (rgb, "PNG"),
        (rgb, "WEBP"),
        (rgb, "BMP"),
        (rgb.convert("P"), "GIF"),
        (rgb.convert("CMYK"), "TIFF"),
    ):
        assert_close(read(encode(image, format), (8, 8), "RGBA"), (*RED, 255), 2)
    assert_close(read(encode(rgb, "JPEG", quality=100), (8, 8), "RGBA"), (*RED, 255), 6)
    grey = Image.new("L", (8, 8), 90)
    assert_close(read(encode(grey), (8, 8), "RGBA"), (90, 90, 90, 255), 0)
    palette = Image.new("P", (4, 2), 1)
    palette.putpalette([*RED, *GREEN, *BLUE])
    seen = read(encode(palette, "PNG", transparency=1), (2, 4), "RGBA")
    assert_close(seen, (*GREEN, 0), 0)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_palette_with_and_without_transparency(format: str) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putpixel((0, 0), 2)
    opaque = read(encode(image, format), (2, 4))
    assert_close(opaque[0, 0], BLUE, 0)
    assert_close(opaque[1], GREEN, 0)
    seen = read(encode(image, format, transparency=1), (2, 4))
    assert_close(seen[0, 0], BLUE, 0)
    assert_close(seen[1], WHITE, 0)


def test_a_colour_that_a_png_calls_transparent() -> None:
    rgb = Image.new("RGB", (2, 1), RED)
    rgb.putpixel((0, 0), BLUE)
    assert_close(read(encode(rgb, transparency=RED), (1, 2))[0], [BLUE, WHITE], 0)
    grey = Image.new("L", (2, 1), 5)
    grey.putpixel((0, 0), 6)
    assert_close(read(encode(grey, transparency=5), (1, 2), "L")[0], [[6], [255]], 0)


def test_cmyk_jpeg() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert_close(read(encode(image, "JPEG", quality=100), (16, 16)), RED, 6)
    assert_close(read(encode(image, "JPEG", quality=100), (16, 16), "L"), 76, 6)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(format: str) -> None:
    values = np.array([[0, 256, 257, 32768, 65535]], np.uint16)
    pixels = read(encode(Image.fromarray(values), format), (1, 5), "L")
    assert pixels.ravel().tolist() == [0, 0, 1, 127, 255]


def test_big_endian_sixteen_bits() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257 * 9, 257 * 200))
    assert read(encode(image, "TIFF"), (1, 2), "L").ravel().tolist() == [9, 200]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 0.5, 1.0], [0, 127, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1e38, 300.0, 3e38], [0, 255, 255]),
        ([np.nan, -np.inf, np.inf], [0, 0, 255]),
        ([-3e38, np.nan, 1.0], [0, 0, 255]),
    ],
)
def test_floating_point_tiff_is_0_to_1_or_0_to_255(values: list[float], wanted: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert read(encode(image, "TIFF"), (1, 3), "L").ravel().tolist() == wanted


@pytest.mark.parametrize(
    ("values", "wanted"), [([0, 7, 255], [0, 7, 255]), ([-5, 257, 70_000], [0, 1, 255])]
)
def test_32_bit_whole_numbers_hold_8_or_16_bits(values: list[int], wanted: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.int32))
    assert read(encode(image, "TIFF"), (1, 3), "L").ravel().tolist() == wanted


# --- orientation

# What undoes each EXIF orientation's turn: applied to the upright picture it gives the stored one.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(40, 60), (60, 40)])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_every_orientation_is_set_upright(
    format: str, orientation: int, size: tuple[int, int], resize: str
) -> None:
    upright = Image.fromarray(quarters())
    stored = upright.transpose(STORED[orientation]) if orientation in STORED else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    data = encode(stored, format, exif=exif, **options.get(format, {}))
    found = read(data, size, resize=resize)
    assert_close(found, read(encode(upright), size, resize=resize), within=12)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(
        read(encode(Image.fromarray(quarters()), exif=exif), (40, 60)), quarters()
    )


# --- formats


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    assert_close(read(data, (8, 8)), RED)


def test_a_multi_picture_jpeg_is_its_first_picture() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, GREEN)]
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert_close(read(data, (8, 8)), RED, 4)


@pytest.mark.parametrize("format", FORMATS)
def test_the_kind_is_found_by_content(format: str, tmp_path: Path) -> None:
    data = encode(Image.new("RGB", (8, 8), RED), format)
    assert_close(read(data, (8, 8)), RED, 4)
    misnamed = tmp_path / "picture.txt"
    misnamed.write_bytes(data)
    with misnamed.open("rb") as file:
        assert_close(decode(file, PictureSpec((8, 8), "RGB", "stretch", 64)), RED, 4)


OTHERS = ["ICO", "PPM", "TGA", "PCX", "ICNS", "EPS", "SGI", "MSP", "DDS", "XBM", "PDF"]
OTHERS += ["JPEG2000", "DIB", "SPIDER"]


@pytest.mark.parametrize("format", OTHERS)
def test_other_formats_are_refused_without_being_opened(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()
    mode = {"MSP": "1", "XBM": "1", "SPIDER": "F"}.get(format, "RGB")
    data = encode(Image.new(mode, (32, 32)), format)
    opened: list[str] = []
    for name, (factory, accept) in list(Image.OPEN.items()):
        if name not in FORMATS:
            # Not a stand-in: the real opener, and a note that it was asked.
            def noted(*args: Any, _name: str = name, _factory: Any = factory) -> Any:
                opened.append(_name)
                return _factory(*args)

            monkeypatch.setitem(Image.OPEN, name, (noted, accept))
    assert refused(data).expected == "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
    assert opened == []


@pytest.mark.parametrize("data", [b"", b"\0", b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"BM"])
def test_what_is_no_picture(data: bytes) -> None:
    assert "picture" in refused(data).problem


# --- geometry


def test_stretch_shows_everything() -> None:
    found = read(encode(Image.fromarray(quarters(40, 120))), (30, 30))
    for (row, column), colour in {
        (2, 2): RED,
        (2, 27): GREEN,
        (27, 2): BLUE,
        (27, 27): WHITE,
    }.items():
        assert_close(found[row, column], colour)
    assert_close(found[:14, :14], RED)


@pytest.mark.parametrize("upright", [False, True])
def test_crop_cuts_the_same_from_both_sides(upright: bool) -> None:
    # Four stripes; the middle half of them is square.
    stripes = np.repeat([RED, GREEN, BLUE, WHITE], 20, axis=0)[None].repeat(40, axis=0)
    pixels = stripes.astype(np.uint8).transpose((1, 0, 2) if upright else (0, 1, 2))
    found = read(encode(Image.fromarray(pixels)), (20, 20), resize="crop")
    found = found.transpose((1, 0, 2)) if upright else found
    assert_close(found[:, 1:9], GREEN)
    assert_close(found[:, 11:19], BLUE)


@pytest.mark.parametrize("upright", [False, True])
def test_pad_adds_the_same_black_to_both_sides(upright: bool) -> None:
    size = (40, 80) if upright else (80, 40)
    found = read(encode(Image.new("RGB", size, RED)), (20, 20), resize="pad")
    found = found.transpose((1, 0, 2)) if upright else found
    assert_close(found[:5], BLACK, 0)
    assert_close(found[5:15], RED)
    assert_close(found[15:], BLACK, 0)


def test_pad_keeps_white_what_was_transparent_and_black_what_was_added() -> None:
    found = read(encode(Image.new("RGBA", (8, 4))), (8, 8), resize="pad")
    assert_close(found[2:6], WHITE, 0)
    assert_close(found[:2], BLACK, 0)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (7, 7)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("target", [(1, 1), (7, 7), (3, 50), (50, 3)])
def test_extreme_sizes(
    resize: str, size: tuple[int, int], format: str, target: tuple[int, int]
) -> None:
    found = read(encode(Image.new("RGB", size, RED), format), target, resize=resize)
    assert_close(found[(target[0] - 1) // 2, (target[1] - 1) // 2], RED, 4)


def test_a_crop_never_leaves_the_picture() -> None:
    """Rounding put the box a hair outside for one picture in two hundred."""
    rng = random.Random(0)
    sizes = [(91, 233, 55, 41)]
    sizes += [tuple(rng.randint(1, n) for n in (300, 300, 64, 64)) for _ in range(3000)]  # type: ignore[misc]
    for width, height, down, across in sizes:
        found = read(encode(Image.new("L", (width, height), 9), "BMP"), (down, across), "L", "crop")
        assert (found == 9).all()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(1600, 1200), (1203, 1601), (2400, 300), (330, 330)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_decoded_small_equals_one_decoded_whole(
    resize: str, size: tuple[int, int], mode: str
) -> None:
    data = picture(3, size)
    with Image.open(io.BytesIO(data)) as image:
        whole = encode(image.convert("RGB"), "BMP")
    difference = np.abs(
        read(data, (150, 150), mode, resize).astype(float)
        - read(whole, (150, 150), mode, resize).astype(float)
    )
    assert difference.mean() < 1
    assert difference.max() < 8


def test_many_threads_get_the_same_pixels_as_one() -> None:
    files = [picture(i, (200 + i, 150), f) for i, f in enumerate(FORMATS * 4)]
    spec = PictureSpec((50, 50), "RGB", "crop", 10**6)
    alone = [decode(io.BytesIO(data), spec) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode(io.BytesIO(data), spec), files * 5))
    for i, pixels in enumerate(together):
        assert np.array_equal(pixels, alone[i % len(files)])
