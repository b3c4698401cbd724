"""The output of `check`: a table, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.cli.offline import CheckedVersion
from app.serving.cards.kinds import in_words
from app.serving.registry.entry import Entry
from app.serving.signature import Signature, TensorSpec

_HEAD = ("model", "version", "task", "state", "parameters", "inputs → outputs")


def listing(checked: Sequence[CheckedVersion], width: int) -> str:
    """Return one line per model, and right under it why it failed, or what it takes, what is a
    guess, and whether its examples were answered. Inputs and outputs are left out where a line
    would be longer than `width` with them."""
    rows = [_HEAD, *(_row(each.entry) for each in checked)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        widths = widths[:-1]
    lines = []
    for row, each in zip(rows, [None, *checked], strict=True):
        cells = (_pad(cell, i, w) for i, (cell, w) in enumerate(zip(row, widths, strict=False)))
        lines.append("  ".join(cells).rstrip())
        if each is not None:
            lines += [f"    {line}" for line in _about(each)]
    return "\n".join(lines)


def document(checked: Sequence[CheckedVersion], warnings: Sequence[str]) -> dict[str, Any]:
    """Return the same for programs, as JSON: bytes of memory, null if the system does not tell."""
    return {"models": [_described(each) for each in checked], "warnings": list(warnings)}


def _described(each: CheckedVersion) -> dict[str, Any]:
    entry, took = each.entry, each.footprint
    signature = entry.model.signature if entry.model else None
    return {
        "name": entry.name,
        "version": entry.version,
        "state": entry.state,
        "reason": entry.reason,
        "task": entry.card.task if entry.card else None,
        "parameters": signature.parameters if signature else None,
        **(signature.describe() if signature else {"inputs": None, "outputs": None}),
        "seconds": round(took.seconds, 3),
        "peak_bytes": took.peak_bytes,
        "serving_bytes": took.serving_bytes if entry.model else None,
        "guesses": each.guesses,
        "examples": each.examples,
        "problems": list(each.problems),
    }


def _about(each: CheckedVersion) -> list[str]:
    """Return the lines under a model."""
    if each.entry.model is None:
        return [each.entry.reason] if each.entry.reason else []
    took = each.footprint
    line = f"{took.seconds:.1f} s to load"
    if took.peak_bytes is not None and took.serving_bytes is not None:
        line += f", {_size(took.peak_bytes)} at most, {_size(took.serving_bytes)} while serving"
    lines = [line, *each.guesses]
    if answered := each.examples - len(each.problems):
        lines.append(f"{answered} {'example' if answered == 1 else 'examples'} answered")
    return lines + [f"not answered: {problem}" for problem in each.problems]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _pad(cell: str, column: int, width: int) -> str:
    return cell.rjust(width) if _HEAD[column] in ("version", "parameters") else cell.ljust(width)


def _row(entry: Entry) -> tuple[str, ...]:
    signature = entry.model.signature if entry.model else None
    return (
        entry.name,
        str(entry.version),
        in_words(entry.card) if entry.card else "",
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
