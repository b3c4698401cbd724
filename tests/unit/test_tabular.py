"""Rows of named fields: JSON and CSV in, numbers or labels out."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import thread_slices
from app.errors import BadRequest, InvalidInput
from app.json_pieces import MAX_NAMES
from app.serving.tasks import Limits, Payload, RowTask
from app.serving.tasks.base import MAX_DETAILS
from tests.unit.rows import body, rows, task
from tests.unit.signatures import fields_of, problems

CAR = task(
    {"name": "weight", "min": 1613, "max": 5140, "unit": "lb"},
    {"name": "cylinders", "type": "integer", "min": 3, "max": 8},
    {"name": "year"},
)
GOOD = {"weight": 3504, "cylinders": 8, "year": 70.5}


# --- JSON


def test_columns_are_in_the_order_of_the_fields_whatever_the_order_of_the_keys() -> None:
    assert rows(CAR, {"year": 70.5, "cylinders": 8, "weight": 3504}) == [[3504, 8, 70.5]]
    (array,) = CAR.read(body([GOOD, GOOD | {"year": 1}]))
    assert array.tolist() == [[3504, 8, 70.5], [3504, 8, 1]]
    assert array.dtype == np.float32


def test_all_problems_at_once() -> None:
    found = problems(CAR, body({"weight": 100, "cylinders": "8", "color": "red"}))
    assert [d.as_dict() for d in found] == [
        {
            "field": "weight",
            "problem": "out of range",
            "value": 100,
            "expected": "a number from 1613 to 5140 (lb)",
        },
        {
            "field": "cylinders",
            "problem": "wrong type",
            "value": "8",
            "expected": "a whole number from 3 to 8",
        },
        {"field": "year", "problem": "missing", "expected": "a number"},
        {
            "field": "color",
            "problem": "unexpected",
            "value": "red",
            "expected": "one of weight, cylinders, year",
        },
    ]


@pytest.mark.parametrize("field", ["weight", "cylinders"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("5", "5"),
        ("", ""),
        (True, True),
        (False, False),
        (None, "null"),
        ([4], "a list"),
        ({"a": 4}, "an object"),
        ("x" * 101, "x" * 100 + "…"),
    ],
)
def test_only_a_number_is_a_number(field: str, value: object, shown: object) -> None:
    (found,) = problems(CAR, body(GOOD | {field: value}))
    assert (found.field, found.problem, found.value) == (field, "wrong type", shown)


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("weight", [1613, 1613.0, 5140], [1612.999, 5140.001, -1, 1e300]),
        ("cylinders", [3, 8], [2, 9, -3, 2**63, 2**64]),
    ],
)
def test_the_range_includes_its_ends(field: str, inside: list[float], outside: list[float]) -> None:
    for value in inside:
        CAR.read(body(GOOD | {field: value}))
    for value in outside:
        (found,) = problems(CAR, body(GOOD | {field: value}))
        assert (found.field, found.problem) == (field, "out of range")
        assert found.value == value
        orjson.dumps(found.value)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"min": 2}, "a number of at least 2 (m)"),
        ({"max": 2.5}, "a number of at most 2.5 (m)"),
        ({"min": -1234567.25, "max": 1234567}, "a number from -1234567.25 to 1234567 (m)"),
    ],
)
def test_what_was_expected_names_the_limits(limits: dict[str, float], words: str) -> None:
    made = task({"name": "a", "unit": "m", **limits})
    assert problems(made, body({"a": "x"}))[0].expected == words


def test_4_0_is_a_whole_number_and_4_5_is_none() -> None:
    assert rows(CAR, GOOD | {"cylinders": 4.0}) == [[3504, 4, 70.5]]
    (found,) = problems(CAR, body(GOOD | {"cylinders": 4.5}))
    assert (found.problem, found.value) == ("wrong type", 4.5)


def test_limits_of_a_whole_number_may_have_a_fraction() -> None:
    made = task({"name": "a", "type": "integer", "min": 0.5, "max": 2.5})
    assert rows(made, [{"a": 1}, {"a": 2}]) == [[1], [2]]
    assert fields_of(problems(made, body([{"a": 0}, {"a": 3}]))) == {
        "[0].a": "out of range",
        "[1].a": "out of range",
    }


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"  \n", b"{", b"[1,]", b"{'a': 1}", b'{"a":1}{"a":1}', b"[" * 60),
        *(b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e400}', b'{"a":' + b"1" * 400 + b"}"),
        *(b"\xff", b'{"a":"\xff"}'),
    ],
)
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(BadRequest, match=r"the body is (not JSON: .+|empty: expected JSON)"):
        CAR.read(body(text))


def test_rows_up_to_the_limit_and_beyond() -> None:
    limited = RowTask(CAR.card, CAR.signature, Limits(max_rows=2))
    csv = "weight,cylinders,year\n" + "3504,8,70\n\n" * 2
    for good in (body([GOOD] * 2), Payload("csv", csv.encode())):
        (table,) = limited.read(good)
        assert len(table) == 2
    with pytest.raises(InvalidInput, match=r"body: 3 rows, expected at most 2 .*MAX_ROWS"):
        limited.read(body([{}] * 3))
    with pytest.raises(InvalidInput, match=r"the CSV has more than 2 rows.*MAX_ROWS"):
        limited.read(Payload("csv", f"{csv}no,row,at all".encode()))


def test_a_csv_without_its_content_type() -> None:
    with pytest.raises(BadRequest, match=r"not JSON: .*; a CSV needs Content-Type: text/csv"):
        CAR.read(body(b"weight,cylinders,year\n3504,8,70\n"))


@pytest.mark.parametrize("value", [5, "x", None, True, 1.5])
def test_what_is_no_row(value: object) -> None:
    found = problems(CAR, body(value))
    assert [(d.field, d.problem) for d in found] == [("body", "not an object")]
    assert found[0].expected == "an object with weight, cylinders, year"
    assert fields_of(problems(CAR, body([GOOD, value]))) == {"[1]": "not an object"}
    assert fields_of(problems(CAR, body([[GOOD], GOOD]))) == {"[0]": "not an object"}


@pytest.mark.parametrize("value", [[3504, 8, 70], [[3504, 8, 70]], [None]])
def test_rows_without_names_are_one_problem(value: object) -> None:
    (found,) = problems(CAR, body(value))
    assert (found.field, found.problem) == ("body", "a list without objects")
    assert found.expected == "an object with weight, cylinders, year, or a list of such objects"


def test_an_empty_list_and_an_empty_object() -> None:
    with pytest.raises(BadRequest, match="the list is empty: expected at least one object"):
        CAR.read(body([]))
    assert set(fields_of(problems(CAR, body({}))).values()) == {"missing"}
    assert len(problems(CAR, body({}))) == 3


def test_of_equal_keys_the_last_counts() -> None:
    assert rows(task({"name": "a"}), b'{"a": "x", "a": 2}') == [[2]]


def test_the_index_of_a_row_is_in_the_path() -> None:
    found = problems(CAR, body([GOOD, {"weight": 1, "year": 1}, GOOD | {"x": 1}]))
    assert fields_of(found) == {
        "[1].weight": "out of range",
        "[1].cylinders": "missing",
        "[2].x": "unexpected",
    }


@pytest.mark.parametrize("name", ["a b", "a.b", "größe", "体重", "f0", "model_config", "__class__"])
def test_a_field_may_have_any_name(name: str) -> None:
    made = task({"name": name}, {"name": "other"})
    assert rows(made, {name: 1, "other": 2}) == [[1, 2]]
    assert fields_of(problems(made, body([{"other": 2, "f1": 1}]))) == {
        f"[0].{name}": "missing",
        "[0].f1": "unexpected",
    }
    (csv,) = made.read(Payload("csv", f"other,{name}\n1,2".encode()))
    assert csv.tolist() == [[2, 1]]


def test_a_very_long_name_is_cut() -> None:
    for value, prefix in ((GOOD | {"x" * 10_000: 1}, ""), ([GOOD | {"x" * 10_000: 1}], "[0].")):
        assert problems(CAR, body(value))[0].field == prefix + "x" * 100 + "…"


def test_as_many_problems_are_listed_as_fit() -> None:
    for count, listed in ((MAX_DETAILS, MAX_DETAILS), (MAX_DETAILS + 1, MAX_DETAILS)):
        with pytest.raises(InvalidInput) as caught:
            CAR.read(body([GOOD | {"weight": 0}] * count))
        assert len(caught.value.details) == listed
        assert caught.value.message.startswith(f"the input has {count} problems")
    with pytest.raises(InvalidInput, match="at least 1001 problems, of which the first 100"):
        CAR.read(body([GOOD | {"weight": 0}] * 5000))
    with pytest.raises(InvalidInput, match="has 1001 problems, of which the first 100"):
        CAR.read(body([GOOD | {"weight": 0}] * 1001))


def test_names_in_a_row_up_to_the_limit_and_beyond() -> None:
    most = Limits().columns(3)
    good = GOOD | {f"k{i}": i for i in range(most - 3)}
    assert len(problems(CAR, body(good))) == MAX_DETAILS
    (found,) = problems(CAR, body(good | {"one more": 1}))
    assert (found.field, found.value) == ("body", most + 1)
    assert found.problem == "1,001 names, among them k0, k1, k2"
    assert found.expected == "at most 1,000 names, those of an object with weight, cylinders, year"
    assert fields_of(problems(CAR, body([GOOD, good | {"one more": 1}]))) == {
        "[1]": "1,001 names, among them k0, k1, k2"
    }


def test_a_million_unknown_names_are_not_looked_at_one_by_one() -> None:
    def row(count: int) -> bytes:
        return b"{" + b",".join(b'"k%d":1' % i for i in range(count)) + b"}"

    (found,) = problems(CAR, body(row(MAX_NAMES)))
    assert found.problem == "100,000 names, among them k0, k1, k2"
    for count in (MAX_NAMES + 1, 1_000_000):
        with pytest.raises(BadRequest, match="an object in the body has more than 100,000 names"):
            CAR.read(body(row(count)))


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_wide_rows_are_freed_in_slices(
    kind: Literal["csv", "json"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent and what was made of it: freed in one go, eight million cells stop all threads
    for half a second."""
    count, names = 2_000, [f"f{i}" for i in range(500)]
    made = task(*({"name": name} for name in names))
    if kind == "csv":
        sent = "\n".join([",".join(names), *[",".join("1" * len(names))] * count]).encode()
    else:
        sent = orjson.dumps([dict.fromkeys(names, 1)] * count)
    parts: list[tuple[Any, int]] = []
    free = thread_slices._free

    def watched(added: list[tuple[Any, int]]) -> None:
        parts.extend(added)
        free(added)

    monkeypatch.setattr(thread_slices, "_free", watched)
    with thread_slices.working(lambda: None):
        made.read(Payload(kind, sent))
    whole = Counter[int]()
    for container, size in parts:
        if isinstance(container, list):
            whole[id(container)] += size
            assert size <= count // 10
    assert len([size for size in whole.values() if size > 0.9 * count]) == 2


def test_a_very_long_list() -> None:
    (array,) = CAR.read(body([GOOD | {"year": i} for i in range(20_000)]))
    assert array.shape == (20_000, 3)
    assert array[:, 2].tolist() == list(range(20_000))


# --- any JSON


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["weight", "cylinders", "year"]) | st.text(), inner)
    ),
)


@given(VALUES)
def test_whatever_is_json_gives_rows_or_an_error_of_ours(value: Any) -> None:
    try:
        (array,) = CAR.read(body(value))
    except (BadRequest, InvalidInput) as error:
        orjson.dumps([d.as_dict() for d in error.details])
    else:
        assert array.shape[1] == 3
