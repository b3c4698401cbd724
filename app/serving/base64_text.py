"""Bytes as texts: base64 and data URLs, decoded in slices."""

from __future__ import annotations

from binascii import a2b_base64

from app.thread_slices import SLICE, checkpoint

_SPACE = b" \t\r\n\f\v"
# The alphabet of RFC 4648, section 5, as that of section 4. Padding is cut off before: any other
# is wrong.
_PLAIN = bytes.maketrans(b"-_=", b"+/.")
# A media type is shorter.
_LONGEST_HEAD = 1000


def is_data_url(text: str) -> bool:
    """Whether a text begins as a data URL does."""
    return text[:5].lower() == "data:"


def decode_base64(text: str) -> bytes:
    """Return the bytes that base64, or a data URL in base64, stands for.

    Takes the plain alphabet and the web-safe one, with or without padding, and white space as MIME
    has it (RFC 4648, sections 4 and 5; RFC 2397). Raises ValueError for any other text, which says
    why.
    """
    start = 0
    if is_data_url(text):
        start = text.find(",", 0, _LONGEST_HEAD) + 1
        if not text[:start].lower().endswith(";base64,"):
            raise ValueError("a data URL without ';base64,'")
    text = text.rstrip("= \t\r\n\f\v")
    parts: list[bytes] = []
    left = b""
    try:
        for at in range(start, len(text), SLICE):
            part = left + text[at : at + SLICE].encode("ascii").translate(_PLAIN, _SPACE)
            whole = len(part) // 4 * 4
            parts.append(a2b_base64(part[:whole], strict_mode=True))
            left = part[whole:]
            checkpoint()
        if left:
            parts.append(a2b_base64(left.ljust(4, b"="), strict_mode=True))
    except ValueError:
        raise ValueError("not base64") from None
    checkpoint()  # of many short texts
    return b"".join(parts)
