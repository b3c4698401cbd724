"""Answers of models of tensors, and the schemas of requests and answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest

from app.errors import CardError
from app.serving.signature import TensorSpec
from app.serving.tasks import Limits, RowTask
from tests.unit.signatures import Shape, spec
from tests.unit.tensors import TWO, one, task


def written(made: RowTask, *outputs: Any) -> Any:
    """What the API would send, read back."""
    answer = made.answer(list(outputs))
    return json.loads(
        orjson.dumps(answer, default=np.ndarray.tolist, option=orjson.OPT_SERIALIZE_NUMPY)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "uint64", "bool"])
def test_one_output_is_a_nested_list_a_row(dtype: str) -> None:
    made = task(outputs=(spec("y", dtype, (None, 2)),))
    values = np.array([[0, 1], [1, 0], [1, 1]], dtype)
    assert written(made, values) == values.tolist()


def test_the_largest_whole_numbers_survive() -> None:
    made = task(outputs=(spec("y", "uint64", (None,)),))
    assert written(made, np.array([2**64 - 1, 0], np.uint64)) == [2**64 - 1, 0]


def test_several_outputs_are_an_object_a_row() -> None:
    made = task(outputs=(spec("a", shape=(None, 2)), spec("b", "string", (None,))))
    found = written(made, np.array([[1, 2], [3, 4]], np.float32), np.array([b"x", b"y"], object))
    assert found == [{"a": [1, 2], "b": "x"}, {"a": [3, 4], "b": "y"}]


def test_texts_leave_as_texts_whatever_their_bytes() -> None:
    made = task(outputs=(spec("y", "string", (None, 2)),))
    out = np.array([["ü".encode(), b"a\xffb"], ["already text", b""]], object)
    assert written(made, out) == [["ü", "a�b"], ["already text", ""]]
    assert written(made, np.zeros((0, 2), object)) == []


def test_outputs_that_are_no_rows_are_one_answer() -> None:
    one_of = task(outputs=(spec("y", shape=(2, 2)),))
    assert written(one_of, np.array([[1, 2], [3, 4]], np.float32)) == [[[1, 2], [3, 4]]]
    two_of = task(outputs=(spec("a", shape=()), spec("b", shape=(2,))))
    assert written(two_of, np.array(7, np.float32), np.array([1, 2], np.float32)) == [
        {"a": 7, "b": [1, 2]}
    ]


@pytest.mark.parametrize("dtype", ["complex64", "resource", "variant", "qint8"])
def test_types_that_json_cannot_carry_are_found_at_once(dtype: str) -> None:
    with pytest.raises(CardError, match=f"x is of type {dtype}"):
        one(dtype)
    with pytest.raises(CardError, match=f"y is of type {dtype}"):
        task(outputs=(spec("y", dtype),))


def test_the_schema_is_the_signature() -> None:
    made = task(spec("a", "int32", (None, 3)), spec("b", shape=None))
    assert made.input_schema()["inputs"] == [
        {"name": "a", "dtype": "int32", "shape": [None, 3]},
        {"name": "b", "dtype": "float32", "shape": None},
    ]


def test_the_schema_of_one_input_is_its_nested_lists() -> None:
    numbers = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    found = one(shape=(None, 2)).input_schema()
    assert (found["type"], found["items"], found["minItems"]) == ("array", numbers, 1)
    assert found["maxItems"] == Limits().max_rows
    assert one(shape=(3, 2)).input_schema()["minItems"] == 3
    kinds = {"uint8": "integer", "bool": "boolean", "string": "string"}
    assert {d: one(d, (None,)).input_schema()["items"]["type"] for d in kinds} == kinds
    assert one(shape=None).input_schema()["type"] == "array"
    assert one(shape=()).input_schema()["type"] == "number"


@pytest.mark.parametrize(
    ("shape", "outputs", "hints"),
    [
        ((None, 8, 8, 3), (), True),
        ((None, None, None, 1), (), True),
        ((None, 8, 8, 4), (), True),
        ((None, 8, 8, 2), (), False),
        ((None, 8, 8, 3), (spec("y", shape=(None, 8, 8, 3)),), False),
        ((None, 8), (), False),
    ],
)
def test_what_looks_like_a_classifier_of_pictures_says_how_it_becomes_one(
    shape: Shape, outputs: tuple[TensorSpec, ...], hints: bool
) -> None:
    """A SavedModel without a card, asked with a picture."""
    made = task(spec(shape=shape), outputs=outputs)
    assert ("'task: image-classification'" in made.hint) is hints


def test_the_schema_of_several_inputs_is_an_object() -> None:
    """A bare list is refused there."""
    found = TWO.input_schema()
    assert found["type"] == "object"
    assert found["required"] == ["a", "b"]
    assert found["properties"]["b"] == {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": 100_000,
    }
    assert found["additionalProperties"] is False


@pytest.mark.parametrize(
    ("outputs", "schema"),
    [
        ((spec("y", shape=(None,)),), {"type": "number"}),
        (
            (spec("y", "int64", (None, 2)),),
            {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        ),
        # Rows of unknown rank, and outputs without rows.
        ((spec("y", shape=None),), {}),
        ((spec("y", "string", ()),), {"type": "string"}),
        (
            (spec("y", shape=(None,)), spec("z", "bool", (None,))),
            {
                "type": "object",
                "properties": {"y": {"type": "number"}, "z": {"type": "boolean"}},
                "required": ["y", "z"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_the_schema_of_an_answer(outputs: tuple[TensorSpec, ...], schema: dict[str, Any]) -> None:
    assert task(spec(), outputs=outputs).answer_schema() == schema
