"""JSON bodies: how deep they are, strict reading, and NaN where a protocol has it."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import orjson

from app.errors import BadRequest
from app.json_pieces import Parse, TooDeep, read_pieces
from app.slices import SLICE

_KEPT = b'[]{}"'
_OTHERS = bytes(sorted(set(range(256)) - set(_KEPT)))
_STEPS = np.zeros(256, np.int8)
_STEPS[[*b"[{"]] = 1
_STEPS[[*b"]}"]] = -1
# Texts, to pass them over, also one that does not end; and words in the place of a number.
_WORDS = re.compile(
    rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|(?<![-+.\w])NaN|(?<![+.\w])(?<![eE]-)Infinity', re.DOTALL
)


def read_json(data: bytes, max_depth: int, *, nan: bool = False) -> Any:
    """The value of a JSON text; a large one is read piece by piece.

    nan: whether NaN, Infinity and -Infinity are numbers, which the standard does not have and the
    clients of TensorFlow Serving and Triton write all the same. Raises ValueError, which says where
    the text breaks off, or BadRequest where it is nested deeper than `max_depth`.
    """
    parse: Parse = _with_nan if nan and _has_words(data) else orjson.loads
    if len(data) > SLICE:
        try:
            return read_pieces(data, max_depth, parse)
        except TooDeep:
            raise _too_deep(max_depth) from None
    check_depth(data, max_depth)
    return parse(data)


def check_depth(text: bytes, most: int) -> None:
    """Raises BadRequest where lists and objects are nested deeper than `most`. A text that is not
    JSON may pass.

    Only C reads all of the text: of 10 MB of numbers this takes a fifth of the time that parsing
    does, of texts full of quotes as long.
    """
    if text.count(b"[") + text.count(b"{") <= most:
        return
    if b"\\" in text:
        # A run of backslashes always begins with one that escapes.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = np.frombuffer(text.translate(None, _OTHERS), np.uint8)
    steps = _STEPS[marks]
    quotes = marks == ord('"')
    if quotes.any():
        steps[np.logical_xor.accumulate(quotes)] = 0
    if steps.cumsum(dtype=np.int32).max(initial=0) > most:
        raise _too_deep(most)


def _too_deep(most: int) -> BadRequest:
    return BadRequest(
        f"the body has lists or objects in more than {most} levels, the limit of this server "
        "(KERAPORT_MAX_JSON_DEPTH)"
    )


def _has_words(data: bytes) -> bool:
    return any(
        word in data[start : start + SLICE + 8]
        for start in range(0, len(data), SLICE)
        for word in (b"NaN", b"Infinity")
    )


def _with_nan(text: bytes) -> Any:
    # As JSON that it would be with numbers in their place: the same faults at the same places, and
    # nothing left that the other parser would take and this one refuses.
    orjson.loads(_WORDS.sub(_zero, text))
    return json.loads(text)


def _zero(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"0".ljust(len(found[0]))
