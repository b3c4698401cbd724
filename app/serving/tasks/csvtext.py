"""CSV as spreadsheets and programs write it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from app.errors import BadRequest

DELIMITERS = ",;\t"
# curl's -d leaves out the line ends of a file.
CURL_HINT = " (with curl, send the file with --data-binary, not -d)"


def read_csv(data: bytes, names: Sequence[str]) -> list[dict[str, str]]:
    """The rows under a header that names at least one of `names`; empty cells are left out.

    UTF-8, with or without a BOM; comma, semicolon or tab; any line ends; blank lines do not count.
    Raises BadRequest.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"this is no CSV text: byte {error.start} is not UTF-8. Expected a CSV, saved as UTF-8"
        ) from None
    table = [cells for _, cells in _table(text, names)]
    expected = f"expected a line of field names ({','.join(names)}) and one line a row"
    if len(table) == 1:
        expected += f"; it is a single line{CURL_HINT}"
    header = [name or f"(column {i + 1})" for i, name in enumerate(table[0] if table else [])]
    if header and not set(header) & set(names):
        raise BadRequest(f"the first line of the CSV names no field of this model: {expected}")
    if len(table) < 2:
        raise BadRequest(f"the CSV has no rows: {expected}")
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise BadRequest(f"the first line of the CSV names {twice[0]!r} twice")
    return [_row(header, cells) for cells in table[1:]]


def row_lines(data: bytes, names: Sequence[str]) -> list[int]:
    """The line on which each row of `read_csv` begins, counted from 1. For a CSV that it reads."""
    return [line for line, _ in _table(data.decode("utf-8-sig"), names)[1:]]


def _table(text: str, names: Sequence[str]) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, header first, as cells; with each where it begins."""
    lines = io.StringIO(text, newline=None)
    reader = csv.reader(
        lines, delimiter=_delimiter(text, names), skipinitialspace=True, strict=True
    )
    table = []
    begin = 1
    try:
        for line in reader:
            cells = [cell.strip() for cell in line]
            if cells not in ([], [""]):
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
