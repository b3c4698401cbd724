"""AVIF pictures, decoded by libavif itself.

Pillow decodes frames of any size, whatever the file says of it, with threads of its own, and
copies the pixels under the interpreter's lock.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, _avif

# Of a pixel, the most: what dav1d keeps of colour and alpha in two bytes each, and RGBA.
PIXEL_BYTES = 16
# avif/avif.h
_OK = 0
_DEFAULT_LIMITS = (16384 * 16384, 32768, 12 * 3600 * 60)
_ALPHA_ISPE_REQUIRED = 4  # as strict as Pillow


class _Decoder(ctypes.Structure):
    """The first fields of `avifDecoder`, which are the same in all versions 1.x."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("max_threads", ctypes.c_int),
        ("source", ctypes.c_int),
        ("allow_progressive", ctypes.c_int),
        ("allow_incremental", ctypes.c_int),
        ("ignore_exif", ctypes.c_int),
        ("ignore_xmp", ctypes.c_int),
        ("size_limit", ctypes.c_uint32),
        ("dimension_limit", ctypes.c_uint32),
        ("count_limit", ctypes.c_uint32),
        ("strict", ctypes.c_uint32),
        ("image", ctypes.POINTER(ctypes.c_uint32)),  # begins with width and height
    )


class _RGBImage(ctypes.Structure):
    """`avifRGBImage`, and room for what later versions may add."""

    _fields_ = (
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("depth", ctypes.c_uint32),
        ("format", ctypes.c_int),
        ("upsampling", ctypes.c_int),
        ("downsampling", ctypes.c_int),
        ("avoid_libyuv", ctypes.c_int),
        ("ignore_alpha", ctypes.c_int),
        ("premultiplied", ctypes.c_int),
        ("is_float", ctypes.c_int),
        ("max_threads", ctypes.c_int),
        ("pixels", ctypes.c_void_p),
        ("row_bytes", ctypes.c_uint32),
        ("room", ctypes.c_uint8 * 64),
    )


@cache
def _library() -> Any:
    """libavif as Pillow brings it along; None where it cannot be called, or its structures are not
    those known here."""
    decoder = ctypes.POINTER(_Decoder)
    image = ctypes.c_void_p
    try:
        library = ctypes.CDLL(_avif.__file__)
        library.avifDecoderCreate.restype = decoder
        library.avifDecoderCreate.argtypes = []
        library.avifDecoderDestroy.restype = None
        library.avifDecoderDestroy.argtypes = [decoder]
        library.avifDecoderSetIOMemory.argtypes = [decoder, ctypes.c_char_p, ctypes.c_size_t]
        library.avifDecoderParse.argtypes = [decoder]
        library.avifDecoderNextImage.argtypes = [decoder]
        library.avifRGBImageSetDefaults.restype = None
        library.avifRGBImageSetDefaults.argtypes = [ctypes.POINTER(_RGBImage), image]
        library.avifImageYUVToRGB.argtypes = [image, ctypes.POINTER(_RGBImage)]
        library.avifResultToString.restype = ctypes.c_char_p
        library.avifResultToString.argtypes = [ctypes.c_int]
    except (OSError, AttributeError):  # a Pillow that has libavif built in
        return None
    made = library.avifDecoderCreate()
    if not made:
        return None
    fields = made.contents
    limits = fields.size_limit, fields.dimension_limit, fields.count_limit
    library.avifDecoderDestroy(made)
    return library if limits == _DEFAULT_LIMITS and _avif.libavif_version[:2] == "1." else None


def is_available() -> bool:
    """Tell whether `decode` works here."""
    return _library() is not None


def decode(image: Image.Image, data: bytes, frame_limit: int) -> Image.Image:
    """Return the pixels of an opened AVIF as RGBA, or as RGBX where it is opaque.

    data: the file. frame_limit: pixels of a frame; larger ones are refused before they are decoded.
    Raises ValueError where it is damaged, or does not hold what its headers say.
    """
    library = _library()
    width, height = image.size
    pixels = np.zeros((height, width, 4), np.uint8)
    decoder = library.avifDecoderCreate()
    if not decoder:
        raise MemoryError
    try:
        fields = decoder.contents
        fields.max_threads = 1  # other pictures have the other cores
        fields.size_limit = width * height
        fields.strict = _ALPHA_ISPE_REQUIRED
        fields.ignore_exif = fields.ignore_xmp = 1
        _check(library, library.avifDecoderSetIOMemory(decoder, data, len(data)))
        _check(library, library.avifDecoderParse(decoder))
        fields.size_limit = frame_limit
        _check(library, library.avifDecoderNextImage(decoder))
        if (fields.image[0], fields.image[1]) != (width, height):
            raise ValueError(f"its frame has {fields.image[0]}x{fields.image[1]} pixels")
        rgb = _RGBImage()
        library.avifRGBImageSetDefaults(rgb, fields.image)
        rgb.depth = 8
        rgb.pixels, rgb.row_bytes = pixels.ctypes.data, 4 * width
        _check(library, library.avifImageYUVToRGB(fields.image, rgb))
    finally:
        library.avifDecoderDestroy(decoder)
    mode = "RGBA" if image.mode == "RGBA" else "RGBX"
    return Image.frombuffer(mode, image.size, pixels, "raw", mode, 0, 1)


def _check(library: Any, result: int) -> None:
    if result != _OK:
        raise ValueError(library.avifResultToString(result).decode())
