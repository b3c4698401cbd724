"""Whether an answer has the shape that a document shows."""

from __future__ import annotations

from typing import Any


def differences(shown: Any, real: Any, where: str = "answer") -> list[str]:
    """What keys and kinds of values the two do not share. A list is shown by its first elements:
    each of them is compared with the element in its place."""
    if isinstance(shown, dict) and isinstance(real, dict):
        return [
            *(f"{where}.{key} is shown, but not there" for key in shown.keys() - real.keys()),
            *(f"{where}.{key} is there, but not shown" for key in real.keys() - shown.keys()),
            *(
                line
                for key in shown.keys() & real.keys()
                for line in differences(shown[key], real[key], f"{where}.{key}")
            ),
        ]
    if isinstance(shown, list) and isinstance(real, list):
        if len(shown) > len(real):
            return [f"{where} shows {len(shown)} elements, there are {len(real)}"]
        pairs = zip(shown, real, strict=False)
        return [
            line
            for at, (one, other) in enumerate(pairs)
            for line in differences(one, other, f"{where}[{at}]")
        ]
    if kind(shown) != kind(real):
        return [f"{where} is shown as {kind(shown)}, it is {kind(real)}"]
    return []


def kind(value: Any) -> str:
    """What JSON calls it."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object"}
    return names.get(type(value), "array")
