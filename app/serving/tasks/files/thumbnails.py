"""Small pictures for pages."""

from __future__ import annotations

import io

from PIL import Image

from app.serving.tasks.files.pictures import PictureSpec, opened

# Pixels of a side: twice what pages show, for fine screens.
SIDE = 192
QUALITY = 75


def thumbnail(data: bytes, max_pixels: int) -> tuple[str, bytes]:
    """Return the media type of a picture, and its middle as a small WebP. Thread-safe. Raises
    UnreadablePicture."""
    spec = PictureSpec((SIDE, SIDE), "RGB", "crop", max_pixels)
    with opened(io.BytesIO(data), spec) as picture:
        media_type = picture.media_type
        pixels = picture.decode()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=QUALITY)
    return media_type, out.getvalue()
