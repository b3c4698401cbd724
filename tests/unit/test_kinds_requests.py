"""Requests to models of several kinds, and their answers."""

from __future__ import annotations

import io

import numpy as np
import pytest

from app.errors import BadRequest, InvalidInput
from app.serving.tasks import Limits, Payload
from app.serving.tasks.base import Part
from tests.support import picture
from tests.unit.several_kinds import BASE64, INPUTS, OUTPUTS, body, task
from tests.unit.signatures import fields_of, problems, signature, spec

ROW = {"left": BASE64, "right": BASE64, "facts": {"a": 1, "b": 2}, "matrix": [[1, 2]] * 3}


def part(name: str, data: bytes, filename: str | None = None) -> Part:
    return Part(name, filename, io.BytesIO(data), len(data))


def test_rows_of_all_kinds() -> None:
    for value, rows in ((ROW, 1), ([ROW], 1), ([ROW, ROW, ROW], 3)):
        arrays = task().read(body(value))
        assert [a.shape for a in arrays] == [
            (rows, 6, 8, 3),
            (rows, 4, 4, 1),
            (rows, 2),
            (rows, 3, 2),
        ]
        assert [str(a.dtype) for a in arrays] == ["uint8", "uint8", "float32", "float32"]


def test_the_parts_of_a_form_are_rows() -> None:
    parts = [
        part("facts", b'{"a": 1, "b": 2}'),
        part("left", picture(0), "a.png"),
        part("matrix", b"[[1, 2], [3, 4], [5, 6]]"),
        part("right", BASE64.encode()),
    ]
    made = task()
    arrays = made.read(Payload("form", parts=parts))
    for array, other in zip(arrays[:3], made.read(body(ROW))[:3], strict=True):
        assert np.array_equal(array, other)
    for each in parts:
        each.file.seek(0)
    assert Payload("form", parts=parts).size == sum(p.size for p in parts)


def test_every_problem_names_its_row_and_input() -> None:
    wrong = [
        {**ROW, "matrix": [[1, 2], [3]], "facts": 5},
        5,
        {**ROW, "matrix": [[1, 2]] * 2},
        {**ROW, "left": None, "matrix": [["a", 2]] * 3},
    ]
    assert fields_of(problems(task(), body(wrong))) == {
        "[1]": "not an object",
        "[3].left": "wrong type",
        "[0].facts": "not an object",
        "[0].matrix": "rows of different lengths",
        "[2].matrix": "wrong shape: sent a list of shape [2, 2]",
        "[3].matrix[0][0]": "wrong type",
    }


def test_open_rows_must_be_alike() -> None:
    open_ = signature(spec("p", shape=(None, 6, 8, 3)), spec("t", shape=(None, None)))
    made = task({"p": {"kind": "picture"}, "t": {"kind": "tensor"}}, None, open_)
    rows = [{"p": BASE64, "t": [1, 2]}, {"p": BASE64, "t": [1, 2, 3]}]
    assert fields_of(problems(made, body(rows))) == {"[1].t": "another shape: [3]"}
    assert made.read(body(rows[:1] * 2))[1].tolist() == [[1, 2], [1, 2]]


def test_pictures_of_one_input_are_counted_before_any_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("app.serving.tasks.inputs.files.decode_base64", asked.append)
    with pytest.raises(InvalidInput, match="1001 pictures in one request: expected at most 1000"):
        task().read(body([ROW] * 1001))
    assert asked == []


def test_limits_hold_for_all_inputs_together() -> None:
    made = task(limits=Limits(max_rows=3))
    # Two pictures a row.
    with pytest.raises(InvalidInput, match="4 pictures in one request: expected at most 3"):
        made.read(body([ROW] * 2))
    with pytest.raises(InvalidInput, match="4 rows"):
        made.read(body([ROW] * 4))
    with pytest.raises(BadRequest, match="the list is empty"):
        made.read(body([]))


def test_each_output_answers_as_its_kind_does() -> None:
    scores = np.array([[0.25, 0.75], [0.75, 0.25]], np.float32)
    outputs = [
        np.array([[33.4], [-0.2]], np.float32),
        scores,
        np.arange(10, dtype=np.float32).reshape(2, 5),
        np.arange(8, dtype=np.float32).reshape(2, 2, 2),
    ]
    first, second = task().answer(outputs)
    assert list(first) == ["age", "gender", "features", "map"]
    assert (first["age"], second["age"]) == (33, 0)
    assert str(second["age"]) == "0.0"
    assert first["gender"]["label"] == "m"
    assert second["features"].tolist() == [5, 6, 7, 8, 9]
    assert second["map"].tolist() == [[4, 5], [6, 7]]
    schema = task().answer_schema()
    assert schema["required"] == list(first) == list(schema["properties"])
    assert schema["properties"]["age"] == {"type": "number", "x-unit": "years"}


def test_answers_come_in_the_order_of_the_card() -> None:
    made = task(INPUTS, dict(reversed(OUTPUTS.items())))
    shapes = [(1, 1), (1, 2), (1, 5), (1, 2, 2)]
    (answer,) = made.answer([np.ones(shape, np.float32) for shape in shapes])
    assert list(answer) == ["map", "features", "gender", "age"]


def test_numbers_by_their_names() -> None:
    box = signature(spec("x", shape=(None, 6, 8, 3)), outputs=(spec("y", shape=(None, 4)),))
    names = ["left", "top", "width", "height"]
    made = task({"x": {"kind": "picture"}}, {"box": {"kind": "number", "names": names}}, box)
    (answer,) = made.answer([np.array([[1, 2, 3, 4]], np.float32)])
    assert answer == {"box": {"left": 1, "top": 2, "width": 3, "height": 4}}
    assert made.answer_schema()["properties"]["box"]["required"] == names
