"""JSON with NaN, Infinity and -Infinity, which its standard does not have and the clients of
TensorFlow Serving and Triton write all the same."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from app.serving.depth import check_depth

# Texts, to pass them over, also one that does not end.
_WORDS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|NaN|Infinity', re.DOTALL)


def loads(body: bytes, max_depth: int) -> Any:
    """The value of a JSON text. Raises ValueError, which says where it breaks off, or BadRequest
    where it is nested deeper than `max_depth`."""
    check_depth(body, max_depth)
    if b"NaN" not in body and b"Infinity" not in body:
        return orjson.loads(body)
    # As JSON that it would be with numbers in their place: the same faults at the same places, and
    # nothing left that the other parser would take and this one refuses.
    orjson.loads(_WORDS.sub(_zero, body))
    return json.loads(body)


def _zero(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"0".ljust(len(found[0]))
