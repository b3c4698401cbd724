"""Scores become labels and probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import CardError
from app.json_body import write_json
from app.serving.cards.card import Card, Output
from app.serving.signature import OutputMeaning
from app.serving.tasks import Limits, RowTask
from app.serving.tasks.outputs.classes import Classes, conversion
from tests.unit.signatures import MEANINGS, signature, spec


def classes(units: int, activation: str | None = "softmax", **card: Any) -> Classes:
    (made,) = RowTask(
        Card(task="tabular-classification", **card),
        signature(classes=units, activation=activation),
        Limits(),
    ).outputs
    assert isinstance(made, Classes)
    return made


def answer(reader: Classes, *scores: float) -> dict[str, Any]:
    (found,) = reader.values(np.array([scores], np.float32))
    return found


def top(found: dict[str, Any], key: str = "probability") -> list[tuple[str, float]]:
    return [(entry["label"], entry[key]) for entry in found["top"]]


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
    ("file", "card", "kind", "function", "key"),
    [
        ("softmax", None, "single", None, "probability"),
        ("sigmoid", None, "multi", None, "probability"),
        ("linear", None, "single", "softmax", "probability"),
        ("log_softmax", None, "single", "exp", "probability"),
        ("relu", None, "single", None, "score"),
        (None, None, "single", None, "score"),
        ("softmax", "softmax", "single", None, "probability"),
        ("sigmoid", "sigmoid", "multi", None, "probability"),
        ("log_softmax", "softmax", "single", "exp", "probability"),
        ("softmax", "sigmoid", "multi", "sigmoid", "probability"),
        ("sigmoid", "softmax", "single", "softmax", "probability"),
        ("linear", "softmax", "single", "softmax", "probability"),
        ("linear", "sigmoid", "multi", "sigmoid", "probability"),
        ("relu", "softmax", "single", "softmax", "probability"),
        (None, "softmax", "single", "softmax", "probability"),
        (None, "sigmoid", "multi", "sigmoid", "probability"),
        ("linear", "none", "single", None, "score"),
        ("log_softmax", "none", "single", None, "score"),
        ("relu", "none", "single", None, "score"),
        ("softmax", "none", "single", None, "probability"),
        ("sigmoid", "none", "multi", None, "probability"),
        (None, "none", "single", None, "probability"),
    ],
)
def test_the_card_goes_before_what_the_file_says(
    file: str | None, card: Any, kind: str, function: str | None, key: str
) -> None:
    reader = classes(3, file, output=Output(activation=card))
    meaning = meaning_of(file)
    assert (reader.reading, conversion(meaning, card).function, reader.key) == (kind, function, key)
    assert list(answer(reader, 0.1, 0.2, 0.3))[1] == key


def meaning_of(file: str | None) -> OutputMeaning:
    return MEANINGS[file] if file else OutputMeaning("unknown", None, False, "")


@pytest.mark.parametrize(
    ("numbers", "proven", "card", "function", "key"),
    [
        ("softmax", False, None, None, "score"),
        ("softmax", False, "softmax", None, "probability"),
        ("unknown", False, None, None, "score"),
        ("values", True, "none", None, "score"),
        ("logits", True, None, "softmax", "probability"),
    ],
)
def test_a_guess_about_the_numbers_is_no_probability(
    numbers: Any, proven: bool, card: Any, function: str | None, key: str
) -> None:
    found = conversion(OutputMeaning(numbers, True, proven, ""), card)
    assert (found.function, found.probable) == (function, key == "probability")


def scored(units: int, meaning: OutputMeaning, **card: Any) -> Classes:
    made = replace(signature(classes=units), meanings=(meaning,))
    (out,) = RowTask(Card(task="tabular-classification", **card), made, Limits()).outputs
    assert isinstance(out, Classes)
    return out


def test_a_number_that_is_no_probability_is_a_score() -> None:
    reader = scored(3, MEANINGS["relu"], labels=["a", "b", "c"], top=2)
    assert answer(reader, 7.5, 1234.25, 0.0) == {
        "label": "b",
        "score": 1234.25,
        "top": [{"label": "b", "score": 1234.25}, {"label": "a", "score": 7.5}],
    }


def test_scores_have_seven_digits_wherever_the_point_is() -> None:
    reader = scored(2, MEANINGS["relu"], labels=["a", "b"])
    assert top(answer(reader, 1.25e-12, 1 / 3), "score") == [("b", 0.3333333), ("a", 1.25e-12)]
    found = answer(reader, -1.234567e-38, -3.234567e38)
    assert len(write_json(found)) <= reader.row_bytes


def test_logarithms_of_probabilities_are_made_probabilities() -> None:
    found = answer(classes(2, "log_softmax", labels=["a", "b"]), *np.log([0.25, 0.75]))
    assert found["probability"] == pytest.approx(0.75, abs=1e-6)
    several = OutputMeaning("log-probabilities", None, True, "", multi=True)
    found = answer(scored(2, several, labels=["a", "b"]), *np.log([0.75, 0.625]))
    assert found["labels"] == ["a", "b"]
    assert found["probability"] == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize(
    ("middle", "score", "label", "scores"),
    [
        (0.5, 0.75, "yes", {"no": 0.25, "yes": 0.75}),
        (0.5, 0.25, "no", {"no": 0.75, "yes": 0.25}),
        (0.0, 0.25, "yes", {"no": -0.25, "yes": 0.25}),
        (0.0, -2.0, "no", {"no": 2.0, "yes": -2.0}),
    ],
)
def test_a_single_score_stands_for_the_second_label_from_its_middle(
    middle: float, score: float, label: str, scores: dict[str, float]
) -> None:
    meaning = OutputMeaning("values", True, True, "", middle=middle)
    found = answer(scored(1, meaning, labels=["no", "yes"]), score)
    assert (found["label"], found["score"]) == (label, scores[label])
    assert {entry["label"]: entry["score"] for entry in found["top"]} == scores
    said = scored(1, meaning, labels=["no", "yes"], threshold=0.9)
    assert answer(said, score)["label"] == "no"


def test_logits_of_several_classes_at_once_get_a_sigmoid() -> None:
    meaning = OutputMeaning("logits", True, True, "", multi=True)
    reader = scored(2, meaning, labels=["a", "b"])
    assert answer(reader, 0.0, 0.0)["labels"] == ["a", "b"]


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
    for found in classes(20, "linear", top=20).values(rng.normal(size=(50, 20)).astype(np.float32)):
        values = [p for _, p in top(found)]
        assert sum(values) == pytest.approx(1, abs=20 * 5e-7)
        assert all(p == round(p, 6) for p in values)
        assert values == sorted(values, reverse=True)
    assert answer(classes(2), 1 / 3, 2 / 3)["probability"] == 0.666667


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_stay_apart_whatever_their_dtype(dtype: str) -> None:
    found = classes(2, labels=["a", "b"]).values(np.array([[1, 0], [0.25, 0.75]], dtype))
    assert [(f["label"], f["probability"]) for f in found] == [("a", 1.0), ("b", 0.75)]
    assert classes(2).values(np.zeros((0, 2), dtype)) == []


@pytest.mark.parametrize(
    ("units", "labels", "message"),
    [
        (1, ["a"], "1 labels do not match the model's output of 1 unit, the .* of two: expected 2"),
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
    said = r"output of shape \(rows, classes\).*task: tensor"
    if shape == ():
        said = "do not count the same rows.*task: tensor"
    with pytest.raises(CardError, match=said):
        RowTask(
            Card(task="tabular-classification"),
            signature(outputs=(spec("y", shape=shape),)),
            Limits(),
        )


def test_two_outputs_are_no_classifier() -> None:
    two = (spec("a", shape=(None, 2)), spec("b", shape=(None, 2)))
    with pytest.raises(CardError, match="this one has 2"):
        RowTask(Card(task="tabular-classification"), signature(outputs=two), Limits())


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
    (answer,) = made.values(np.full((1, units), 0.6, np.float32))
    assert list(answer) == keys == schema["required"] == list(schema["properties"])
    top = schema["properties"]["top"]
    assert top["minItems"] == top["maxItems"] == len(answer["top"]) == 2
    labels = schema["properties"]["label"]["enum"]
    assert labels == made.labels
    assert answer["label"] in labels


@given(
    names=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=8, unique=True),
    activation=st.sampled_from(["softmax", "sigmoid"]),
    most=st.integers(1, 10),
    data=st.data(),
)
def test_no_answer_is_longer_than_said(
    names: list[str], activation: str, most: int, data: st.DataObject
) -> None:
    units = len(names)
    if units == 1:
        names, activation = ["", *names], "sigmoid"
    reader = classes(units, activation, labels=names, top=most)
    scores = st.lists(st.floats(0, 1, width=32), min_size=units, max_size=units)
    found = len(write_json(answer(reader, *data.draw(scores))))
    longest = len(write_json(answer(reader, *[0.987654] * units)))
    assert max(found, longest) <= reader.row_bytes
    # All of them as long as the longest: not much more than the truth.
    if len({len(write_json(name)) for name in names}) == 1:
        assert reader.row_bytes == longest
