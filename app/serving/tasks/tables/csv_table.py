"""CSV as spreadsheets and programs write it."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import NoReturn

from app.errors import BadRequest, Detail, LimitedInput
from app.serving.limits import Limits
from app.thread_slices import SLICE, checkpoint

DELIMITERS = ",;\t"
CURL_HINT = " (curl's -d removes the line breaks of a file: use --data-binary)"
# The name of cells for which the header has none.
BEYOND = "(cells beyond the header)"
# Characters of a line, at least: it is read in one go, before other threads get a turn.
MAX_LINE = 500_000
LINE_A_FIELD = 100


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The contents of a CSV. header: the names of all columns, `(column 3)` for one without. rows:
    the cells that are not empty, by name. lines: on which each row begins, counted from 1."""

    header: list[str]
    rows: list[dict[str, str]]
    lines: list[int]
    delimiter: str


def read_table(data: bytes, names: Sequence[str], limits: Limits) -> CsvTable:
    """The rows under a header that names at least one of `names`.

    UTF-8, with or without a BOM; comma, semicolon or tab; any line ends; blank lines do not count.
    limits: on its rows, and on its columns given the number of names. Raises BadRequest, or
    InvalidInput if there are too many rows.
    """
    most = max(MAX_LINE, LINE_A_FIELD * len(names))
    delimiter, table = lines_of(data, partial(_delimiter, names), most)
    expected = f"expected a line of field names ({','.join(names)}) and one line per row"
    first, second = next(table, None), next(table, None)
    if first and not second:
        expected += f"; found a single line{CURL_HINT}"
    header = _header(first[1], names, limits, expected) if first else []
    if not second:
        raise BadRequest(f"the CSV has no rows: {expected}")
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    for line, cells in chain([second], table):
        if len(rows) == limits.max_rows:
            raise LimitedInput(
                f"the CSV has more than {limits.max_rows:,} rows, the limit of one request "
                "(KERAPORT_MAX_ROWS)"
            )
        rows.append(_row(header, cells))
        lines.append(line)
    return CsvTable(header, rows, lines, delimiter)


def nameless(place: int) -> str:
    """Return what a column without a name is called. place: counted from 0."""
    return f"(column {place + 1})"


def lines_of(
    data: bytes, choose: Callable[[str], str], most: int = MAX_LINE
) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """Return the delimiter, and the lines that are not blank, as cells, with each where it begins,
    counted from 1.

    choose: finds the delimiter by the first line. most: characters of a line. Raises BadRequest,
    while it is iterated over as well.
    """
    slices = _slices(data)
    delimiter = choose(_first_line(slices, most))
    return delimiter, _table(_Lines(slices, most), delimiter)


def on_lines(details: list[Detail], lines: Sequence[int]) -> list[Detail]:
    """Problems of a CSV with the line instead of the row: `line 2: weight` for `[0].weight`.
    lines: of the table."""

    def on_line(found: re.Match[str]) -> str:
        return f"line {lines[int(found[1])]}: "

    return [replace(d, field=re.sub(r"^\[(\d+)\]\.?", on_line, d.field)) for d in details]


class _Lines:
    """The lines of a text that comes in slices, each with a line feed at its end.

    number: of the line that was read last, counted from 1. most: characters of a line. Raises
    BadRequest at a longer one.
    """

    def __init__(self, slices: Sequence[str], most: int) -> None:
        self._slices = iter(slices)
        self._most = most
        # The lines of the slice at hand, how many of them were read, and the one that is not whole.
        self._lines: list[str] = []
        self._read = 0
        self._rest = ""
        self._before = 0

    @property
    def number(self) -> int:
        return self._before + self._read

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while self._read == len(self._lines):
            if not self._next_slice():
                raise StopIteration
        line = self._lines[self._read]
        self._read += 1
        if len(line) > self._most:
            self._refuse()
        return line + "\n"

    def skip_blank(self, delimiter: str) -> None:
        """Pass over lines of white space."""
        while True:
            lines, i = self._lines, self._read
            while i < len(lines) and not (lines[i] and (lines[i].strip() or delimiter in lines[i])):
                i += 1
            self._read = i
            if i < len(lines) or not self._next_slice():
                return

    def _next_slice(self) -> bool:
        checkpoint()
        if len(self._rest) > self._most:
            self._read += 1
            self._refuse()
        part = next(self._slices, None)
        if part is None and not self._rest:
            return False
        self._before += len(self._lines)
        self._read = 0
        text = self._rest + (part or "")
        # The line feed that belongs to it may come with the next slice.
        held = "\r" if part is not None and text.endswith("\r") else ""
        text = text[: len(text) - len(held)].replace("\r\n", "\n").replace("\r", "\n")
        self._lines = text.split("\n")
        self._rest = self._lines.pop() + held
        if part is None and self._rest:
            self._lines.append(self._rest)
            self._rest = ""
        return True

    def _refuse(self) -> NoReturn:
        raise BadRequest(
            f"line {self.number} of the CSV has more than {self._most:,} characters, the most that "
            "a line may have"
        )


def _slices(data: bytes) -> list[str]:
    """The text in slices, without a BOM. Raises BadRequest where it is not UTF-8."""
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    slices = []
    for at in range(start, max(len(data), 1), SLICE):
        begin = at - len(decoder.getstate()[0])
        try:
            slices.append(decoder.decode(data[at : at + SLICE], at + SLICE >= len(data)))
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"this is no CSV text: byte {begin + error.start} is not UTF-8. Expected a CSV, "
                "saved as UTF-8"
            ) from None
        checkpoint()
    return slices


def _table(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, header first, as cells; with each where it begins."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        lines.skip_blank(delimiter)
        begin = lines.number + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise BadRequest(f"line {lines.number} of the CSV cannot be read: {error}") from None
        if cells not in ([], [""]):
            yield begin, cells


def _first_line(slices: Sequence[str], most: int) -> str:
    """The first line that is not blank."""
    text = ""
    for part in slices:
        text = (text + part).lstrip()
        if "\n" in text or "\r" in text or len(text) > most:
            break
    return text.partition("\n")[0].partition("\r")[0]


def _delimiter(names: Sequence[str], header: str) -> str:
    """The delimiter that makes most sense of the header; guesses from the data go wrong."""

    def known(delimiter: str) -> int:
        cells = (cell.strip().strip('"') for cell in header.split(delimiter))
        return len(set(cells) & set(names))

    return max(DELIMITERS, key=known)


def _header(cells: Sequence[str], names: Sequence[str], limits: Limits, expected: str) -> list[str]:
    """The names of the columns. Raises BadRequest."""
    most = limits.columns(len(names))
    if len(cells) > most:
        raise BadRequest(
            f"the first line of the CSV has {len(cells):,} columns, the limit for this model is "
            f"{most:,}: {expected}"
        )
    header = [name or nameless(i) for i, name in enumerate(cells)]
    if not set(header) & set(names):
        raise BadRequest(f"the first line of the CSV names no field of this model: {expected}")
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise BadRequest(f"the first line of the CSV names {name!r} twice")
        seen.add(name)
    return header


def _row(header: list[str], cells: list[str]) -> dict[str, str]:
    row = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    extra = [cell for cell in cells[len(header) :] if cell]
    if extra:
        row[BEYOND] = ",".join(extra)
    return row
