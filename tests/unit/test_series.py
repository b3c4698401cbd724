"""Series: the forms of requests, their problems, and what of card and model fits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from app.errors import BadRequest, CardError, InvalidInput
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.signature import Signature
from app.serving.tasks import Limits, Payload, RowTask
from tests.unit.signatures import Shape, problems, signature, spec


def task(
    shape: Shape = (None, 3, 2),
    card: dict[str, Any] | None = None,
    *,
    dtype: str = "float32",
    limits: Limits | None = None,
    max_length: int = 100,
) -> RowTask:
    of = signature(spec("x", dtype, shape), outputs=(spec("y", shape=(None, 2)),))
    bounded = of.bounded(max_length, 1000)
    said = {"kind": "series"} | (card or {})
    full = {"inputs": {"x": said}, "outputs": {"y": {"kind": "vector"}}}
    return RowTask(Card.model_validate(full), bounded, limits or Limits())


def body(value: Any) -> Payload:
    return Payload("json", json.dumps(value).encode())


def csv(text: str) -> Payload:
    return Payload("csv", text.encode())


ROWS = [[1, 2], [3, 4], [5, 6]]
NAMED = {"columns": ["temp", "wind"]}
OBJECTS = [{"wind": b, "temp": a} for a, b in ROWS]


def read(of: RowTask, payload: Payload) -> Any:
    (array,) = of.read(payload)
    assert array.dtype == of.signature.inputs[0].dtype
    return array.tolist()


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        OBJECTS,
        {"series": ROWS},
        {"x": ROWS},
        {"series": OBJECTS},
        [{"series": ROWS}],
        [{"x": OBJECTS}],
        [ROWS],
        [OBJECTS],
        [[9, 9], *ROWS],  # the last rows count
        {"series": [{"wind": 1, "temp": 1}, *OBJECTS]},
    ],
)
def test_a_series_has_many_forms(value: Any) -> None:
    assert read(task(card=NAMED), body(value)) == [ROWS]


@pytest.mark.parametrize("value", [[ROWS, ROWS], [{"x": ROWS}, {"series": ROWS}]])
def test_several_series_are_several_rows(value: Any) -> None:
    assert read(task(), body(value)) == [ROWS, ROWS]


@pytest.mark.parametrize("shape", [(None, 3), (None, 3, 1)])
@pytest.mark.parametrize("value", [[1, 2, 3], [[1], [2], [3]], {"x": [1, [2], 3]}, [0, 1, 2, 3]])
def test_a_single_column_may_be_plain_numbers(shape: Shape, value: Any) -> None:
    expected = [[1, 2, 3]] if len(shape or ()) == 2 else [[[1], [2], [3]]]
    assert read(task(shape), body(value)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4\n5,6\n",
        "0,0\n1,2\n3,4\n5,6",
        "temp,wind\n1,2\n3,4\n5,6\n",
        "temp,wind\r\n\r\n1,2\r\n3,4\r\n5,6\r\n",
        "day;wind;temp;note\nMon;2;1;\nTue;4;3;x\nWed;6;5;y\n",
        "temp\twind\n1\t2\n3\t4\n5\t6\n",
        '"temp","wind"\n"1","2"\n3,4\n5e0,6.0\n',
        "\ufeff,temp,wind\n0,1,2\n1,3,4\n2,5,6\n",
        "temp,wind\nbad,row\n1,2\n3,4\n5,6\n",  # only what is used is read
    ],
)
def test_a_csv_is_one_series(text: str) -> None:
    assert read(task(card=NAMED), csv(text)) == [ROWS]


@pytest.mark.parametrize("text", ["1\n2\n3\n", "sales\n1\n2\n3\n", "1.0\n\n2\n3"])
def test_a_csv_of_one_column(text: str) -> None:
    assert read(task((None, 3, 1)), csv(text)) == [[[1], [2], [3]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the CSV is empty: expected lines of temp,wind"),
        ("temp,wind\n", "the CSV has no rows"),
        ("temp,rain\n1,2\n", "lacks wind: expected lines of temp,wind"),
        ("temp,wind,wind\n1,2,3\n", "names 'wind' twice"),
        ("temp,wind\n1,\x002\n", None),
    ],
)
def test_a_csv_that_cannot_be_read(text: str, message: str | None) -> None:
    with pytest.raises((BadRequest, InvalidInput)) as caught:
        task(card=NAMED).read(csv(text))
    assert message is None or message in caught.value.message


def test_names_that_no_card_knows() -> None:
    with pytest.raises(BadRequest, match="has 3 names: expected lines of 2 numbers; 'columns'"):
        task().read(csv("day,temp,wind\nMon,1,2\n"))
    # A value that is missing is no name.
    (detail,) = problems(task((None, 1, 1)), csv("n/a\n"))
    assert (detail.field, detail.problem) == ("line 1", "not a number")


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (body([]), {"body": "no rows"}),
        (body([[1, 2]]), {"body": "1 row"}),
        (body("a"), {"body": "not a list"}),
        (body(ROWS[:2]), {"body": "2 rows"}),
        (body([[1, 2], [3], 5]), {"[1]": "1 values", "[2]": "wrong type"}),
        (
            body([[1, "a"], [True, 4], [5, None]]),
            dict.fromkeys(("[0].wind", "[1].temp", "[2].wind"), "wrong type"),
        ),
        (body([[0, "unused"], *ROWS[:2], [1, "b"]]), {"[3].wind": "wrong type"}),
        (
            body([OBJECTS[0], {"temp": 1}, {"temp": 1, "wind": 2, "rain": 3}]),
            {"[1].wind": "missing", "[2].rain": "unexpected"},
        ),
        (body({"series": [1, 2]}), {"series": "2 rows"}),
        (body({"y": ROWS}), {"y": "unexpected", "series": "missing"}),
        (body([{"x": ROWS}, 3, {"x": 4}]), {"[1]": "not an object", "[2].x": "not a list"}),
        (body([ROWS, ROWS[:1]]), {"[1]": "1 row"}),
        (body([[1e39, 2], *ROWS[1:]]), {"body": "out of range"}),
        (
            csv("1;2\n3,5;x\n4,5;9,5\n"),
            {
                "column temp": "decimal commas",
                "column wind": "decimal commas",
                "line 2: wind": "not a number",
            },
        ),
        (csv("1,2\n3,x\n5\n"), {"line 2: wind": "not a number", "line 3": "1 cells"}),
        (
            csv("1,2\nnan,inf\n1_0,2\n"),
            dict.fromkeys(("line 2: temp", "line 2: wind", "line 3: temp"), "not a number"),
        ),
        (csv("temp,wind\n1,2\n"), {"body": "1 row"}),
        (
            csv("wind,temp\n1,2\n,2\n3,\n"),
            {"line 3: wind": "not a number", "line 4: temp": "not a number"},
        ),
    ],
)
def test_all_problems_at_once(payload: Payload, found: dict[str, str]) -> None:
    details = problems(task(card=NAMED), payload)
    assert {d.field: d.problem for d in details} == found
    assert all(d.expected for d in details)


def test_what_is_too_short_says_what_is_expected() -> None:
    (detail,) = problems(task(card=NAMED), body(ROWS[:1]))
    assert detail.expected == (
        "a list of at least 3 rows of 2 numbers, in time order (the last 3 are used)"
    )


def test_open_steps_have_a_limit() -> None:
    of = task((None, None, 2), max_length=3)
    assert read(of, body(ROWS)) == [ROWS]
    assert read(of, body(ROWS[:1])) == [ROWS[:1]]
    for payload in (body([*ROWS, [7, 8]]), csv("1,2\n3,4\n5,6\n7,8\n")):
        (detail,) = problems(of, payload)
        assert (detail.field, detail.problem) == ("body", "4 long")
        assert detail.expected == "at most 3 (runtime.max_length of the model's card)"


def test_series_of_one_request_are_of_one_length() -> None:
    (detail,) = problems(task((None, None, 2)), body([ROWS, ROWS[:2]]))
    assert (detail.field, detail.expected) == ("[1]", "3 rows, as in the first series")


def test_the_card_settles_open_steps() -> None:
    of = task((None, None, 2), {"steps": 2})
    assert read(of, body(ROWS)) == [ROWS[1:]]
    assert read(of, csv("1,2\n3,4\n5,6\n")) == [ROWS[1:]]
    (detail,) = problems(of, body(ROWS[:1]))
    assert detail.problem == "1 row"


def test_a_csv_has_as_many_lines_as_a_request_rows() -> None:
    limits = Limits(max_rows=4)
    assert read(task(card=NAMED, limits=limits), csv("0,0\n1,2\n3,4\n5,6\n")) == [ROWS]
    with pytest.raises(InvalidInput, match=r"more than 4 rows.*KERAPORT_MAX_ROWS"):
        task(card=NAMED, limits=limits).read(csv("0,0\n" * 2 + "1,2\n3,4\n5,6\n"))


def test_whole_numbers() -> None:
    of = task((None, 2, 1), dtype="int32")
    assert read(of, body([1, 2.0])) == [[[1], [2]]]
    assert read(of, csv("1\n2.0\n")) == [[[1], [2]]]
    assert problems(of, body([1, 2.5]))[0].problem == "not whole numbers"
    assert problems(of, body([1, 2**31]))[0].problem == "out of range"
    assert problems(task((None, 2, 1), dtype="uint8"), body([1, -1]))[0].problem == "out of range"


@pytest.mark.parametrize(
    ("shape", "card", "message"),
    [
        ((None, 4, 4, 1), {}, "inputs.x: the kind series needs an input of numbers of shape"),
        ((3, 2), {"columns": ["a", "b"]}, "columns has 2 names, the model takes 1"),
        ((None, 3, 2), {"columns": ["a"]}, "inputs.x.columns has 1 names, the model takes 2"),
        ((None, 3, 2), {"steps": 4}, "inputs.x.steps 4 does not match the model's 3"),
        ((None, None, 2), {"steps": 101}, "steps: 101 is above runtime.max_length, 100"),
        ((None, 3, None), {}, "takes any number of columns: name them with 'x: {kind: series"),
    ],
)
def test_what_does_not_fit_the_model(shape: Shape, card: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError) as caught:
        task(shape, card)
    assert message in caught.value.message


def test_columns_of_an_open_number_are_those_of_the_card() -> None:
    assert read(task((None, 3, None), NAMED), body(ROWS)) == [ROWS]


def test_a_recurrent_layer_makes_a_series_a_guess() -> None:
    base = signature(spec("x", shape=(None, 3, 2)), classes=2, activation="linear")
    of = Signature(base.inputs, base.outputs, meanings=base.meanings, parameters=1, series=("x",))
    card, _ = completed(None, of)
    assert card.inputs is not None
    assert card.inputs["x"].kind == "series"
    assert "the kinds of the inputs (series) are a guess: set inputs" in [
        str(guess) for guess in guesses(None, card, of)
    ]
    assert completed(None, base)[0].task == "tensor"


def test_the_example_is_a_series() -> None:
    (array,) = task((None, None, 2)).example() or []
    assert array.tolist() == np.zeros((1, 1, 2)).tolist()
    (array,) = task((None, 3)).example() or []
    assert array.shape == (1, 3)
