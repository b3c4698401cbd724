"""Lines that native code writes to descriptor 2, with the level that each has by its own words.

Only the standard library: the supervisor, which imports this, stays small.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A longer line, or one without an end, becomes several.
LONGEST = 8_000
# What TensorFlow 2.21 prints whatever its log level says: notes on every import, and, on CPUs with
# AVX-512 as well, that oneDNN leaves operations on booleans and whole numbers to Eigen.
_CHATTER = re.compile(
    rb"absl::InitializeLog|oneDNN custom operations|cpu_feature_guard|rebuild Tens"
    rb"|oneDNN supports DT_(?:BOOL|INT32) only"
)
# absl, as in "E0000 00:00:1764379603.1   12345 util.cc:131] words", and TensorFlow before it, as in
# "2026-11-29 01:26:03.1: E tensorflow/core/util/util.cc:131] words".
_PREFIX = re.compile(
    rb"(?:([IWEF])\d{4} \d\d:\d\d:[\d.]+\s+\d+|"
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ([IWEF])) ([^\s:\]]+:\d+)\] "
)
_LEVELS = {b"I": "info", b"W": "warning", b"E": "error", b"F": "critical"}
# Libraries that write no letter for the level; all others are warnings.
_OTHER_LEVELS = (
    (re.compile(rb"Fatal Python error: |terminate called "), "critical"),
    (re.compile(rb"Error: "), "error"),  # click's, where the process cannot start
)


@dataclass(frozen=True, slots=True)
class NativeLine:
    """One line, or a part of one. level: of the log. text: without the prefix of absl or
    TensorFlow. source: the file and line of C++ that the prefix names. continues: whether this is
    another part of the line before."""

    level: str
    text: str
    source: str | None = None
    continues: bool = False


def is_chatter(line: bytes) -> bool:
    """Whether a line is known to mean nothing."""
    return _CHATTER.search(line) is not None


class NativeOutput:
    """Cuts what was written, in pieces of any size, into lines. Bytes that are not UTF-8 are shown
    by their codes; empty lines and chatter are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._level: str | None = None  # of the line whose first part is out

    def feed(self, data: bytes) -> list[NativeLine]:
        """Return the lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines: list[NativeLine] = []
        for line in whole:
            self._cut(self._shortened(line, lines), lines)
            self._level = None
        self._rest = self._shortened(self._rest, lines)
        return lines

    def end(self) -> list[NativeLine]:
        """Return what is left of a line that has no end."""
        lines: list[NativeLine] = []
        self._cut(self._rest, lines)
        self._rest, self._level = b"", None
        return lines

    def _shortened(self, line: bytes, lines: list[NativeLine]) -> bytes:
        """Move parts of a line that is too long to `lines`; what is left of it."""
        start = 0
        while len(line) - start > LONGEST:
            end = start + LONGEST
            while end > start + LONGEST - 4 and line[end] & 0xC0 == 0x80:  # within a character
                end -= 1
            self._cut(line[start:end], lines)
            start = end
        return line[start:]

    def _cut(self, part: bytes, lines: list[NativeLine]) -> None:
        part = part.removesuffix(b"\r")
        if self._level is not None:
            if part:
                lines.append(NativeLine(self._level, _decoded(part), continues=True))
        elif part.strip() and not is_chatter(part):
            lines.append(_parsed(part))
            self._level = lines[-1].level


def _parsed(line: bytes) -> NativeLine:
    if found := _PREFIX.match(line):
        letter, source = found[1] or found[2], found[3]
        return NativeLine(_LEVELS[letter], _decoded(line[found.end() :]), _decoded(source))
    levels = (level for pattern, level in _OTHER_LEVELS if pattern.match(line))
    return NativeLine(next(levels, "warning"), _decoded(line))


def _decoded(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
