"""The table that `check` prints."""

from __future__ import annotations

from collections.abc import Sequence

from app.serving.entry import Entry
from app.serving.signature import Signature, TensorSpec

_HEAD = ("model", "version", "task", "state", "parameters", "inputs → outputs")


def listing(entries: Sequence[Entry], width: int) -> str:
    """One line a model, and right under it why it failed. Inputs and outputs are left out where a
    line would be longer than `width` with them."""
    rows = [_HEAD, *map(_row, entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        widths = widths[:-1]
    lines = []
    for row, entry in zip(rows, [None, *entries], strict=True):
        cells = (_pad(cell, i, w) for i, (cell, w) in enumerate(zip(row, widths, strict=False)))
        lines.append("  ".join(cells).rstrip())
        if entry is not None and entry.reason:
            lines.append(f"    {entry.reason}")
    return "\n".join(lines)


def _pad(cell: str, column: int, width: int) -> str:
    return cell.rjust(width) if _HEAD[column] in ("version", "parameters") else cell.ljust(width)


def _row(entry: Entry) -> tuple[str, ...]:
    signature = entry.model.signature if entry.model else None
    return (
        entry.name,
        str(entry.version),
        entry.card.task if entry.card else "",
        entry.state,
        f"{signature.parameters:,}" if signature and signature.parameters else "",
        _shapes(signature) if signature else "",
    )


def _shapes(signature: Signature) -> str:
    return " → ".join(
        ", ".join(map(_shape, tensors)) for tensors in (signature.inputs, signature.outputs)
    )


def _shape(spec: TensorSpec) -> str:
    shape = "[?]" if spec.shape is None else str([*spec.shape]).replace("None", "any")
    return f"{spec.name} {spec.dtype}{shape}"
