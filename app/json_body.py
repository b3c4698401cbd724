"""JSON bodies: the check of their depth, strict reading, and NaN for protocols that have it."""

from __future__ import annotations

import codecs
import json
import re
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.errors import LimitedBody
from app.json_pieces import Parse, TooDeep, read_pieces
from app.thread_slices import SLICE

_KEPT = b'[]{}"'
_OTHERS = bytes(sorted(set(range(256)) - set(_KEPT)))
_STEPS = np.zeros(256, np.int8)
_STEPS[[*b"[{"]] = 1
_STEPS[[*b"]}"]] = -1
# Texts, to pass them over, also one that does not end; and words in the place of a number.
_WORDS = re.compile(
    rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|(?<![-+.\w])NaN|(?<![+.\w])(?<![eE]-)Infinity', re.DOTALL
)

_STRANGE = (b"NaN", b"Infinity", b"-Infinity")
# What is wrong with a text in place of an object or a list.
ENCODED_TWICE = (
    "it is JSON that was encoded twice: send it with requests.post(url, json=row), not "
    "json=json.dumps(row)"
)
# How bodies begin that clients send for JSON: a part of a form, its first field, which is no base64
# either, and a value of Python.
_PART = re.compile(rb"--[^\r\n]{1,200}\r?\nContent-Disposition:", re.IGNORECASE)
_FIELD = re.compile(rb"[^\s={}\[\]\"',:]{1,200}=(?!=*\s*\Z)")
_PYTHON = re.compile(rb"[\[({]{1,9}\s*'")
_BEGINNING = 1000
_SEND = "send JSON, in Python with requests.post(url, json=row), not"
A_FORM = f"it is a form of fields: {_SEND} data=row"


def read_json(data: bytes, max_depth: int, *, nan: bool = False) -> Any:
    """Return the value of a JSON text; a large one is read piece by piece.

    data: UTF-8, with or without a BOM. nan: whether NaN, Infinity and -Infinity are numbers, which
    the standard does not have and the clients of TensorFlow Serving and Triton write all the same.
    Raises ValueError, which says where the text breaks off, or what it is in place of JSON, or
    BadRequest where it is nested deeper than `max_depth`.
    """
    data = without_bom(data)
    parse: Parse = _with_nan if nan and _has_words(data) else orjson.loads
    try:
        if len(data) > SLICE:
            return read_pieces(data, max_depth, parse)
        check_depth(data, max_depth)
        return parse(data)
    except TooDeep:
        raise _too_deep(max_depth) from None
    except ValueError:
        if (mistake := _mistake(data)) is not None:
            raise ValueError(mistake) from None
        raise


def without_bom(data: bytes) -> bytes:
    """Return a text without the byte-order mark that programs of Windows write before it."""
    return data.removeprefix(codecs.BOM_UTF8)


def is_wrapped(value: Any) -> bool:
    """Whether a value is a text that looks like an object or a list of JSON itself."""
    if not isinstance(value, str):
        return False
    ends = value[:100].lstrip()[:1] + value[-100:].rstrip()[-1:]
    return ends in ("{}", "[]")


def _mistake(data: bytes) -> str | None:
    """Return what a body that is no JSON is, where it is one of the usual mistakes."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it is UTF-16: expected UTF-8"
    begin = data[:_BEGINNING].lstrip()
    if _PART.match(begin) or _FIELD.match(begin):
        return A_FORM
    if _PYTHON.match(begin):
        return f"it has single quotes, as Python prints values: {_SEND} data=str(row)"
    return None


def write_json(value: Any) -> bytes:
    """JSON of a value, in which NumPy arrays and scalars are lists and numbers; NaN is `null`."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def write_numbers(numbers: NDArray[Any]) -> bytes:
    """JSON of an array or a NumPy scalar, with the words NaN, Infinity and -Infinity, which the
    standard does not have and TensorFlow Serving and Triton write all the same.

    numbers: contiguous, and of at least one dimension where it is an array.
    """
    text = write_json(numbers)
    if numbers.dtype.kind != "f" or (finite := np.isfinite(numbers)).all():
        return text
    strange = np.ravel(numbers)[~np.ravel(finite)]
    which = np.where(np.isnan(strange), 0, np.where(strange > 0, 1, 2))
    words = map(_STRANGE.__getitem__, which.tolist())
    # Nothing else in it is `null`.
    return b"".join(chain.from_iterable(zip_longest(text.split(b"null"), words, fillvalue=b"")))


def check_depth(text: bytes, most: int) -> None:
    """Raise BadRequest if lists and objects are nested deeper than `most`. A text that is not JSON
    may pass.

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


def _too_deep(most: int) -> LimitedBody:
    return LimitedBody(
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
