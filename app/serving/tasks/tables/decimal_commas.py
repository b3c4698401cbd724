"""Numbers with decimal commas, as spreadsheets of much of the world write them into a CSV."""

from __future__ import annotations

import re

from app.errors import Detail, short

# Thousands may have a separator: a point, an apostrophe or a space.
_WHOLE = r"[+-]?[0-9]{1,20}|[+-]?[0-9]{1,3}(?:[.\u00a0\u202f' ][0-9]{3}){1,6}"
_NUMBER = re.compile(rf"\s{{0,9}}({_WHOLE}),([0-9]{{1,20}})\s{{0,9}}")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}")


def with_point(cell: object) -> str | None:
    """Return a number with a decimal comma as it would be with a point; None for all else. The
    comma of 1,234 may be one of thousands: both are named."""
    found = _NUMBER.fullmatch(cell) if isinstance(cell, str) else None
    if found is None:
        return None
    whole = re.sub(r"[^0-9+-]", "", found[1])
    point = f"{whole}.{found[2]}"
    if len(found[2]) == 3 and _THOUSANDS.fullmatch(found[1]):
        return f"{point}, or {whole}{found[2]} if the comma separates thousands"
    return point


def comma_problem(column: str, cell: str) -> Detail:
    """Return the one problem of a column of a CSV with decimal commas. cell: the first of them."""
    expected = f"numbers with a decimal point: {with_point(cell)}"
    return Detail(f"column {short(column)}", "decimal commas", short(cell), expected)
