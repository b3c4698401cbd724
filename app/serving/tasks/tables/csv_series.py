"""A CSV whose lines are the rows of one series, in time order, with or without a header."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from app.errors import BadRequest, LimitedInput
from app.serving.limits import Limits
from app.serving.tasks.tables.csv_table import CURL_HINT, DELIMITERS, lines_of

# How tables write that a value is missing: no names of columns.
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """The last rows of a series: the line of each, counted from 1, and its cells in the order of
    the model's columns. count: of all rows."""

    rows: Sequence[tuple[int, list[str]]]
    count: int


def read_series(
    data: bytes, names: Sequence[str], columns: int, most: int | None, limits: Limits
) -> SeriesTable:
    """Read a CSV as spreadsheets write it.

    names: of the columns, which a header may have in any order, among others; empty if they have
    none. columns: their number. most: the last rows to keep; None for all. Raises BadRequest where
    it cannot be read, InvalidInput above the limit on rows.
    """
    _, table = lines_of(data, lambda header: _best_delimiter(header, names, columns))
    first = next(table, None)
    if first is None:
        raise BadRequest(f"the CSV is empty: expected {_expected(names, columns)}")
    at: Sequence[int] | None = None
    if _is_header(first[1]):
        at = _places(first[1], names, columns)
        rows: Iterator[tuple[int, list[str]]] = table
    else:
        rows = chain([first], table)
    kept: deque[tuple[int, list[str]]] = deque(maxlen=most)
    count = 0
    for line, cells in rows:
        count += 1
        if count > limits.max_rows:
            raise LimitedInput(
                f"the CSV has more than {limits.max_rows:,} rows, the limit of one request "
                "(KERAPORT_MAX_ROWS)"
            )
        kept.append((line, cells if at is None else [_cell(cells, i) for i in at]))
    if not count:
        raise BadRequest(f"the CSV has no rows: expected {_expected(names, columns)}{CURL_HINT}")
    return SeriesTable(kept, count)


def _expected(names: Sequence[str], columns: int) -> str:
    if names:
        return f"lines of {','.join(names)}, with or without these names in the first"
    return f"lines of {columns} number{'s' if columns > 1 else ''}"


def _best_delimiter(header: str, names: Sequence[str], columns: int) -> str:
    """The delimiter that makes most sense of the first line."""

    def sense(delimiter: str) -> tuple[int, bool]:
        cells = [cell.strip().strip('"') for cell in header.split(delimiter)]
        return len(set(cells) & set(names)), len(cells) == columns

    return max(DELIMITERS, key=sense)


def _is_header(cells: Sequence[str]) -> bool:
    """Whether no cell of the first line is a number, or says that one is missing; the first cell
    may be empty, as above the index of a table of pandas."""
    missing = any(cell.lower() in _MISSING for cell in cells[1:] or cells)
    return not missing and not any(map(_is_number, cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _places(header: Sequence[str], names: Sequence[str], columns: int) -> Sequence[int]:
    """Where the model's columns are. Raises BadRequest."""
    if names:
        missing = [name for name in names if name not in header]
        if missing:
            raise BadRequest(
                f"the first line of the CSV lacks {', '.join(missing)}: expected "
                f"{_expected(names, columns)}"
            )
        twice = next((name for name in names if header.count(name) > 1), None)
        if twice is not None:
            raise BadRequest(f"the first line of the CSV names {twice!r} twice")
        return [header.index(name) for name in names]
    if len(header) != columns:
        raise BadRequest(
            f"the first line of the CSV has {len(header)} names: expected "
            f"{_expected(names, columns)}; 'columns' in the card of the model would say which"
        )
    return range(columns)


def _cell(cells: Sequence[str], i: int) -> str:
    return cells[i] if i < len(cells) else ""
