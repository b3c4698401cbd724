"""Scores become labels and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.errors import CardError
from app.serving.card import Card, Output
from app.serving.tasks.classes import Classes
from tests.unit.signatures import signature, spec


def classes(units: int, activation: str | None = "softmax", **card: Any) -> Classes:
    return Classes(
        Card(task="tabular-classification", **card),
        signature(classes=units, activation=activation),
    )


def answer(reader: Classes, *scores: float) -> dict[str, Any]:
    (found,) = reader.answer(np.array([scores], np.float32))
    return found


def top(found: dict[str, Any]) -> list[tuple[str, float]]:
    return [(entry["label"], entry["probability"]) for entry in found["top"]]


@pytest.mark.parametrize(
    ("score", "label", "probability"),
    [(0.0, "cat", 1.0), (0.25, "cat", 0.75), (0.7499, "cat", 0.2501), (0.75, "dog", 0.75)],
)
def test_one_sigmoid_unit_is_the_probability_of_the_second_label(
    score: float, label: str, probability: float
) -> None:
    found = answer(classes(1, "sigmoid", labels=["cat", "dog"], threshold=0.75), score)
    assert (found["label"], found["probability"]) == (label, probability)
    assert dict(top(found)) == {"cat": round(1 - score, 6), "dog": score}
    assert "labels" not in found


def test_the_threshold_is_a_half_unless_said_otherwise() -> None:
    reader = classes(1, "sigmoid")
    assert [answer(reader, s)["label"] for s in (0.4999, 0.5)] == ["0", "1"]


def test_softmax_gives_the_most_probable_label_and_the_top_of_them() -> None:
    found = answer(classes(4, labels=["a", "b", "c", "d"], top=3), 0.125, 0.5, 0.0625, 0.3125)
    assert found == {
        "label": "b",
        "probability": 0.5,
        "top": [
            {"label": "b", "probability": 0.5},
            {"label": "d", "probability": 0.3125},
            {"label": "a", "probability": 0.125},
        ],
    }


def test_a_threshold_does_not_touch_a_choice_among_many() -> None:
    assert answer(classes(3, threshold=0.9), 0.2, 0.5, 0.3)["label"] == "1"


@pytest.mark.parametrize(("wanted", "count"), [(1, 1), (3, 3), (4, 3)])
def test_top_lists_no_more_than_there_are(wanted: int, count: int) -> None:
    assert len(answer(classes(3, top=wanted), 0.2, 0.5, 0.3)["top"]) == count


def test_of_equals_the_first_comes_first() -> None:
    found = answer(classes(64, top=64), *[1 / 128, 3 / 128] * 32)
    assert found["label"] == "1"
    assert [label for label, _ in top(found)] == [
        str(i) for i in (*range(1, 64, 2), *range(0, 64, 2))
    ]


def test_several_sigmoid_units_each_stand_alone() -> None:
    reader = classes(4, "sigmoid", labels=["a", "b", "c", "d"], threshold=0.25)
    found = answer(reader, 0.25, 0.875, 0.125, 0.75)
    assert found["labels"] == ["a", "b", "d"]
    assert found["label"] == "b"
    assert top(found) == [("b", 0.875), ("d", 0.75), ("a", 0.25), ("c", 0.125)]
    assert answer(reader, 0.1, 0.2, 0.1, 0.1)["labels"] == []


@pytest.mark.parametrize(
    ("file", "card", "kind", "logits"),
    [
        ("softmax", None, "single", False),
        ("sigmoid", None, "multi", False),
        ("linear", None, "single", True),
        (None, None, "single", False),
        ("softmax", "softmax", "single", False),
        ("sigmoid", "sigmoid", "multi", False),
        ("linear", "softmax", "single", True),
        ("linear", "sigmoid", "multi", True),
        (None, "softmax", "single", True),
        (None, "sigmoid", "multi", True),
        ("linear", "none", "single", False),
        ("sigmoid", "none", "multi", False),
        (None, "none", "single", False),
    ],
)
def test_the_card_goes_before_what_the_file_says(
    file: str | None, card: Any, kind: str, logits: bool
) -> None:
    reader = classes(3, file, output=Output(activation=card))
    assert (reader.kind, reader.logits) == (kind, logits)


def test_logits_become_probabilities() -> None:
    scores = (1.0, 3.0, -2.0)
    single = answer(classes(3, "linear", top=3), *scores)
    exp = np.exp(scores)
    assert dict(top(single)) == pytest.approx(
        dict(zip("012", exp / exp.sum(), strict=True)), abs=1e-6
    )
    multi = answer(classes(3, "linear", output=Output(activation="sigmoid")), *scores)
    assert dict(top(multi)) == pytest.approx(
        {str(i): 1 / (1 + np.exp(-s)) for i, s in enumerate(scores)}, abs=1e-6
    )
    binary = answer(classes(1, "linear"), 2.0)
    assert binary["label"] == "1"
    assert binary["probability"] == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-6)


@pytest.mark.parametrize("size", [1e3, 1e30, 3e38])
def test_extreme_logits_do_not_overflow(size: float) -> None:
    assert answer(classes(2, "linear"), -size, size)["probability"] == 1.0
    assert answer(classes(1, "linear"), size)["top"] == [
        {"label": "1", "probability": 1.0},
        {"label": "0", "probability": 0.0},
    ]
    assert answer(classes(1, "linear"), -size)["label"] == "0"


def test_probabilities_sum_to_one_and_have_six_decimals() -> None:
    rng = np.random.default_rng(0)
    for found in classes(20, "linear", top=20).answer(rng.normal(size=(50, 20)).astype(np.float32)):
        values = [p for _, p in top(found)]
        assert sum(values) == pytest.approx(1, abs=20 * 5e-7)
        assert all(p == round(p, 6) for p in values)
        assert values == sorted(values, reverse=True)
    assert answer(classes(2), 1 / 3, 2 / 3)["probability"] == 0.666667


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_stay_apart_whatever_their_dtype(dtype: str) -> None:
    found = classes(2, labels=["a", "b"]).answer(np.array([[1, 0], [0.25, 0.75]], dtype))
    assert [(f["label"], f["probability"]) for f in found] == [("a", 1.0), ("b", 0.75)]
    assert classes(2).answer(np.zeros((0, 2), dtype)) == []


@pytest.mark.parametrize(
    ("units", "labels", "message"),
    [
        (1, ["a"], "1 labels do not match the model's output of 1 unit, a probability: expected 2"),
        (1, ["a", "b", "c"], "expected 2 labels"),
        (3, ["a", "b"], "2 labels do not match the model's output of 3 units: expected 3 labels"),
        (3, [], "0 labels"),
        (3, "imagenet", "'imagenet' was not read"),
    ],
)
def test_labels_must_be_as_many_as_the_model_has(units: int, labels: Any, message: str) -> None:
    with pytest.raises(CardError, match=message):
        classes(units, labels=labels)


@pytest.mark.parametrize("shape", [None, (), (None,), (None, None), (None, 2, 3)])
def test_an_output_of_another_shape_is_no_classifier(shape: Any) -> None:
    with pytest.raises(CardError, match=r"output of shape \(rows, classes\).*task: tensor"):
        Classes(Card(task="tabular-classification"), signature(outputs=(spec("y", shape=shape),)))


def test_two_outputs_are_no_classifier() -> None:
    two = (spec("a", shape=(None, 2)), spec("b", shape=(None, 2)))
    with pytest.raises(CardError, match="this one has 2"):
        Classes(Card(task="tabular-classification"), signature(outputs=two))


def test_a_softmax_of_one_unit_would_always_say_one() -> None:
    with pytest.raises(CardError, match="softmax needs several units"):
        classes(1, "linear", output=Output(activation="softmax"))


@pytest.mark.parametrize(
    ("units", "activation", "keys"),
    [
        (1, "sigmoid", ["label", "probability", "top"]),
        (3, "softmax", ["label", "probability", "top"]),
        (3, "sigmoid", ["label", "probability", "labels", "top"]),
    ],
)
def test_the_schema_is_that_of_the_answers(units: int, activation: str, keys: list[str]) -> None:
    made = classes(units, activation, top=2)
    schema = made.schema()
    (answer,) = made.answer(np.full((1, units), 0.6, np.float32))
    assert list(answer) == keys == schema["required"] == list(schema["properties"])
    top = schema["properties"]["top"]
    assert top["minItems"] == top["maxItems"] == len(answer["top"]) == 2
    labels = schema["properties"]["label"]["enum"]
    assert labels == made.labels
    assert answer["label"] in labels
