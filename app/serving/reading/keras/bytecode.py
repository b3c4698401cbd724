"""Detects the Python version that wrote the bytecode of a lambda.

Keras saves `marshal.dumps(function.__code__)`. Another version of Python crashes on it, or computes
something else. So the version is determined from the layout (Python/marshal.c and the opcodes of
each version), without unmarshalling anything.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

PythonVersion = tuple[int, int]

# Offset of the instructions: after the tag of the code object and its four to six integers.
_AFTER_FOUR, _AFTER_FIVE, _AFTER_SIX = 17, 21, 25
# The tags of a string, and of a string that is referenced later.
_STRING_TAGS = (b"s", b"\xf3")
_CODE_TAGS = (b"c", b"\xe3")
_WORD = 2
# The opcode of RESUME, by version. 151 comes first: in closures of 3.11, 149 precedes it.
_RESUME = {151: ((3, 11), (3, 12)), 149: ((3, 13),), 128: ((3, 14),)}
# Differences between these two: opcodes that only one of them has, and the number of cache words
# after those that both have (`opcode._inline_cache_entries`).
_ONLY = {
    (3, 11): {70, 82, 84, 86, 88, 112, 148, 160, 166},
    (3, 12): {3, 4, 5, 17, 26, 27, 55, 121, 127, 141, 143, 150},
}
_CACHES: Mapping[PythonVersion, Mapping[int, int]] = {
    (3, 11): {25: 4, 60: 1, 92: 1, 95: 4, 106: 4, 107: 2, 116: 5, 122: 1, 160: 10, 166: 1, 171: 4},
    (3, 12): {25: 1, 60: 1, 92: 1, 93: 1, 95: 4, 106: 9, 107: 1, 116: 4, 122: 1, 123: 1, 141: 1}
    | {171: 3},
}


def python_versions(code: str) -> tuple[PythonVersion, ...]:
    """Return the versions of Python that may have written `code`, a string in a Keras
    configuration; empty if unknown. (3, 5) stands for 3.5 and all earlier versions of 3."""
    try:
        data = base64.b64decode(code.encode("ascii"), validate=False)
    except (UnicodeEncodeError, binascii.Error):
        data = b""
    if data[:1] not in _CODE_TAGS:  # Keras before 2.1 wrote it without base64
        data = code.encode("raw_unicode_escape")
    if data[:1] not in _CODE_TAGS:
        return ()
    if data[_AFTER_SIX : _AFTER_SIX + 1] in _STRING_TAGS and _fits(data, _AFTER_SIX):
        return _of_3_8_to_3_10(data)
    if data[_AFTER_FIVE : _AFTER_FIVE + 1] in _STRING_TAGS and _fits(data, _AFTER_FIVE):
        return _with_five_numbers(_text(data, _AFTER_FIVE))
    if data[_AFTER_FOUR : _AFTER_FOUR + 1] == b"s" and _fits(data, _AFTER_FOUR):
        return ((2, 7),)
    return ()


def _fits(data: bytes, at: int) -> bool:
    size = int.from_bytes(data[at + 1 : at + 5], "little")
    return 0 < size <= len(data) - at - 5


def _text(data: bytes, at: int) -> bytes:
    size = int.from_bytes(data[at + 1 : at + 5], "little")
    return data[at + 5 : at + 5 + size]


def _of_3_8_to_3_10(data: bytes) -> tuple[PythonVersion, ...]:
    """Tell 3.8 to 3.10 apart by the line table, which comes last: only 3.10 has an entry for a
    single line."""
    if data[-4:] == bytes(4):
        return ((3, 8), (3, 9))
    if data[-6:-2] == b"\x02\0\0\0":
        return ((3, 10),)
    return ((3, 8), (3, 9), (3, 10))


def _with_five_numbers(code: bytes) -> tuple[PythonVersion, ...]:
    """Tell versions with five integers apart: up to 3.7, and since 3.11, which begin with a
    RESUME."""
    start = code[: 4 * _WORD : _WORD]
    found = next((versions for op, versions in _RESUME.items() if op in start), None)
    if found is None:
        # Since 3.6, instructions have two bytes: RETURN_VALUE has an argument of 0.
        return ((3, 6), (3, 7)) if code[-2:] == b"S\0" else ((3, 5),)
    if len(found) == 1:
        return found
    return tuple(version for version in found if _is_valid(code, version)) or found


def _is_valid(code: bytes, version: PythonVersion) -> bool:
    """Tell whether that version of Python has every instruction of the code."""
    (other,) = _ONLY.keys() - {version}
    at = 0
    while at < len(code):
        op = code[at]
        caches = _CACHES[version].get(op, 0)
        if op == 0 or op in _ONLY[other] or any(code[at + 2 : at + 2 + 2 * caches]):
            return False
        at += _WORD * (1 + caches)
    return True


def in_words(versions: tuple[PythonVersion, ...]) -> str:
    """Return versions as text, such as `Python 3.6 or 3.7`."""
    names = [f"{major}.{minor}" for major, minor in versions]
    if versions == ((3, 5),):
        return "Python 3.5 or older"
    return f"Python {' or '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)}"
