"""CSV as spreadsheets and programs write it."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.errors import BadRequest, Detail, InvalidInput

DELIMITERS = ",;\t"
# curl's -d leaves out the line ends of a file.
CURL_HINT = " (with curl, send the file with --data-binary, not -d)"


@dataclass(frozen=True, slots=True)
class CsvTable:
    """What a CSV holds. header: the names of all columns, `(column 3)` for one without.
    rows: the cells that are not empty, by name. lines: on which each row begins, counted from 1.
    """

    header: list[str]
    rows: list[dict[str, str]]
    lines: list[int]
    delimiter: str


def read_table(data: bytes, names: Sequence[str], max_rows: int = sys.maxsize) -> CsvTable:
    """The rows under a header that names at least one of `names`.

    UTF-8, with or without a BOM; comma, semicolon or tab; any line ends; blank lines do not count.
    Raises BadRequest, or InvalidInput where there are more than `max_rows`.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"this is no CSV text: byte {error.start} is not UTF-8. Expected a CSV, saved as UTF-8"
        ) from None
    delimiter = _delimiter(text, names)
    table = _table(text, delimiter, max_rows)
    expected = f"expected a line of field names ({','.join(names)}) and one line a row"
    if len(table) == 1:
        expected += f"; it is a single line{CURL_HINT}"
    cells = table[0][1] if table else []
    header = [name or f"(column {i + 1})" for i, name in enumerate(cells)]
    if header and not set(header) & set(names):
        raise BadRequest(f"the first line of the CSV names no field of this model: {expected}")
    if len(table) < 2:
        raise BadRequest(f"the CSV has no rows: {expected}")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise BadRequest(f"the first line of the CSV names {twice[0]!r} twice")
    rows = [_row(header, cells) for _, cells in table[1:]]
    return CsvTable(header, rows, [line for line, _ in table[1:]], delimiter)


def read_csv(data: bytes, names: Sequence[str], max_rows: int) -> list[dict[str, str]]:
    """The rows of `read_table`."""
    return read_table(data, names, max_rows).rows


def on_lines(details: list[Detail], lines: Sequence[int]) -> list[Detail]:
    """Problems of a CSV with the line instead of the row: `line 2: weight` for `[0].weight`.
    lines: of the table."""

    def on_line(found: re.Match[str]) -> str:
        return f"line {lines[int(found[1])]}: "

    return [replace(d, field=re.sub(r"^\[(\d+)\]\.?", on_line, d.field)) for d in details]


def _table(text: str, delimiter: str, max_rows: int) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, header first, as cells; with each where it begins. Raises
    InvalidInput at the first row too many."""
    lines = io.StringIO(text, newline=None)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    table: list[tuple[int, list[str]]] = []
    begin = 1
    try:
        for line in reader:
            cells = [cell.strip() for cell in line]
            if cells not in ([], [""]):
                if len(table) > max_rows:
                    raise InvalidInput(
                        f"the CSV has more than {max_rows:,} rows, the limit of one request "
                        "(KERAPORT_MAX_ROWS)"
                    )
                table.append((begin, cells))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise BadRequest(f"line {reader.line_num} of the CSV cannot be read: {error}") from None
    return table


def _delimiter(text: str, names: Sequence[str]) -> str:
    """The delimiter that makes most sense of the header; guesses from the data go wrong."""
    header = text.lstrip().partition("\n")[0].partition("\r")[0]

    def known(delimiter: str) -> int:
        cells = (cell.strip().strip('"') for cell in header.split(delimiter))
        return len(set(cells) & set(names))

    return max(DELIMITERS, key=known)


def _row(header: list[str], cells: list[str]) -> dict[str, str]:
    row = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    extra = [cell for cell in cells[len(header) :] if cell]
    if extra:
        row["(cells beyond the header)"] = ",".join(extra)
    return row
