"""Answers of models of rows, and the schemas of rows and answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from app.errors import CardError
from app.serving.cards.card import Card, Output
from app.serving.tasks import Limits, RowTask
from tests.unit.rows import task
from tests.unit.signatures import signature, spec


def regression(columns: int = 1, **output: Any) -> RowTask:
    card = Card(task="tabular-regression", output=Output(**output))
    return RowTask(card, signature(classes=columns), Limits())


def test_one_number_a_row_under_its_name() -> None:
    made = regression(name="mpg", decimals=1)
    found = made.answer([np.array([[23.149], [-0.04], [1e6]], np.float32)])
    assert orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY) == (
        b'[{"mpg":23.1},{"mpg":0.0},{"mpg":1000000.0}]'
    )


def test_decimals_do_not_cost_digits_before_the_point() -> None:
    (found,) = regression(decimals=1).answer([np.array([[123456789.123]])])
    # As a Python number: comparing with a float32 would round this side too.
    assert float(found["value"]) == 123456789.1


def test_without_decimals_a_number_keeps_its_own_precision() -> None:
    for dtype, text in (("float32", b"0.1"), ("float64", b"0.1"), ("int64", b"9007199254740993")):
        values = np.array([[9007199254740993 if dtype == "int64" else 0.1]], dtype)
        found = orjson.dumps(regression().answer([values]), option=orjson.OPT_SERIALIZE_NUMPY)
        assert found == b'[{"value":' + text + b"}]"


def test_several_numbers_a_row_are_a_list() -> None:
    (found,) = regression(3).answer([np.array([[1, 2, 3]], np.float32)])
    assert list(found["value"]) == [1, 2, 3]
    assert regression().answer([np.array([5.0], np.float32)]) == [{"value": 5.0}]


@pytest.mark.parametrize(
    "outputs",
    [(spec("y"), spec("z")), (spec("y", "string"),), (spec("y", shape=()),)],
)
def test_outputs_that_are_no_regression(outputs: Any) -> None:
    with pytest.raises(CardError, match=r"task: tensor|write 'outputs: "):
        RowTask(Card(task="tabular-regression"), signature(outputs=outputs), Limits())


def test_classification_answers_with_a_label() -> None:
    made = RowTask(
        Card(task="tabular-classification", labels=["no", "yes"]),
        signature(activation="sigmoid"),
        Limits(),
    )
    (found,) = made.answer([np.array([[0.75]], np.float32)])
    assert (found["label"], found["probability"]) == ("yes", 0.75)


def test_the_schema_says_what_a_row_is() -> None:
    made = task(
        {"name": "a", "min": 1, "max": 2, "unit": "m", "help": "Height", "example": 1.5},
        {"name": "b", "choices": {1: "one", 2: "two"}, "type": "integer"},
        {"name": "c", "choices": ["x", "y"]},
    )
    assert made.input_schema() == {
        "type": "object",
        "properties": {
            "a": {
                "type": "number",
                "minimum": 1,
                "maximum": 2,
                "description": "Height",
                "x-unit": "m",
                "examples": [1.5],
            },
            "b": {"enum": [1, 2, "one", "two"]},
            "c": {"enum": ["x", "y"]},
        },
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("shape", "dtype", "value"),
    [
        ((None, 1), "float32", {"type": "number"}),
        ((None,), "int32", {"type": "integer"}),
        (
            (None, 3),
            "float32",
            {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
        ),
        (
            (None, None),
            "float32",
            {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]},
        ),
    ],
)
def test_the_schema_says_what_a_prediction_is(shape: Any, dtype: str, value: Any) -> None:
    card = Card(task="tabular-regression", output=Output(name="mpg", unit="mi"))
    made = RowTask(card, signature(outputs=(spec("y", dtype, shape),)), Limits())
    assert made.answer_schema() == {
        "type": "object",
        "properties": {"mpg": {**value, "x-unit": "mi"}},
        "required": ["mpg"],
        "additionalProperties": False,
    }
