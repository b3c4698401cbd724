"""Values of fields: choices, and what the model's input accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.errors import CardError
from app.serving.cards.card import Card, FieldSpec
from app.serving.tasks import Limits, Payload, RowTask
from tests.unit.rows import body, rows, task
from tests.unit.signatures import Shape, fields_of, problems, signature, spec

# --- choices


def test_a_list_of_words_becomes_their_number() -> None:
    made = task({"name": "a", "choices": ["usa", "europe", "japan"]})
    assert rows(made, [{"a": "usa"}, {"a": "japan"}]) == [[0], [2]]
    (found,) = problems(made, body({"a": "mars"}))
    assert (found.field, found.problem, found.value) == ("a", "not one of the choices", "mars")
    assert found.expected == "one of usa, europe, japan"


def test_a_list_of_words_stays_words_where_the_model_takes_texts() -> None:
    made = task({"name": "a", "choices": ["usa", "europe"]}, dtype="string")
    assert rows(made, [{"a": "europe"}]) == [["europe"]]


def test_a_list_of_numbers_stays_what_it_is() -> None:
    made = task({"name": "a", "choices": [3, 4.0, 5.5]})
    assert rows(made, [{"a": v} for v in (3, 3.0, 4, 4.0, 5.5, "3")]) == [
        [3], [3], [4], [4], [5.5], [3],
    ]  # fmt: skip
    (csv,) = made.read(Payload("csv", b"a\n3\n3.0\n4.0\n5.5"))
    assert csv.ravel().tolist() == [3, 3, 4, 5.5]


def test_a_mapping_takes_the_value_or_its_label() -> None:
    made = task({"name": "a", "choices": {1: "usa", 2.0: "europe"}})
    assert rows(made, [{"a": v} for v in (1, "usa", 2, 2.0, "europe", "1")]) == [
        [1], [1], [2], [2], [2], [1],
    ]  # fmt: skip
    assert problems(made, body({"a": 0}))[0].expected == "one of 1 (usa), 2.0 (europe)"


@pytest.mark.parametrize("value", [True, None, [1], {"1": 1}, "", "None", "True", 1.5, 10, "USA"])
def test_what_is_no_choice(value: object) -> None:
    made = task({"name": "a", "choices": {1: "usa", 0: "europe"}})
    assert fields_of(problems(made, body({"a": value}))) == {"a": "not one of the choices"}


def test_null_and_true_are_not_the_words_for_them() -> None:
    made = task({"name": "a", "choices": ["None", "True"]})
    assert rows(made, [{"a": "None"}, {"a": "True"}]) == [[0], [1]]
    assert len(problems(made, body([{"a": None}, {"a": True}]))) == 2


# --- what the model takes


@pytest.mark.parametrize(
    ("dtype", "inside", "outside"),
    [
        ("uint8", [0, 255], [-1, 256]),
        ("int8", [-128, 127], [-129, 128]),
        ("int32", [-(2**31), 2**31 - 1], [-(2**31) - 1, 2**31]),
        ("int64", [-(2**63), 2**63 - 1], [2**63]),
        ("uint64", [0, 2**64 - 1], [-1, 2**64]),
        ("bool", [0, 1], [-1, 2]),
        ("float16", [-65504, 65504], [65505, -1e5]),
        ("float32", [3.4028234e38, -3.4028234e38], [3.5e38, -1e300]),
        ("float64", [1e308], []),
    ],
)
def test_a_value_must_fit_the_models_dtype(
    dtype: str, inside: list[float], outside: list[float]
) -> None:
    made = task({"name": "a"}, dtype=dtype)
    (array,) = made.read(body([{"a": v} for v in inside]))
    assert array.dtype == dtype
    assert np.array_equal(array.ravel(), np.array(inside, dtype))
    for value in outside:
        (found,) = problems(made, body({"a": value}))
        assert found.problem == "out of range"
        assert str(found.expected).endswith(f"that fits {dtype}")


def test_a_model_of_whole_numbers_takes_no_fraction() -> None:
    made = task({"name": "a"}, dtype="int32")
    (found,) = problems(made, body({"a": 1.5}))
    assert (found.problem, found.expected) == ("wrong type", "a whole number")
    assert made.input_schema()["properties"]["a"] == {"type": "integer"}


@pytest.mark.parametrize(
    ("field", "dtype", "message"),
    [
        ({"type": "text"}, "float32", "expected 'type: number'"),
        ({}, "string", "expected 'type: text'"),
        ({"choices": {"a": "Alpha"}}, "float32", "cannot hold the choice 'a' as float32"),
        ({"choices": {1: "one"}}, "string", "cannot hold the choice 1 as string"),
        ({"choices": [0.5]}, "int32", "cannot hold the choice 0.5 as int32"),
        ({"choices": [1, 300]}, "uint8", "cannot hold the choice 300 as uint8"),
        ({"choices": ["a", "b"], "type": "text"}, "float32", "cannot hold the choice 'a'"),
    ],
)
def test_a_field_that_the_model_cannot_take_is_found_at_once(
    field: dict[str, Any], dtype: str, message: str
) -> None:
    with pytest.raises(CardError, match=f"^model.yaml: fields: colour: .*{message}"):
        task({"name": "colour", **field}, dtype=dtype)


def test_several_named_inputs_take_a_column_each() -> None:
    inputs = (
        spec("age", "int64", (None, 1)),
        spec("town", "string", (None,)),
        spec("size", "float32", (None, None)),
        spec("kind", "string", (None, 1)),
    )
    fields = [
        FieldSpec(name="kind", type="text", choices=["a", "b"]),
        FieldSpec(name="size"),
        FieldSpec(name="town", type="text"),
        FieldSpec(name="age"),
    ]
    made = RowTask(Card(task="tabular-regression", fields=fields), signature(*inputs), Limits())
    value = [{"age": i, "town": f"t{i}", "size": i / 2, "kind": "ab"[i]} for i in range(2)]
    age, town, size, kind = made.read(body(value))
    assert [a.dtype for a in (age, town, size, kind)] == [np.int64, object, np.float32, object]
    assert age.tolist() == [[0], [1]]
    assert town.tolist() == ["t0", "t1"]
    assert size.tolist() == [[0], [0.5]]
    assert kind.tolist() == [["a"], ["b"]]
    assert fields_of(problems(made, body(value[0] | {"town": 5, "age": 1.5, "kind": "c"}))) == {
        "kind": "not one of the choices",
        "town": "wrong type",
        "age": "wrong type",
    }


def test_inputs_without_fields_in_the_card_are_the_fields() -> None:
    made = RowTask(
        Card(task="tabular-regression"),
        signature(spec("age", "int32"), spec("town", "string")),
        Limits(),
    )
    age, town = made.read(body({"town": "x", "age": 3.0}))
    assert (age.tolist(), town.tolist()) == ([[3]], [["x"]])
    numbered = RowTask(Card(task="tabular-regression"), signature(spec(shape=(None, 3))), Limits())
    assert rows(numbered, {"x2": 3, "x0": 1, "x1": 2}) == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("shape", "count"),
    [((None, 3), 2), ((None,), 2), ((), 1), ((None, 2), 1), ((None, 1), 2)],
)
def test_fields_must_fill_the_input(shape: Shape, count: int) -> None:
    card = Card(task="tabular-regression", fields=[FieldSpec(name=n) for n in "abc"[:count]])
    said = rf"{count} fields? cannot fill the model's input x"
    if not shape:
        said = "do not count the same rows"
    with pytest.raises(CardError, match=said):
        RowTask(card, signature(spec(shape=shape)), Limits())


@pytest.mark.parametrize(("shape", "wanted"), [((None, 1), [[5]]), ((None,), [5]), (None, [5])])
def test_a_single_field(shape: Shape, wanted: list[Any]) -> None:
    card = Card(task="tabular-regression", fields=[FieldSpec(name="a")])
    assert rows(RowTask(card, signature(spec(shape=shape)), Limits()), {"a": 5}) == wanted


def test_wide_or_misnamed_inputs_are_found_at_once() -> None:
    with pytest.raises(CardError, match="1 field cannot fill the model's input b"):
        RowTask(
            Card(task="tabular-regression"),
            signature(spec("a"), spec("b", shape=(None, 4))),
            Limits(),
        )
    card = Card(task="tabular-regression", fields=[FieldSpec(name="a"), FieldSpec(name="c")])
    with pytest.raises(CardError, match=r"\['a', 'c'\] do not match .* \['a', 'b'\]"):
        RowTask(card, signature(spec("a"), spec("b")), Limits())
    with pytest.raises(CardError, match="list them in 'fields'"):
        RowTask(Card(task="tabular-regression"), signature(spec(shape=(None, None))), Limits())
