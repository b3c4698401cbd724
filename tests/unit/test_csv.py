"""CSV as spreadsheets and programs write it, read for a tabular model."""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest, InvalidInput
from app.serving.card import Card, FieldSpec
from app.serving.tasks import Limits, Payload, Task, make_task
from app.serving.tasks.csvtext import read_table
from tests.support import picture
from tests.unit.signatures import fields_of, problems, signature, spec


def task(*fields: dict[str, Any], dtype: str = "float32") -> Task:
    card = Card(task="tabular-regression", fields=[FieldSpec(**f) for f in fields])
    return make_task(card, signature(spec(dtype=dtype, shape=(None, len(fields)))), Limits())


TWO = task({"name": "weight", "min": 1}, {"name": "year", "type": "integer"})


def payload(text: str | bytes) -> Payload:
    return Payload("csv", text if isinstance(text, bytes) else text.encode())


def rows(text: str | bytes, made: Task = TWO) -> Any:
    (array,) = made.read(payload(text))
    return array.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "weight,year\n1.5,70\n2,71\n",
        "year,weight\n70,1.5\n71,2",
        "weight;year\n1.5;70\n2;71\n",
        "weight\tyear\n1.5\t70\n2\t71\n",
        "\ufeffweight,year\n1.5,70\n2,71\n",
        '\ufeff"weight";"year"\r\n"1.5";"70"\r\n"2";"71"\r\n',
        "weight,year\r\n1.5,70\r\n2,71\r\n",
        "weight,year\r1.5,70\r2,71\r",
        "\n\nweight,year\n\n1.5,70\n   \n2,71\n\n\n",
        " weight , year \n 1.5 , 70 \n 2 , 71 \n",
        "weight,year\n1.5,70.0\n2,71.0\n",
        "weight,year,\n1.5,70,\n2,71,\n",
        'weight, "year"\n1.5, "70"\n2, "71"\n',
        "weight,year\n1.50e0,+70\n2,71,,\n",
    ],
)
def test_the_same_rows_in_many_dialects(text: str) -> None:
    assert rows(text) == [[1.5, 70], [2, 71]]


def test_quoted_cells_may_hold_anything() -> None:
    made = task({"name": "a,b", "type": "text"}, {"name": "c", "type": "text"}, dtype="string")
    assert rows('"a,b",c\n"x;y,z","1\n2"\n"say ""hi""",ü\n', made) == [
        ["x;y,z", "1\n2"],
        ['say "hi"', "ü"],
    ]


def test_a_single_column() -> None:
    made = task({"name": "a"})
    assert rows("a\n1\n\n2\n", made) == [[1], [2]]
    texts = task({"name": "a", "type": "text"}, dtype="string")
    assert rows("a\nx;y\nz\n", texts) == [["x;y"], ["z"]]


def test_an_empty_cell_is_missing() -> None:
    found = problems(TWO, payload("weight,year\n,70\n2\n , \n,\n"))
    assert fields_of(found) == {
        "[0].weight": "missing",
        "[1].year": "missing",
        "[2].weight": "missing",
        "[2].year": "missing",
        "[3].weight": "missing",
        "[3].year": "missing",
    }


def test_cells_and_columns_that_the_model_does_not_have() -> None:
    found = problems(TWO, payload("weight,year,color\n1,70,red\n1,70,,blue,green\n"))
    assert [(d.field, d.problem, d.value) for d in found] == [
        ("[0].color", "unexpected", "red"),
        ("[1].(cells beyond the header)", "unexpected", "blue,green"),
    ]
    # As pandas writes its index.
    assert fields_of(problems(TWO, payload(",weight,year\n7,1,70\n"))) == {
        "[0].(column 1)": "unexpected"
    }


def test_values_are_checked_as_in_json() -> None:
    found = problems(
        TWO, payload("weight,year\n0,70\nx,70.5\ntrue,1e2\nnan,inf\n1e400," + "1" * 5000 + "\n")
    )
    assert [(d.field, d.problem) for d in found] == [
        ("[0].weight", "out of range"),
        ("[1].weight", "wrong type"),
        ("[1].year", "wrong type"),
        ("[2].weight", "wrong type"),
        ("[2].year", "wrong type"),
        ("[3].weight", "not a finite number"),
        ("[3].year", "wrong type"),
        ("[4].weight", "not a finite number"),
        ("[4].year", "out of range"),
    ]
    assert found[0].value == "0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"no rows: expected a line of field names \(weight,year\)"),
        ("\n\n \n", "no rows"),
        ("weight,year", "no rows: .* it is a single line .*--data-binary, not -d"),
        ("weight,year1,702,71", "no rows: .* it is a single line .*--data-binary, not -d"),
        (
            "1,70",
            r"names no field of this model: expected a line of .*\(weight,year\).*single line",
        ),
        ("weight,year\n\n\n", "no rows"),
        ("1,70\n2,71\n", "names no field of this model: expected a line of field names"),
        ("weight,weight,year\n1,2,70", "names 'weight' twice"),
        ('weight,year\n1,"70\n2,71', "line 3 of the CSV cannot be read: unexpected end"),
        ('weight,year\n1,"7"0\n', "line 2 of the CSV cannot be read"),
        ("weight,year\n1," + "7" * 200_000, "line 2 of the CSV cannot be read: field larger"),
        (b"weight,year\n1,\xff", "no CSV text: byte 14 is not UTF-8"),
        (picture(), "no CSV text: byte 0 is not UTF-8"),
        ("weight,year\n1,2".encode("utf-16"), "not UTF-8"),
    ],
)
def test_what_cannot_be_read_at_all(text: str | bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        TWO.read(payload(text))


def test_each_row_knows_the_line_that_it_begins_on() -> None:
    text = '\ufeff\nweight,year\r\n1,70\n\n"2","7\n1"\n3,72'
    table = read_table(text.encode(), ["weight", "year"], Limits())
    assert table.lines == [3, 5, 7]
    assert (table.header, len(table.rows), table.delimiter) == (["weight", "year"], 3, ",")


def test_choices_from_cells() -> None:
    made = task({"name": "a", "choices": {1: "usa", 2: "europe"}}, {"name": "b", "choices": ["x"]})
    assert rows("a,b\nusa,x\n2,x\n1.0, x\n", made) == [[1, 0], [2, 0], [1, 0]]


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1), st.sampled_from(",;\t"))
def test_what_a_spreadsheet_writes_is_read_back(
    cells: list[tuple[str, str]], delimiter: str
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("left", "right"), *cells])
    found = read_table(out.getvalue().encode(), ["left", "right"], Limits()).rows
    # Line ends within a cell come out as \n, as text files do.
    lines = [tuple(re.sub("\r\n?", "\n", c).strip() for c in row) for row in cells]
    assert [(row.get("left", ""), row.get("right", "")) for row in found] == lines


@given(st.binary())
def test_whatever_the_bytes_rows_or_an_error_of_ours(data: bytes) -> None:
    for text in (data, b"weight,year\n" + data):
        with suppress(BadRequest, InvalidInput):
            TWO.read(payload(text))
