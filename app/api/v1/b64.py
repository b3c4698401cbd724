"""Bytes in JSON as TensorFlow Serving writes them: `{"b64": text}`."""

from __future__ import annotations

from typing import Any

from app.serving.base64_text import decode_base64, is_data_url


def is_encoded(value: Any) -> bool:
    """Whether a value of JSON stands for bytes."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def is_file_url(value: Any) -> bool:
    """Whether a value is a data URL, which stands for a file where an input takes files."""
    return isinstance(value, str) and is_data_url(value)


def decoded(value: Any, *, urls: bool = False) -> Any:
    """Return a value, or nested lists of values, with the bytes in place of what stands for them.

    urls: whether a data URL alone does. Raises ValueError for what is not base64.
    """
    if isinstance(value, list):
        return [decoded(item, urls=urls) for item in value]
    if is_encoded(value):
        return decode_base64(value["b64"])
    return decode_base64(value) if urls and is_file_url(value) else value
