"""The examples of a card, as its author wrote them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MOST_EXAMPLES = 20
_NAMED = {"name", "input"}


def named_example(example: Any) -> tuple[Any, Any]:
    """Return the name of an example, None where it has none, and its input."""
    if isinstance(example, dict) and example.keys() == _NAMED:
        return example["name"], example["input"]
    return None, example


def example_texts(examples: Iterable[Any]) -> list[str]:
    """Return the texts of examples, each of which may be the name of a file."""
    found = []
    for example in examples:
        _, value = named_example(example)
        values = value.values() if isinstance(value, dict) else [value]
        found += [each for each in values if isinstance(each, str)]
    return found
