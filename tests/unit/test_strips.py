"""Flattening pictures block by block gives the same as flattening them at once."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.serving.tasks.files import strips
from app.serving.tasks.files.pictures import PictureSpec, decode
from tests.unit.test_pictures import encode

SIZE = (233, 301)  # height, width: no multiples of anything


def as_a_whole(data: bytes, spec: PictureSpec) -> NDArray[np.uint8]:
    """All of the picture as RGBA, on white, then resized."""
    image: Image.Image = Image.open(io.BytesIO(data))
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        whole = values.astype(float)
        if image.mode == "F":
            whole = np.clip(whole, 0, 255) * (255 if whole.max() <= 1 else 1)
        elif image.mode != "I" or whole.max() > 255:
            whole = np.clip(whole, 0, 65535) // 257
        image = Image.fromarray(np.clip(whole, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert(spec.mode)
    assert spec.size is not None
    height, width = spec.size
    across, down = image.size
    box = (0.0, 0.0, float(across), float(down))
    if spec.resize == "crop":
        scale = min(across / width, down / height)
        left, top = (across - width * scale) / 2, (down - height * scale) / 2
        box = (max(0.0, left), max(0.0, top), across - max(0.0, left), down - max(0.0, top))
    small = image.resize((width, height), strips.FILTER, box=box, reducing_gap=2.0)
    return np.asarray(small, np.uint8).reshape(height, width, spec.channels)


def kinds() -> dict[str, bytes]:
    """A picture of noise in every mode that a file may have. Noise, and colours under what is
    transparent, show each pixel that is taken from elsewhere."""
    rng = np.random.default_rng(0)

    def noise(channels: int = 1, dtype: Any = np.uint8, below: int = 256) -> Image.Image:
        shape = (*SIZE, channels) if channels > 1 else SIZE
        return Image.fromarray(rng.integers(0, below, shape).astype(dtype))

    grey, rgb, rgba = noise(), noise(3), noise(4)
    palette, sixteen = rgb.quantize(200), rgb.quantize(16)
    bits, la = grey.convert("1"), Image.merge("LA", [grey, noise()])
    alphas = bytes(rng.integers(0, 256, 200, np.uint8))
    frames: dict[str, Any] = {"save_all": True, "append_images": [sixteen]}
    return {
        "1": encode(bits),
        "1 tiff": encode(bits, "TIFF"),
        "1 tRNS": encode(bits, transparency=1),
        "L tRNS": encode(grey, transparency=77),
        "L gif": encode(grey, "GIF"),
        "LA": encode(la),
        "LA tiff": encode(la, "TIFF"),
        "P": encode(palette),
        "P bmp": encode(palette, "BMP"),
        "P one transparent": encode(palette, transparency=7),
        "P alphas": encode(palette, transparency=alphas),
        "P 4 bits": encode(sixteen, transparency=3, bits=4),
        "P interlaced": interlaced(),
        "P gif": encode(palette, "GIF", transparency=3),
        "P gif animated": encode(palette, "GIF", transparency=3, disposal=2, **frames),
        "RGB tRNS": encode(rgb, transparency=(1, 2, 3)),
        "RGBA": encode(rgba),
        "RGBA webp": encode(rgba, "WEBP"),
        "RGBA webp animated": encode(rgba, "WEBP", save_all=True, append_images=[rgba.rotate(9)]),
        "RGBA tiff": encode(rgba, "TIFF", compression="tiff_lzw"),
        "CMYK tiff": encode(rgb.convert("CMYK"), "TIFF"),
        "YCbCr tiff": encode(rgb.convert("YCbCr"), "TIFF"),
        "I;16": encode(noise(1, np.uint16, 65536)),
        "I;16B": encode(Image.frombytes("I;16B", SIZE[::-1], rng.bytes(2 * 233 * 301)), "TIFF"),
        "I": encode(noise(1, np.int32, 100_000), "TIFF"),
        "I of 8 bits": encode(noise(1, np.int32, 256), "TIFF"),
        "F": encode(noise(1, np.float32), "TIFF"),
        "F to 1": encode(Image.fromarray(rng.random(SIZE, np.float32)), "TIFF"),
    }


def interlaced() -> bytes:
    """An Adam7 palette PNG with transparent entries, which Pillow does not write."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 100, SIZE).astype(np.uint8)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, across in [*passes, (1, 0, 2, 1)]
        for row in pixels[top::down, left::across]
    )
    height, width = SIZE
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 1)),
        (b"PLTE", rng.bytes(300)),
        (b"tRNS", rng.bytes(60)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


KINDS = kinds()


@pytest.mark.parametrize("block", [1 << 18, 1000])
@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_make_the_same_picture(
    kind: str, mode: Any, resize: Any, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "BLOCK", block)
    for size in [(8, 8), (1, 1), (50, 60), (3, 150), (150, 3), SIZE, (300, 400)]:
        spec = PictureSpec(size, mode, resize, 10**6)
        found, wanted = decode(io.BytesIO(KINDS[kind]), spec), as_a_whole(KINDS[kind], spec)
        # Boxes begin at other fractions of a pixel.
        assert np.abs(found.astype(int) - wanted).max() <= 1, size


def test_colours_of_what_is_transparent_do_not_bleed() -> None:
    """Half of the columns are black, half are red that cannot be seen."""
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, ::2] = (255, 0, 0, 0)
    pixels[:, 1::2] = (0, 0, 0, 255)
    for image in (Image.fromarray(pixels), Image.fromarray(pixels).quantize(4)):
        found = decode(io.BytesIO(encode(image)), PictureSpec((4, 4), "RGB", "stretch", 5000))
        assert np.abs(found.astype(int) - 128).max() <= 1
