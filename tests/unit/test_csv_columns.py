"""Columns of a CSV that a model does not have, or that the CSV lacks: one problem each."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from app.cli.main import _print_csv
from app.errors import BadRequest, InvalidInput
from app.serving.cards.card import Card, FieldSpec
from app.serving.limits import Limits
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.tables.csv_columns import check_columns
from app.serving.tasks.tables.csv_table import read_table
from app.serving.tasks.tables.decimal_commas import with_point
from tests.unit.signatures import problems, signature, spec


def fields(*names: str) -> RowTask:
    card = Card(task="tabular-regression", fields=[FieldSpec(name=name) for name in names])
    return RowTask(card, signature(spec(shape=(None, len(names)))), Limits())


def together() -> RowTask:
    card = Card.model_validate(
        {
            "inputs": {
                "car": {"kind": "fields", "fields": [{"name": "weight"}, {"name": "year"}]},
                "note": {"kind": "text"},
            },
            "outputs": {"y": {"kind": "number"}},
        }
    )
    specs = [spec("car", shape=(None, 2)), spec("note", dtype="string", shape=(None,))]
    return RowTask(card, signature(*specs), Limits())


def text() -> RowTask:
    card = Card.model_validate(
        {"inputs": {"note": {"kind": "text"}}, "outputs": {"y": {"kind": "number"}}}
    )
    return RowTask(card, signature(spec("note", dtype="string", shape=(None,))), Limits())


TASKS = {
    "fields": (fields("weight", "year"), ["weight", "year"], ["1", "70"]),
    "several": (together(), ["weight", "year", "note"], ["1", "70", "good"]),
    "text": (text(), ["note"], ["good"]),
}
OTHERS = {
    "an id": ("id", 0, "column id"),
    "an index": ("", 0, "column 1, without a name"),
    "an index read again": ("Unnamed: 0", 0, "column Unnamed: 0"),
    "a target": ("mpg", 9, "column mpg"),
    "a column without a name": ("", 9, "column {}, without a name"),
}


def payload(*lines: list[str]) -> Payload:
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return Payload("csv", out.getvalue().encode())


def with_column(kind: str, other: str, rows: int = 3) -> tuple[RowTask, Payload, str]:
    task, names, row = TASKS[kind]
    name, place, field = OTHERS[other]
    place = min(place, len(names))
    lines = [[*row[:place], f"x{i}", *row[place:]] for i in range(rows)]
    sent = payload([*names[:place], name, *names[place:]], *lines)
    return task, sent, field.format(len(names) + 1)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("other", OTHERS)
def test_another_column_is_one_problem(kind: str, other: str) -> None:
    task, sent, field = with_column(kind, other)
    (found,) = problems(task, sent)
    assert (found.field, found.problem, found.value) == (field, "unexpected", "x0")
    assert "remove it, or send the CSV with ?extra=keep" in found.expected
    assert ("index=False" in found.expected) == ("index" in other)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("other", OTHERS)
def test_it_is_left_out_where_it_is_kept(kind: str, other: str) -> None:
    task, sent, _ = with_column(kind, other)
    _, names, row = TASKS[kind]
    plain = task.read(payload(names, row, row, row))
    kept = task.read(sent.keeping_extra())
    assert [a.tolist() for a in kept] == [a.tolist() for a in plain]


def test_cells_that_are_empty_are_no_column() -> None:
    task = TASKS["fields"][0]
    sent = payload(["weight", "", "year", "id"], ["1", "", "70", ""], ["2", "", "71", ""])
    assert task.read(sent)[0].tolist() == [[1, 70], [2, 71]]
    table = read_table(sent.data, ["weight", "year"], Limits())
    assert check_columns(table, ["weight", "year"], keep=True).others == ["id"]


def test_a_later_cell_is_found() -> None:
    sent = payload(["weight", "year", "id"], ["1", "70", ""], ["1", "70", "b"])
    (found,) = problems(TASKS["fields"][0], sent)
    assert (found.field, found.value) == ("column id", "b")


@pytest.mark.parametrize("kind", ["fields", "several"])
def test_a_missing_column_is_one_problem_beside_the_others(kind: str) -> None:
    task, names, row = TASKS[kind]
    rows = [[cell for cell, name in zip(row, names, strict=True) if name != "year"]] * 3
    rows[1] = ["heavy", *rows[1][1:]]
    header = ["mass" if name == "year" else name for name in names if name != "year"]
    found = problems(task, payload([*header, "mass"], *([*row, "9"] for row in rows)))
    assert [(d.field, d.problem) for d in found] == [
        ("column year", "missing"),
        ("column mass", "unexpected"),
        ("[1].weight", "wrong type"),
    ]
    assert found[0].expected == "its name in the first line"


def test_of_many_rows_with_problems_the_columns_come_first() -> None:
    rows = [["x", "1"] for _ in range(2000)]
    with pytest.raises(InvalidInput, match="at least 102 problems") as caught:
        TASKS["fields"][0].read(payload(["weight", "id"], *rows))
    assert [d.field for d in caught.value.details[:3]] == ["column year", "column id", "[0].weight"]


def test_cells_beyond_the_header_are_no_column() -> None:
    for kind in ("fields", "several"):
        task, names, row = TASKS[kind]
        for sent in (payload(names, [*row, "9"]), payload(names, [*row, "9"]).keeping_extra()):
            (found,) = problems(task, sent)
            assert found.field == "[0].(cells beyond the header)"


# --- decimal commas


@pytest.mark.parametrize(
    ("cell", "point"),
    [
        ("130,5", "130.5"),
        ("-0,25", "-0.25"),
        (" 7,0 ", "7.0"),
        ("1.234,5", "1234.5"),
        ("1 234 567,89", "1234567.89"),
        ("1'234,5", "1234.5"),
        ("1,234", "1.234, or 1234 if the comma separates thousands"),
        ("0,234", "0.234"),
        ("1234,567", "1234.567"),
        *(
            (cell, None)
            for cell in ("130.5", "1,234,567", "1,234.5", ",5", "5,", "a,5", "1e1,5", "")
        ),
        *((value, None) for value in (1.5, None, ["1,5"])),
    ],
)
def test_decimal_commas(cell: Any, point: str | None) -> None:
    assert with_point(cell) == point


@pytest.mark.parametrize("kind", ["fields", "several"])
def test_decimal_commas_are_one_problem_a_column(kind: str) -> None:
    task, names, row = TASKS[kind]
    rows = [["1,5", *row[1:]], ["2,5", *row[1:]], ["x", *row[1:]]]
    found = problems(task, payload(names, *rows))
    assert [(d.field, d.problem, d.value) for d in found] == [
        ("column weight", "decimal commas", "1,5"),
        ("[2].weight", "wrong type", "x"),
    ]
    assert found[0].expected == "numbers with a decimal point: 1.5"


def test_a_text_with_a_decimal_comma_in_json() -> None:
    (found,) = problems(TASKS["fields"][0], Payload("json", b'{"weight": "1,5", "year": 70}'))
    assert (found.field, found.problem) == ("weight", "wrong type")
    assert found.expected == "a number, with a decimal point: 1.5"


def test_texts_may_have_commas() -> None:
    assert TASKS["text"][0].read(payload(["note"], ["1,5"]))[0].tolist() == [b"1,5"]


# --- the table of `predict --csv`


def test_the_table_of_the_command_has_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    _print_csv([{"text": "=1+1", "@label": "+x", "score": -0.5}, {"text": "b", "other": 7}])
    rows = [*csv.reader(io.StringIO(capsys.readouterr().out))]
    assert rows == [
        ["text", "'@label", "score", "other"],
        ["'=1+1", "'+x", "-0.5", ""],
        ["b", "", "", "7"],
    ]


def test_a_header_without_a_known_name() -> None:
    with pytest.raises(BadRequest, match="names no field of this model"):
        TASKS["fields"][0].read(payload(["id"], ["1"]).keeping_extra())
