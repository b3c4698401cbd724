"""What the page of a tabular model says of fields and answers."""

from __future__ import annotations

from typing import Any

import pytest

from app.serving.cards.card import FieldSpec
from app.serving.tasks.tables.formula_guard import guarded
from app.web.models.answers.table_answer import (
    answer_cells,
    answer_columns,
    number_for_people,
    plain_number,
)
from app.web.models.columns import example_of, help_of
from app.web.models.table_file import AnsweredTable


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.0, None, "0"),
        (23.10234, None, "23.1023"),
        (-0.5, None, "-0.5"),
        (1234567.891, None, "1,234,568"),
        (100.0, None, "100"),
        (0.000123456, None, "0.000123456"),
        (1e-7, None, "1.000e-7"),
        (2e15, None, "2.000e15"),
        (18.0, 1, "18.0"),
        (1234.5, 2, "1,234.50"),
    ],
)
def test_numbers_for_people(value: float, decimals: int | None, text: str) -> None:
    assert number_for_people(value, decimals) == text


def test_plain_numbers() -> None:
    assert [plain_number(v) for v in (8, 8.0, 23.7, 2**60, 1e-7)] == [
        "8",
        "8",
        "23.7",
        str(2**60),
        "1e-07",
    ]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (
            {"help": "Curb weight", "min": 1755, "max": 4997, "unit": "lb"},
            "Curb weight (1755 to 4997 lb)",
        ),
        ({"min": 0.5}, "0.5 or more"),
        ({"max": 3, "unit": "m"}, "3 m or less"),
        ({"type": "integer"}, "Whole numbers"),
        ({"type": "integer", "unit": "days"}, "Whole numbers"),
        ({"choices": ["a"]}, ""),
        ({"type": "text", "help": "A sentence"}, "A sentence"),
        ({}, ""),
    ],
)
def test_what_is_said_of_a_field(field: dict[str, Any], text: str) -> None:
    assert help_of(FieldSpec(name="x", **field)) == text


@pytest.mark.parametrize(
    ("field", "example"),
    [
        ({"example": 3504}, "3504"),
        ({"example": 12.0}, "12"),
        ({}, None),
        ({"choices": {1: "USA", 2: "Europe"}, "example": 2}, "2"),
        ({"choices": {1: "USA", 2: "Europe"}, "example": "Europe"}, "2"),
        ({"choices": ["a", "b"], "example": "b"}, "b"),
        ({"choices": ["a", "b"], "example": "c"}, None),
    ],
)
def test_the_example_is_what_the_field_can_hold(field: dict[str, Any], example: str | None) -> None:
    assert example_of(FieldSpec(name="x", **field)) == example


def test_columns_of_answers_never_hide_those_of_the_file() -> None:
    assert answer_columns({"weight": 1.0}, ["weight"]) == ["weight (answer)"]
    prediction = {"label": "a", "probability": 1.0, "labels": ["a", "b"], "top": []}
    assert answer_columns(prediction, ["label"]) == ["label (answer)", "probability", "labels"]
    assert answer_cells(prediction, {}) == ["a", "1", "a; b"]
    assert answer_cells({"x": [1.25, -2.0]}, {"x": 1}) == ["1.2", "-2.0"]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("cat", "cat"),
        ("-5.25", "-5.25"),
        ("+1e9", "+1e9"),
        ("", ""),
        ("a=b", "a=b"),
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
    ],
)
def test_no_answer_is_a_formula(cell: str, written: str) -> None:
    assert guarded(cell) == written


def test_the_file_has_no_formula_in_its_answers() -> None:
    sent = [{"a": "=1+1"}]
    predictions = [{"label": "@x", "probability": 1.0, "top": []}]
    table = AnsweredTable(["a"], ["a"], ["=label", "probability"], sent, predictions, ",", {})
    # What was sent comes back as it was.
    assert b"".join(table._csv()) == b"a,'=label,probability\r\n=1+1,'@x,1\r\n"
