"""Nested lists in, nested lists out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest, InvalidInput
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tensors import from_nested
from tests.unit.signatures import Shape, fields_of, problems, spec
from tests.unit.tensors import TWO, one, task


def body(value: Any) -> Payload:
    return Payload("json", json.dumps(value).encode())


def problem(made: RowTask, value: Any) -> tuple[str, str]:
    (found,) = problems(made, body(value))
    orjson.dumps(found.as_dict())
    return found.field, found.problem


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ((None, 2), [[1, 2.5]]),
        ((None, 2), [[1, 2], [3, 4], [5, 6]]),
        ((None,), [1, 2, 3]),
        ((None, None), [[1, 2, 3]]),
        ((None, 2, 1, 2), [[[[1, 2]], [[3, 4]]]]),
        ((2, 2), [[1, 2], [3, 4]]),
        ((None, 0), [[], []]),
        (None, [[[1]]]),
        (None, 5),
        ((), 5),
    ],
)
def test_nested_lists_become_an_array(shape: Shape, value: Any) -> None:
    (array,) = one(shape=shape).read(body(value))
    assert array.dtype == np.float32
    assert np.array_equal(array, np.array(value, np.float32))
    assert array.shape == np.array(value).shape


@pytest.mark.parametrize(
    ("shape", "value", "found"),
    [
        ((None, 2), [1, 2], [2]),
        ((None, 2), [[1, 2, 3]], [1, 3]),
        ((None, 2), [[[1, 2]]], [1, 1, 2]),
        ((None, 2), 5, []),
        ((None, 2), [[]], [1, 0]),
        ((2, 2), [[1, 2]], [1, 2]),
        ((), [1], [1]),
        ((None,), [[[[[1]]]]], [1, 1, 1, 1, 1]),
    ],
)
def test_a_wrong_shape_is_shown(shape: Shape, value: Any, found: list[int]) -> None:
    (detail,) = problems(one(shape=shape), body(value))
    sent = f"a list of shape {found}" if found else "a single value, no list"
    assert (detail.field, detail.problem) == ("x", f"wrong shape: sent {sent}")
    assert detail.value == found


def test_what_was_expected_names_type_and_shape() -> None:
    wanted = {
        "float32": "numbers (float32) of shape [any, 2]",
        "uint8": "whole numbers (uint8) of shape [any, 2]",
        "bool": "true or false (bool) of shape [any, 2]",
        "string": "texts (string) of shape [any, 2]",
    }
    for dtype, words in wanted.items():
        assert problems(one(dtype), body([[{}, {}]]))[0].expected == words
    assert str(problems(one(shape=None), body("x"))[0].expected).endswith("of shape any shape")


@pytest.mark.parametrize(
    "value", [[[1, 2], [3]], [[1, 2], 3], [[1], [2, 3]], [[[1], [2]], [[3, 4], [5]]], [[1, [2]]]]
)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_ragged_rows(dtype: str, value: Any) -> None:
    assert problem(one(dtype), value) == ("x", "rows of different lengths")


def test_ragged_texts() -> None:
    assert problem(one("string"), [["a", "b"], ["c"]]) == ("x", "rows of different lengths")


@pytest.mark.parametrize(
    ("dtype", "wrong"),
    [
        ("float32", ["1", True, None, {"a": 1}, ""]),
        ("int32", ["1", True, None, {}, 1.0, 1.5, 1e300]),
        ("uint8", [1.0, False]),
        ("bool", [0, 1, 1.0, "true", None]),
        ("string", [1, 1.5, None, True, {}]),
    ],
)
def test_only_its_own_type_will_do(dtype: str, wrong: list[Any]) -> None:
    good = {"bool": True, "string": "x"}.get(dtype, 1)
    for value in wrong:
        (found,) = problems(one(dtype), body([[good, good], [good, value]]))
        assert (found.field, found.problem) == ("x[1][1]", "wrong type")
        shown = {None: "null"}.get(value, value) if not isinstance(value, dict) else "an object"
        assert found.value == shown
        assert type(found.value) is type(shown)


def test_a_long_text_among_numbers_does_not_take_its_length_for_each() -> None:
    """As an array of texts this would be 40 GB."""
    value = ["x" * 100_000, *[0] * 99_999]
    assert problem(one(shape=(None,)), value) == ("x[0]", "wrong type")


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_whole_numbers_up_to_both_ends(dtype: str) -> None:
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    (array,) = one(dtype).read(body([[low, high]]))
    assert array.dtype == dtype
    assert array.tolist() == [[low, high]]
    if high + 1 < 2**64:
        assert problem(one(dtype), [[0, high + 1]]) == ("x", "out of range")
    if low - 1 >= -(2**63):
        assert problem(one(dtype), [[0, low - 1]]) == ("x", "out of range")


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**30])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_beyond_64_bits_json_has_no_whole_numbers(dtype: str, value: int) -> None:
    assert problem(one(dtype), [[0, value]]) == ("x[0][1]", "wrong type")


@pytest.mark.parametrize(
    ("dtype", "inside", "outside"),
    [
        ("float16", 65504.0, 65536.0),
        ("bfloat16", 3.3895313892515355e38, 3.4e38),
        ("float32", 3.4028234663852886e38, 3.5e38),
        ("float64", 1.7e308, None),
    ],
)
def test_floating_point_up_to_its_end(dtype: str, inside: float, outside: float | None) -> None:
    (array,) = one(dtype).read(body([[inside, -inside]]))
    assert array.tolist() == [[inside, -inside]]
    if outside is not None:
        for value in (outside, -outside):
            (found,) = problems(one(dtype), body([[0, value]]))
            assert (found.problem, found.expected) == ("out of range", f"values that fit {dtype}")


def test_numbers_that_only_differ_in_writing() -> None:
    (array,) = one("float64").read(body([[2**64 - 1, 1]]))
    assert array.tolist() == [[float(2**64 - 1), 1.0]]


@pytest.mark.parametrize("text", [b"", b"[NaN]", b"[1e400]", b"[" * 2000 + b"]" * 2000, b"\xff"])
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(BadRequest):
        one().read(Payload("json", text))


def test_lists_as_deep_as_the_limit_allows_and_deeper() -> None:
    """More than NumPy has dimensions."""
    limits = Limits(max_json_depth=200)
    for made in (one(), one(shape=None)):
        made = RowTask(made.card, made.signature, limits)
        deep = Payload("json", b"[" * 200 + b"1" + b"]" * 200)
        assert [d.field for d in problems(made, deep)] == ["x"]
        with pytest.raises(BadRequest, match=r"more than 200 levels.*MAX_JSON_DEPTH"):
            made.read(Payload("json", b"[" * 201 + b"1" + b"]" * 201))


def test_rows_up_to_the_limit_and_beyond() -> None:
    made = one()
    limited = RowTask(made.card, made.signature, Limits(max_rows=2))
    assert len(limited.read(body([[1, 2]] * 2))[0]) == 2
    (found,) = problems(limited, body([[1, 2]] * 3))
    assert (found.field, found.problem, found.value) == ("x", "3 rows", 3)
    # Where the first dimension counts no rows, it may be as long as it is.
    fixed = one(shape=(3,))
    limited = RowTask(fixed.card, fixed.signature, Limits(max_rows=2))
    assert limited.read(body([1, 2, 3]))[0].shape == (3,)


def test_texts_and_truths() -> None:
    (texts,) = one("string").read(body([["ü", ""], ["a", "b"]]))
    assert texts.dtype == object
    assert texts.tolist() == [["ü".encode(), b""], [b"a", b"b"]]
    (truths,) = one("bool").read(body([[True, False]]))
    assert truths.dtype == bool
    assert truths.tolist() == [[True, False]]


def test_a_single_input_may_be_named() -> None:
    assert one().read(body({"x": [[1, 2]]}))[0].tolist() == [[1, 2]]
    assert fields_of(problems(one(), body({"inptu": [[1, 2]]}))) == {
        "x": "missing",
        "inptu": "unexpected",
    }
    assert fields_of(problems(one(), body({"x": [[1, 2]], "z" * 200: 1}))) == {
        "z" * 100 + "…": "unexpected"
    }


def test_no_rows() -> None:
    assert problem(one(), []) == ("x", "no rows")
    assert problem(one(), {"x": []}) == ("x", "no rows")
    assert problem(one(shape=(0, 2)), []) == ("x", "wrong shape: sent a list of shape [0]")


# --- several inputs


SMALL_PARTS = pytest.mark.parametrize("at_once", [1, 2, 3, 7])


@SMALL_PARTS
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", [[1, 2.5], [3, 4], [5, 6]]),
        ("float32", [[[[1, 2]], [[3, 4]]]]),
        ("string", [[["a", "é"]], [["", "b"]]]),
        ("int64", [[[1], [2], [3], [4], [5]]]),
        ("bool", [True, False, True]),
        ("float32", [[[], []], [[], []]]),
    ],
)
def test_parts_are_the_whole(
    monkeypatch: pytest.MonkeyPatch, at_once: int, dtype: str, value: Any
) -> None:
    wanted = from_nested(value, spec(dtype=dtype, shape=None))
    monkeypatch.setattr("app.serving.tensors._AT_ONCE", at_once)
    found = from_nested(value, spec(dtype=dtype, shape=None))
    assert isinstance(wanted, np.ndarray)
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.tolist()) == (wanted.dtype, wanted.tolist())


@SMALL_PARTS
@pytest.mark.parametrize(
    ("value", "field", "found"),
    [
        ([[1, 2], [3, 4], [5]], "x", "rows of different lengths"),
        ([[1, 2], [3, 4], 5], "x", "rows of different lengths"),
        ([[1, 2], [3, 4], [5, [6]]], "x", "rows of different lengths"),
        ([[1, 2], [3, 4], [[5, 6], [7, 8]]], "x", "rows of different lengths"),
        ([[1, 2], [3, 4], [5, "6"]], "x[2][1]", "wrong type"),
        ([[1, 2], [3, None]], "x[1][1]", "wrong type"),
        ([[1, 2, 3], [4, 5, 6]], "x", "wrong shape: sent a list of shape [2, 3]"),
        ([[1, 2], [3, 1e300]], "x", "out of range"),
    ],
)
def test_parts_have_the_faults_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, at_once: int, value: Any, field: str, found: str
) -> None:
    monkeypatch.setattr("app.serving.tensors._AT_ONCE", at_once)
    assert problem(one(), value) == (field, found)


def test_many_unknown_inputs_are_not_looked_at_one_by_one() -> None:
    body = b'{"x":[[1,2]]' + b"".join(b',"k%d":1' % i for i in range(90_000)) + b"}"
    with pytest.raises(InvalidInput, match="the input has 1000 problems, of which"):
        one().read(Payload("json", body))


def test_several_inputs_come_in_the_models_order() -> None:
    a, b = TWO.read(body({"b": ["x", "y"], "a": [[1], [2]]}))
    assert (a.tolist(), b.tolist()) == ([[1], [2]], [b"x", b"y"])


def test_all_inputs_are_checked_at_once() -> None:
    assert fields_of(problems(TWO, body({"c": 1, "d": 2}))) == {
        "a": "missing",
        "b": "missing",
        "c": "unexpected",
        "d": "unexpected",
    }
    assert fields_of(problems(TWO, body({"a": [1], "b": [1]}))) == {
        "a": "wrong shape: sent a list of shape [1]",
        "b[0]": "wrong type",
    }
    assert fields_of(problems(TWO, body({"a": [], "b": []}))) == {"a": "no rows", "b": "no rows"}


@pytest.mark.parametrize("value", [[[1], [2]], 5, None, "x", []])
def test_several_inputs_need_their_names(value: Any) -> None:
    (found,) = problems(TWO, body(value))
    assert (found.field, found.problem) == ("body", "not an object")
    assert found.expected == "an object with one list of rows for each of a, b"


def test_as_many_rows_in_each() -> None:
    (found,) = problems(TWO, body({"a": [[1]], "b": ["x", "y"]}))
    assert (found.problem, found.value) == ("different numbers of rows", {"a": 1, "b": 2})


def test_without_an_open_first_dimension_nothing_is_a_row() -> None:
    made = task(spec("a", shape=(2, 1)), spec("n", "int32", ()))
    a, n = made.read(body({"a": [[1], [2]], "n": 3}))
    assert (a.shape, n.shape) == ((2, 1), ())


# --- any JSON


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("xab"), inner),
)


@given(JSON, st.sampled_from(["float16", "float32", "int8", "uint64", "bool", "string"]))
def test_whatever_is_json_gives_an_array_or_an_error_of_ours(value: Any, dtype: str) -> None:
    for made in (one(dtype), one(dtype, (None,)), one(dtype, None), TWO):
        try:
            made.read(body(value))
        except (BadRequest, InvalidInput) as error:
            orjson.dumps([d.as_dict() for d in error.details])
