"""The columns of a CSV that a model does not have, and those that the CSV lacks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.errors import Detail, short
from app.serving.tasks.tables.csv_table import CsvTable, nameless
from app.thread_slices import checkpoint, free_rows_afterwards


@dataclass(frozen=True, slots=True)
class ColumnCheck:
    """A table as a model can read it.

    rows: the cells of the model's own columns. absent: columns that are missing in the header.
    others: columns of the header that the model does not have, without those that have neither a
    name nor a cell. details: one problem a column.
    """

    rows: list[dict[str, str]]
    absent: frozenset[str]
    others: list[str]
    details: list[Detail]


def check_columns(table: CsvTable, names: Sequence[str], *, keep: bool) -> ColumnCheck:
    """Compare the header of a table with the names of a model's columns.

    keep: whether other columns are left out for the model, not refused. Cells beyond the header
    stay in the rows. From any thread.
    """
    known, header = set(names), set(table.header)
    unknown = {name for name in table.header if name not in known}
    absent = frozenset(known - header)
    details = [
        Detail(f"column {short(name)}", "missing", expected="its name in the first line")
        for name in names
        if name in absent
    ]
    if not unknown:
        return ColumnCheck(table.rows, absent, [], details)
    found: dict[str, str] = {}
    rows = []
    for row in table.rows:
        if unknown.isdisjoint(row):
            rows.append(row)
        else:
            rows.append({name: cell for name, cell in row.items() if name not in unknown})
            for name in unknown.intersection(row).difference(found):
                found[name] = row[name]
        checkpoint()
    free_rows_afterwards(rows, len(table.header))
    others = [
        name
        for i, name in enumerate(table.header)
        if name in unknown and (name in found or name != nameless(i))
    ]
    if not keep:
        details += [
            _unexpected(table.header, name, found[name], names) for name in others if name in found
        ]
    return ColumnCheck(rows, absent, others, details)


def _unexpected(header: Sequence[str], name: str, cell: str, names: Collection[str]) -> Detail:
    expected = f"only {', '.join(names)}: remove it, or send the CSV with ?extra=keep"
    # As pandas writes the index of a table, and as it reads that again.
    if name == nameless(0) or name.startswith("Unnamed: "):
        expected += "; pandas leaves its index out with to_csv(…, index=False)"
    place = header.index(name)
    field = f"column {place + 1}, without a name" if name == nameless(place) else f"column {name}"
    return Detail(short(field), "unexpected", short(cell), expected)
