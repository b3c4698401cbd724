"""Bytes in JSON as TensorFlow Serving writes them: `{"b64": text}`."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from app.slices import SLICE, checkpoint


def is_encoded(value: Any) -> bool:
    """Whether a value of JSON stands for bytes."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def decoded(value: Any) -> Any:
    """A value, or nested lists of values, with the bytes in place of what stands for them. Raises
    ValueError for what is not base64."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    return _bytes(value["b64"]) if is_encoded(value) else value


def _bytes(text: str) -> bytes:
    """What a text stands for, white space and padding aside; in slices."""
    slices = (text[at : at + SLICE] for at in range(0, len(text), SLICE))
    text = "".join("".join(part.split()) for part in slices).rstrip("=")
    text += "=" * (-len(text) % 4)
    parts = []
    for at in range(0, len(text), SLICE):
        part = text[at : at + SLICE]
        # Nothing follows a padding.
        if at + SLICE < len(text) and part.endswith("="):
            raise ValueError
        parts.append(b64decode(part, validate=True))
        checkpoint()
    return b"".join(parts)
