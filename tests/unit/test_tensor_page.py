"""What the page of a model of tensors says that it expects."""

from __future__ import annotations

import pytest

from app.serving.signature import TensorSpec
from app.web.models.tensor_page import input_in_words
from tests.unit.signatures import signature, spec


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (spec(shape=(None, 7)), "a list of rows, each a list of 7 numbers (float32)"),
        (spec(shape=(None,), dtype="int64"), "a list of whole numbers (int64)"),
        (spec(shape=(None, None)), "a list of rows, each a list of numbers (float32)"),
        (
            spec(shape=(None, 1000, None)),
            "a list of rows, each nested lists of 1,000 × any number numbers (float32)",
        ),
        (spec(shape=(2, 3), dtype="bool"), "nested lists of 2 × 3 true or false (bool)"),
        (spec(shape=(), dtype="string"), "a single text (string)"),
        (spec(shape=(), dtype="bool"), "true or false (bool)"),
        (spec(shape=None), "numbers (float32) in a list of any shape"),
    ],
)
def test_one_input(tensor: TensorSpec, words: str) -> None:
    assert input_in_words(signature(tensor)) == f"Expected: {words}."


def test_several_inputs() -> None:
    inputs = signature(spec("a", shape=(None, 2)), spec("b", "string", (None,)))
    assert input_in_words(inputs) == (
        'Expected: an object with "a": a list of rows, each a list of 2 numbers (float32); '
        '"b": a list of texts (string), with as many rows in each.'
    )
