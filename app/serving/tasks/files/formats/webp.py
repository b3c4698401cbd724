"""Still WebP pictures, decoded by libwebp itself.

Pillow reads every WebP as an animation: two canvases and a copy that it makes under the
interpreter's lock, 16 bytes a pixel and a tenth of a second for the largest.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, _webp

# The most bytes per pixel: RGBA, and the same again while a lossless picture is unpacked.
PIXEL_BYTES = 9
# webp/decode.h
_MODE_RGBA = 1
_OK, _SUSPENDED = 0, 5


@cache
def _library() -> Any:
    """libwebp as Pillow brings it along; None where it cannot be called."""
    try:
        library = ctypes.CDLL(_webp.__file__)
        library.WebPINewRGB.restype = ctypes.c_void_p
        library.WebPINewRGB.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int,
        ]
        library.WebPIAppend.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.WebPIDelete.argtypes = [ctypes.c_void_p]
        library.WebPIDelete.restype = None
    except (OSError, AttributeError):  # a Pillow that has libwebp built in
        return None
    return library


def is_still(image: Image.Image) -> bool:
    """Tell whether `still` can decode the picture."""
    return image.format == "WEBP" and not image.is_animated and _library() is not None  # type: ignore[attr-defined]


def still(image: Image.Image, file: BinaryIO, piece: int) -> Image.Image:
    """The pixels of an opened WebP as RGBA, or as RGBX where it is opaque.

    file: is read from its start, `piece` bytes at a time; what that raises ends the work. Raises
    ValueError where it is damaged.
    """
    library = _library()
    width, height = image.size
    pixels = np.zeros((height, width, 4), np.uint8)
    decoder = library.WebPINewRGB(_MODE_RGBA, pixels.ctypes.data, pixels.nbytes, 4 * width)
    if not decoder:
        raise MemoryError
    try:
        file.seek(0)
        status = _SUSPENDED
        while status == _SUSPENDED and (data := file.read(piece)):
            status = library.WebPIAppend(decoder, data, len(data))
    finally:
        library.WebPIDelete(decoder)
    if status != _OK:
        raise ValueError(f"libwebp ends with status {status}")
    mode = "RGBA" if image.mode == "RGBA" else "RGBX"
    return Image.frombuffer(mode, image.size, pixels, "raw", mode, 0, 1)
