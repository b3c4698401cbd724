"""CSV as spreadsheets and programs write it, read for tabular models."""

from __future__ import annotations

import csv
import io
import math
import re
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest, InvalidInput
from app.serving.cards.card import Card, FieldSpec
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.tables.csv_table import LINE_A_FIELD, MAX_LINE, read_table
from tests.support import picture
from tests.unit.signatures import fields_of, problems, signature, spec


def task(*fields: dict[str, Any], dtype: str = "float32") -> RowTask:
    card = Card(task="tabular-regression", fields=[FieldSpec(**f) for f in fields])
    return RowTask(card, signature(spec(dtype=dtype, shape=(None, len(fields)))), Limits())


TWO = task({"name": "weight", "min": 1}, {"name": "year", "type": "integer"})


def payload(text: str | bytes) -> Payload:
    return Payload("csv", text if isinstance(text, bytes) else text.encode())


def rows(text: str | bytes, made: RowTask = TWO) -> Any:
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
        ("column color", "unexpected", "red"),
        ("[1].(cells beyond the header)", "unexpected", "blue,green"),
    ]
    # As pandas writes its index.
    assert fields_of(problems(TWO, payload(",weight,year\n7,1,70\n"))) == {
        "column 1, without a name": "unexpected"
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
        ("weight,year", "no rows: .* found a single line .*-d removes .*--data-binary"),
        ("weight,year1,702,71", "no rows: .* found a single line .*-d removes .*--data-binary"),
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


def test_columns_up_to_the_limit_and_beyond() -> None:
    most = Limits().columns(2)
    for good in (most, 2):
        text = "weight,year" + "".join(f",c{i}" for i in range(good - 2)) + "\n1,70\n"
        assert rows(text) == [[1, 70]]
    message = (
        rf"first line of the CSV has {most + 1:,} columns, the limit for this model is {most:,}"
    )
    with pytest.raises(BadRequest, match=message):
        rows("weight,year" + ",x" * (most - 1) + "\n1,70\n")
    # Far more are not even taken apart.
    with pytest.raises(BadRequest, match="line 1 of the CSV has more than 500,000 characters"):
        rows("weight,year" + ",c" * 1_000_000 + "\n1,70\n")


def test_lines_up_to_the_longest_and_beyond() -> None:
    made = task({"name": "a", "type": "text"}, {"name": "b", "type": "text"}, dtype="string")
    assert len(rows("a,b\nx," + " " * (MAX_LINE - 3) + "y", made)) == 1
    with pytest.raises(BadRequest, match="line 2 of the CSV has more than 500,000 characters"):
        rows("a,b\nx," + " " * (MAX_LINE - 2) + "y", made)
    # A model of many fields has longer lines.
    names = [f"f{i}" for i in range(MAX_LINE // LINE_A_FIELD * 2)]
    text = f"{','.join(names)}\n{' ' * (MAX_LINE + 1)}1\n"
    assert read_table(text.encode(), names, Limits()).rows == [{"f0": "1"}]


@pytest.mark.parametrize(
    "text",
    [
        '"' * 4_000_000,
        "a,b\n" + '"' * 4_000_000,
        "a,b\n" + '""' * 30_000 + "\n" + "," * 4_000_000,
        "," * 4_000_000,
        'a,b\n"' + "x" * 4_000_000,
        'a,b\n"' + "x\n" * 2_000_000,
        "\r" * 4_000_000 + "a,b",
        " \n" * 1_000_000 + "a,b\n",
    ],
    ids=lambda text: text[:8],
)
def test_large_bodies_that_are_no_table(text: str) -> None:
    with pytest.raises(BadRequest):
        read_table(text.encode(), ["a", "b"], Limits())


def test_blank_lines_cost_little_and_do_not_count() -> None:
    blank = "\n" * 300_000 + "\r\n \n\t\n" * 1_000
    text = f"{blank}weight,year\n{blank}1,70\n{blank}2,71{blank}"
    table = read_table(text.encode(), ["weight", "year"], Limits(max_rows=2))
    assert [row["weight"] for row in table.rows] == ["1", "2"]
    assert table.lines == [606_002, 909_003]


@pytest.mark.parametrize("kind", ["columns", "rows", "blank lines", "cells", "quoted lines"])
def test_the_time_grows_with_the_size(kind: str) -> None:
    def seconds(count: int) -> float:
        names = [f"f{i}" for i in range(count if kind == "columns" else 2)]
        body = {
            "columns": ",".join(["1"] * count),
            "rows": "1,2\n" * count,
            "blank lines": "\n" * count + "1,2",
            "cells": "1,2" + "," * count,
            "quoted lines": '1,"' + "\n" * count + '"',
        }[kind]
        text = f"{','.join(names)}\n{body}\n".encode()
        best = math.inf
        for _ in range(3):
            begin = time.thread_time()
            read_table(text, names, Limits())
            best = min(best, time.thread_time() - begin)
        return best

    assert seconds(80_000) < 10 * seconds(20_000)


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


@given(st.text(alphabet='ab1,;\t\n\r "é體\ufeff', max_size=40), st.integers(1, 9))
def test_slices_are_the_whole(text: str, size: int) -> None:
    def outcome(slice_size: int) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("app.serving.tasks.tables.csv_table.SLICE", slice_size)
            try:
                return read_table(f"a,b\n{text}".encode(), ["a", "b"], Limits())
            except BadRequest as error:
                return error.message

    assert outcome(size) == outcome(10_000)


def test_a_byte_that_is_not_utf_8_is_named_whatever_the_slice() -> None:
    for before in ("é" * 40_000, "x" * 65_535, "體" * 21_845):
        for wrong in (b"\xff", b"\xe9x", b"\xe9"):
            data = before.encode() + wrong
            with pytest.raises(BadRequest, match=f"byte {len(before.encode())} is not UTF-8"):
                read_table(data, ["a"], Limits())


@given(st.binary())
def test_whatever_the_bytes_rows_or_an_error_of_ours(data: bytes) -> None:
    for text in (data, b"weight,year\n" + data):
        with suppress(BadRequest, InvalidInput):
            TWO.read(payload(text))
