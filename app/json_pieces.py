"""Parsing of large JSON texts, piece by piece.

A JSON parser holds Python's interpreter lock: one call on 16 MB stops all other threads for 150 to
1,500 ms. `read_pieces` finds the structure of a text block by block with NumPy, lets orjson parse
what is complete at the end of each block, and joins the parts. Values and errors are those of a
single call.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray

from app.errors import BadRequest
from app.thread_slices import SLICE, checkpoint, free_afterwards

_SPACE = b" \t\r\n"
_COMMA, _QUOTE, _BACKSLASH = b',"\\'
_OPENING, _CLOSING = b"[{", b"]}"
_NOTED = np.zeros(256, np.bool_)
_NOTED[[*b'[]{},"\\']] = True
_STEPS = np.zeros(256, np.int32)
_STEPS[[*_OPENING]] = 1
_STEPS[[*_CLOSING]] = -1
# The longest part of a string that ends on a character boundary. Surrogate pairs stay together.
_CHARACTERS = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB]..\\u....|\\u(?![dD][89abAB])....|\\[^u])*+", re.DOTALL
)
# Continuation bytes of UTF-8.
_FOLLOWING = bytes(range(0x80, 0xC0))
# Names of one object: a dictionary that doubles its table stops all threads.
MAX_NAMES = 100_000
# Bytes after an error that its message may depend on.
_AHEAD = 16

Parse = Callable[[bytes], Any]


class Marks(NamedTuple):
    """Brackets and commas outside strings: their positions, their bytes, and the depth after
    each."""

    at: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    depths: NDArray[np.int64]


class _Scanner:
    """Finds the marks of a text, block by block."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._depth = 0
        self._odd = False  # the previous block ends with an odd number of backslashes
        self._in_text = False
        self._quote = -1
        # The string that began before the last block and ended in it, by the positions of its
        # quotes.
        self.ended: tuple[int, int] | None = None

    def scan(self, start: int, end: int) -> Marks:
        """Return the marks in a block, which begins where the previous one ended."""
        block = np.frombuffer(self._data, np.uint8, end - start, start)
        at = np.flatnonzero(_NOTED[block])
        kinds = block[at]
        if self._odd or (kinds == _BACKSLASH).any():
            at, kinds = self._unescaped(at, kinds, end - start)
        at += start
        quotes = kinds == _QUOTE
        found = at[quotes]
        self.ended = None
        if found.size:
            if self._in_text:
                self.ended = (self._quote, int(found[0]))
            outside = np.logical_xor.accumulate(quotes) == self._in_text
            self._in_text ^= bool(found.size % 2)
            self._quote = int(found[-1])
            outside &= ~quotes
            at, kinds = at[outside], kinds[outside]
        elif self._in_text:
            at, kinds = at[:0], kinds[:0]
        depths = _STEPS[kinds].cumsum(dtype=np.int64)
        depths += self._depth
        if depths.size:
            self._depth = int(depths[-1])
        return Marks(at, kinds, depths)

    def _unescaped(
        self, at: NDArray[np.int64], kinds: NDArray[np.uint8], size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Drop backslashes, and the quotes that they escape."""
        if self._odd:
            at = np.concatenate(([-1], at))
            kinds = np.concatenate((np.array([_BACKSLASH], np.uint8), kinds))
        slashes = kinds == _BACKSLASH
        behind = np.zeros(at.size, np.bool_)
        behind[1:] = slashes[:-1] & (np.diff(at) == 1)
        # Where the run of backslashes begins that contains an entry, or ends just before it.
        first = np.maximum.accumulate(np.where(slashes & ~behind, at, -2))
        escaped = np.zeros(at.size, np.bool_)
        escaped[1:] = behind[1:] & ((at[1:] - first[:-1]) % 2 == 1)
        self._odd = bool(slashes[-1] and at[-1] == size - 1 and (size - first[-1]) % 2)
        kept = ~slashes & ~(escaped & (kinds == _QUOTE))
        return at[kept], kinds[kept]


def read_pieces(data: bytes, max_depth: int, parse: Parse, block: int = SLICE) -> Any:
    """Parse a JSON text in pieces. Return what `parse` returns for the whole text.

    parse: parses a part; raises orjson.JSONDecodeError. block: bytes given to it at once, or
    slightly more. Raises ValueError with the message of `parse`, TooDeep if lists and objects are
    nested more than `max_depth` levels deep, or BadRequest if an object has more than MAX_NAMES
    names.
    """
    _check_encoding(data)
    start = _skip_space(data, 0)
    if data[start : start + 1] not in (b"[", b"{"):
        return parse(data)
    return _Reader(data, max_depth, parse, block).read(start)


class TooDeep(ValueError):
    """Lists and objects are nested more deeply than allowed."""


class _Reader:
    """Reads one list or object, in the order of the text."""

    def __init__(self, data: bytes, max_depth: int, parse: Parse, block: int) -> None:
        self._data = data
        self._max_depth = max_depth
        self._parse = parse
        self._block = block
        self._scanner = _Scanner(data)
        # The open lists and objects, the outermost first.
        self._open: list[Any] = []
        # Everything before `_at` has been read. fresh: nothing of the innermost container has been.
        self._at = 0
        self._fresh = True

    def read(self, start: int) -> Any:
        """Return the value that begins with the bracket at `start`."""
        data, scanner = self._data, self._scanner
        value: Any = [] if data[start] == _OPENING[0] else {}
        self._open.append(value)
        self._at = start + 1
        scanner.scan(start, start + 1)
        for begin in range(start + 1, len(data), self._block):
            end = min(begin + self._block, len(data))
            marks = scanner.scan(begin, end)
            if marks.depths.max(initial=1) > self._max_depth:
                raise TooDeep
            if scanner.ended and scanner.ended[1] - scanner.ended[0] > self._block:
                self._take_text(*scanner.ended)
            if marks.at.size:
                self._take(marks)
            if not self._open:
                break
            checkpoint()
        if self._open:
            self._fail(len(data))
        self._check_end()
        return value

    def _take(self, marks: Marks) -> None:
        """Add what is complete in a block, down to the innermost container still open at its
        end."""
        at, kinds, depths = marks
        lowest = np.minimum.accumulate(depths)
        i = 0
        while len(self._open) > lowest[-1]:
            i = int(np.searchsorted(-lowest, 1 - len(self._open)))
            self._close(int(at[i]), int(kinds[i]))
            i += 1
            if not self._open:
                return
        level = len(self._open)
        # The least depth from each mark to the end of the block.
        floors = np.minimum.accumulate(depths[::-1])[::-1]
        while True:
            end = int(np.searchsorted(floors, level + 1))
            commas = (kinds[i:end] == _COMMA) & (depths[i:end] == level)
            found = np.flatnonzero(commas)
            if found.size:
                self._extend(int(at[i + found[-1]]))
            if end == at.size:
                return
            self._descend(int(at[end]))
            i, level = end + 1, level + 1

    def _extend(self, end: int) -> None:
        """Add the elements before `end`, where there is a comma or a closing bracket."""
        part = self._part(end)
        if part:
            container = self._open[-1]
            if isinstance(container, list):
                more = self._parsed(b"[", part, b"]", end)
                container += more
            else:
                more = self._parsed(b"{", part, b"}", end)
                container.update(more)
                if len(container) > MAX_NAMES:
                    raise BadRequest(
                        f"an object in the body has more than {MAX_NAMES:,} names, the limit of "
                        "this server"
                    )
            free_afterwards(container, len(more))
        elif not self._fresh or self._data[end] != _COMMA:
            return
        else:
            self._fail(end)
        self._at, self._fresh = end, False

    def _close(self, end: int, kind: int) -> None:
        """Add the rest of the innermost list or object, and close it."""
        self._extend(end)
        if kind != _CLOSING[isinstance(self._open[-1], dict)]:
            self._fail(end)
        self._open.pop()
        self._at, self._fresh = end + 1, False

    def _descend(self, end: int) -> None:
        """Open the list or object whose bracket is at `end`, under its key if it has one."""
        part = self._part(end + 1)
        closing = b"]" if self._data[end] == _OPENING[0] else b"}"
        container = self._open[-1]
        if isinstance(container, list):
            (value,) = self._parsed(b"[", part, closing + b"]", end)
            container.append(value)
        else:
            ((key, value),) = self._parsed(b"{", part, closing + b"}", end).items()
            container[key] = value
        free_afterwards(container, 1)
        self._open.append(value)
        self._at, self._fresh = end + 1, True

    def _part(self, end: int) -> bytes:
        """Return the text before `end`, without the comma after the previous element."""
        part = self._data[self._at : end].strip(_SPACE)
        if self._fresh or not part:
            return part
        if part[0] != _COMMA:
            self._fail(end)
        # An element must follow the comma.
        return part[1:].strip(_SPACE) or self._fail(end)

    def _parsed(self, before: bytes, part: bytes, after: bytes, end: int) -> Any:
        try:
            return self._parse(before + part + after)
        except orjson.JSONDecodeError:
            self._fail(end)

    def _take_text(self, start: int, end: int) -> None:
        """Add a long string in slices, unless it is a key. start, end: its quotes."""
        container = self._open[-1]
        before = self._data[self._at : start].strip(_SPACE)
        if not self._fresh:
            if before[:1] != b",":
                return
            before = before[1:]
        try:
            if isinstance(container, list):
                () = before.split()
            else:
                (key,) = self._parse(b"{" + before + b'""}')
        except ValueError:
            return
        parts = []
        at, size = start + 1, max(self._block, _AHEAD)
        while at < end:
            stop = cut = _before_character(self._data, min(at + size, end))
            if cut < end:
                found = _CHARACTERS.match(self._data, at, cut)
                cut = found.end() if found else at
            try:
                parts.append(self._parse(b'"' + self._data[at:cut] + b'"'))
            except orjson.JSONDecodeError:
                cut = at
            if cut == at:
                self._raise_error(at, stop, b'"')
            at = cut
            checkpoint()
        text = "".join(parts)
        if isinstance(container, list):
            container.append(text)
        else:
            container[key] = text
        self._at, self._fresh = end + 1, False

    def _check_end(self) -> None:
        at = _skip_space(self._data, self._at)
        if at < len(self._data):
            self._raise_error(at, at + 1, b"[]")

    def _fail(self, end: int) -> NoReturn:
        """Raise ValueError for what is wrong before or at `end`."""
        if isinstance(self._open[-1], list):
            before = b"[" if self._fresh else b"[[]"
        else:
            before = b"{" if self._fresh else b'{"":[]'
        self._raise_error(self._at, end, before)

    def _raise_error(self, start: int, end: int, before: bytes) -> NoReturn:
        """Raise ValueError for what is wrong with data[start:end] or at `end`, with its position in
        the whole text.

        before: stands in for everything before `start`.
        """
        data = self._data
        part = data[start : _before_character(data, min(end + _AHEAD, len(data)))]
        try:
            self._parse(before + part)
        except orjson.JSONDecodeError as error:
            at = start + len(part.decode()[: error.pos - len(before)].encode())
            line = data.count(b"\n", 0, at) + 1
            begin = data.rfind(b"\n", 0, at) + 1
            column, char = _characters(data, begin, at) + 1, _characters(data, 0, at)
            raise ValueError(f"{error.msg}: line {line} column {column} (char {char})") from None
        raise AssertionError("a part that cannot be read is no JSON")


def _check_encoding(data: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), SLICE):
            decoder.decode(data[start : start + SLICE])
            checkpoint()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        # Its message says that the text is not UTF-8.
        orjson.loads(b"\xff")


def _skip_space(data: bytes, start: int) -> int:
    """Return the position of the first byte that is not white space."""
    for begin in range(start, len(data), SLICE):
        part = data[begin : begin + SLICE]
        if rest := part.lstrip(_SPACE):
            return begin + len(part) - len(rest)
    return len(data)


def _before_character(data: bytes, at: int) -> int:
    """Return `at`, or the start of the character that it lies within."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _characters(data: bytes, start: int, end: int) -> int:
    return sum(
        len(data[at : min(at + SLICE, end)].translate(None, _FOLLOWING))
        for at in range(start, end, SLICE)
    )
