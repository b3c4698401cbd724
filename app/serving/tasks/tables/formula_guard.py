"""Cells of a CSV that a spreadsheet would run as a formula."""

from __future__ import annotations

# How a formula begins (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(cell: str) -> str:
    """Return a cell for a spreadsheet, which runs what begins as a formula does: such a text gets
    an apostrophe before it, which spreadsheets do not show. Numbers stay numbers."""
    if not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
