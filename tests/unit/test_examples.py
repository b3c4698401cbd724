"""Example bodies that a model accepts."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.native.examples import MAX_NUMBERS, Repeated, example_input
from app.web.snippets import languages


def tabular(**schemas: dict[str, Any]) -> dict[str, Any]:
    return {"name": "t", "task": "tabular-regression", "input": {"properties": schemas}}


def tensor(*shapes: list[int | None] | None, dtype: str = "float32") -> dict[str, Any]:
    inputs = [{"name": f"x{i}", "dtype": dtype, "shape": shape} for i, shape in enumerate(shapes)]
    return {"name": "t", "task": "tensor", "signature": {"inputs": inputs}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number", "minimum": 0, "maximum": 9999, "examples": [3504]}, 3504),
        ({"enum": ["red", "blue"]}, "red"),
        ({"type": "string"}, "text"),
        ({"type": "number"}, 0),
        ({"type": "number", "minimum": 68, "maximum": 455}, 261.5),
        ({"type": "number", "minimum": 1e-9, "maximum": 1.0000001e-9}, 1e-9),
        ({"type": "number", "minimum": 8}, 8),
        ({"type": "number", "maximum": -2.5}, -2.5),
        ({"type": "integer", "minimum": 3, "maximum": 8}, 5),
        ({"type": "integer", "minimum": 1.6, "maximum": 2.1}, 2),
        ({"type": "integer", "minimum": 2.5}, 3),
        ({"type": "integer"}, 0),
    ],
)
def test_a_value_in_the_range_of_its_field(schema: dict[str, Any], value: Any) -> None:
    found = example_input(tabular(x=schema))["x"]
    assert found == pytest.approx(value, rel=1e-6) if isinstance(value, float) else found == value
    assert type(found) is not float or not found.is_integer()
    assert schema.get("minimum", found) <= found <= schema.get("maximum", found) or "enum" in schema


@pytest.mark.parametrize(
    ("about", "body"),
    [
        (tensor([None, 2]), [[0.5, 0.5]]),
        (tensor([None, None], dtype="int64"), [[1]]),
        (tensor([2, 1], dtype="string"), [["text"], ["text"]]),
        (tensor([], dtype="bool"), False),
        (tensor(None), [0.5]),
        (tensor([None], [None, 2]), {"x0": [0.5], "x1": [[0.5, 0.5]]}),
        (tensor([None, MAX_NUMBERS + 1]), Repeated(0.5, (1, MAX_NUMBERS + 1))),
    ],
)
def test_lists_of_the_shape(about: dict[str, Any], body: Any) -> None:
    assert example_input(about) == body


def test_the_languages_of_every_task_have_the_address() -> None:
    for about in (
        tensor([None, 2]),
        tabular(x={"type": "number"}),
        {"task": "image-classification", "name": "t"},
    ):
        for language in languages(about, "https://[::1]:8443/below/", example_input(about)):
            for snippet in language.snippets:
                assert "https://[::1]:8443/below/api/t" in snippet.code
