"""Cards with inputs and outputs: what they may say, what fits a model, and what they become."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import CardError
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.kinds import kinds_of, takes_a_picture, words
from app.serving.cards.read import dump_card, parse_card, read_card
from app.serving.cards.text_input import VOCABULARY_FILES
from app.serving.signature import Signature
from app.serving.tasks import Limits, RowTask
from tests.unit.several_kinds import BASE64, INPUTS, MANY, OUTPUTS, body, filled, task
from tests.unit.signatures import Shape, signature, spec

# --- the card


def problem(folder: Path, text: str) -> str:
    (folder / "model.yaml").write_text(text)
    with pytest.raises(CardError) as caught:
        parse_card(folder)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: null", "task: expected one of tensor"),
        (
            "inputs: {x: {}}",
            "the key 'inputs.x.kind' is missing: expected picture, fields, text, audio, series or",
        ),
        ("inputs: {x: {kind: song}}", 'inputs.x.kind: expected picture, .* found "song"'),
        ("outputs: {y: {kind: scene}}", "outputs.y.kind: expected classes, number, mask, picture,"),
        ("outputs: {y: {kind: number, top: 3}}", "unknown key 'outputs.y.top'"),
        ("outputs: {y: {kind: number, decimals: 99}}", "outputs.y.decimals: expected less"),
        ("inputs: {x: {kind: picture, size: [0, 1]}}", r"inputs.x.size\[0\]: expected greater"),
        ("inputs: {x: {kind: fields, fields: []}}", "inputs.x.fields: "),
        ("inputs: {x: {kind: fields, fields: [{name: a}, {name: a}]}}", "'a' is used twice"),
        ("outputs: {y: {kind: number, names: [a, a]}}", "'a' is used twice"),
        ("inputs: {}", "inputs: "),
        ("inputs: [a]", "inputs: expected a mapping"),
        ("{task: tensor, outputs: {y: {kind: number}}}", "in the place of 'task': leave it out"),
        (
            "{labels: [a], outputs: {y: {kind: classes}}}",
            "labels: these go with 'task'.*: 'outputs: {NAME: {kind: classes, labels: …}}'",
        ),
        (
            "{input: {scale: -1..1, size: [8, 9]}, outputs: {y: {kind: number}}}",
            r"of each input or output: 'inputs: {NAME: {kind: picture, .*scale: -1\.\.1.*}}'",
        ),
        (
            "{output: {unit: kg, decimals: 1}, inputs: {x: {kind: picture}}}",
            "output: 'outputs: {NAME: {kind: number, unit: kg, decimals: 1}}'",
        ),
        ("{input: {scale: none}, top: 3, inputs: {x: {kind: picture}}}", "input, top: these go"),
    ],
)
def test_what_a_card_may_not_say(text: str, message: str, tmp_path: Path) -> None:
    assert re.search(message, problem(tmp_path, text))


def test_labels_are_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "other.txt").write_text("a\nb\nc\n")

    def labels(text: str) -> list[Any]:
        (tmp_path / "model.yaml").write_text(text)
        card = read_card(tmp_path)
        assert card is not None
        return [getattr(out, "labels", None) for out in (card.outputs or {}).values()]

    assert labels("outputs: {y: {kind: classes}, z: {kind: number}}") == [["cat", "dog"], None]
    assert labels("outputs: {y: {kind: classes}, z: {kind: classes}}") == [None, None]
    two = "outputs: {y: {kind: classes, labels: other.txt}, z: {kind: classes, labels: [x]}}"
    assert labels(two) == [["a", "b", "c"], ["x"]]
    with pytest.raises(CardError, match=r"outputs.y.labels: expected a list.*none.txt"):
        labels("outputs: {y: {kind: classes, labels: none.txt}}")
    with pytest.raises(CardError, match=r"outputs.y.labels: '../x' is not a file of this folder"):
        labels("outputs: {y: {kind: classes, labels: ../x}}")
    card = parse_card(tmp_path)
    assert card is not None
    # The side that it leaves out may be of texts.
    assert card.files() == {"../x", *VOCABULARY_FILES}


def test_a_card_is_written_as_it_is_read(tmp_path: Path) -> None:
    card = filled(Card.model_validate({"inputs": INPUTS, "outputs": OUTPUTS}), MANY)
    (tmp_path / "model.yaml").write_text(dump_card(card))
    assert parse_card(tmp_path) == card


# --- what fits a model


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (
            {"lft": {"kind": "picture"}},
            None,
            "inputs.lft: the model has no input 'lft'; inputs: no",
        ),
        ({n: INPUTS[n] for n in ("left", "right", "facts")}, None, "nothing is said of matrix"),
        (None, {**OUTPUTS, "more": {"kind": "number"}}, "outputs.more: the model has no output"),
        (
            {**INPUTS, "left": {"kind": "picture", "tensor": "x"}},
            None,
            r"inputs.left.tensor: the model has no input 'x'.*left float32\[any, 6, 8, 3\]",
        ),
        (
            {**INPUTS, "facts": {"kind": "picture"}},
            None,
            r"inputs.facts: the kind picture needs an input of shape \(rows, height.*kind: tensor",
        ),
        ({**INPUTS, "left": {"kind": "picture", "size": [1, 2]}}, None, r"inputs.left.size \[1, 2"),
        ({**INPUTS, "left": {"kind": "picture", "color": "grey"}}, None, "inputs.left.color grey"),
        (
            {**INPUTS, "right": {"kind": "picture", "scale": "torch"}},
            None,
            "inputs.right.scale tor",
        ),
        (
            {**INPUTS, "facts": {"kind": "fields", "fields": [{"name": "a"}]}},
            None,
            "1 field cannot fill the model's input facts",
        ),
        ({**INPUTS, "matrix": {"kind": "fields"}}, None, "needs a row of .*: use 'kind: tensor'"),
        (
            {**INPUTS, "facts": {"kind": "fields", "fields": [{"name": "a", "type": "text"}] * 1}},
            None,
            "cannot fill|expected 'type: number'",
        ),
        (
            None,
            {**OUTPUTS, "map": {"kind": "vector"}},
            r"outputs.map: the kind vector needs an out",
        ),
        (None, {**OUTPUTS, "map": {"kind": "classes"}}, r"outputs.map: the kind classes needs an"),
        (
            None,
            {**OUTPUTS, "gender": {"kind": "classes", "labels": ["a"]}},
            "model.yaml: outputs.gender: 1 labels do not match the model's output of 2 units",
        ),
        (
            None,
            {**OUTPUTS, "age": {"kind": "classes", "activation": "softmax"}},
            "outputs.age.activation: softmax needs several units",
        ),
        (None, {**OUTPUTS, "age": {"kind": "number", "names": ["a", "b"]}}, "outputs.age: 2 names"),
    ],
)
def test_a_card_that_does_not_fit_says_why(inputs: Any, outputs: Any, message: str) -> None:
    with pytest.raises(CardError, match=message):
        task(INPUTS if inputs is None else inputs, OUTPUTS if outputs is None else outputs)


def test_one_alone_may_have_any_name_and_several_may_name_their_tensor() -> None:
    one = signature(spec("x", shape=(None, 6, 8, 3)), outputs=(spec("y"),), activation="linear")
    made = task({"face": {"kind": "picture"}}, {"age": {"kind": "number"}}, one)
    assert made.answer([np.array([[34.25]], np.float32)]) == [{"age": 34.25}]
    assert made.uploads == {"face"}
    named = {
        "photo": {"kind": "picture", "tensor": "left"},
        **{name: INPUTS[name] for name in ("right", "facts", "matrix")},
    }
    assert [each.name for each in task(named).inputs] == ["photo", "right", "facts", "matrix"]


def test_fields_named_like_inputs_fill_them() -> None:
    two = signature(
        spec("picture", shape=(None, 6, 8, 3)),
        spec("age", "int64"),
        spec("town", "string", (None,)),
    )
    fields = [{"name": "town", "type": "text"}, {"name": "age"}]
    said = {"picture": {"kind": "picture"}, "person": {"kind": "fields", "fields": fields}}
    made = task(said, {"y": {"kind": "number"}}, two)
    person = {"age": 40, "town": "Ulm"}
    pixels, age, town = made.read(body({"picture": BASE64, "person": person}))
    assert (pixels.shape, age.tolist(), town.tolist()) == ((1, 6, 8, 3), [[40]], ["Ulm"])


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (None, r"odd of shape .* has no rows"),
        ((), r"do not count the same rows .* odd float32\[\]"),
    ],
)
def test_an_input_without_rows_stands_alone(shape: Shape, problem: str) -> None:
    odd = signature(spec("picture", shape=(None, 6, 8, 3)), spec("odd", shape=shape))
    with pytest.raises(CardError, match=problem):
        task({"picture": {"kind": "picture"}, "odd": {"kind": "tensor"}}, None, odd)


def test_the_short_form_is_one_pair_of_kinds() -> None:
    pictures = signature(spec(shape=(None, 6, 8, 3)), classes=2, activation="softmax")
    card = filled(Card(task="image-classification", labels=["a", "b"]), pictures)
    kinds = kinds_of(card, pictures)
    assert [kind.card.kind for kind in kinds.inputs] == ["picture"]
    assert [kind.card.kind for kind in kinds.outputs] == ["classes"]
    long = task(
        {"x": {"kind": "picture"}}, {"y": {"kind": "classes", "labels": ["a", "b"]}}, pictures
    )
    short = RowTask(card, pictures, Limits())
    assert long.input_schema() == short.input_schema()
    assert long.answer_schema() == short.answer_schema()
    scores = [np.array([[0.25, 0.75]], np.float32)]
    assert long.answer(scores) == short.answer(scores)
    assert takes_a_picture(card)
    assert takes_a_picture(long.card)


# --- what is left open


def test_the_side_that_a_card_leaves_out_is_inferred() -> None:
    made = task(INPUTS, None)
    assert words(made.card.outputs or {}) == "number, 2 vectors, tensor"
    made = task(None, OUTPUTS)
    assert words(made.card.inputs or {}) == "2 pictures, fields, tensor"
    assert [each.kind for each in made.inputs] == ["picture", "picture", "fields", "tensor"]


def test_guesses_are_keys_of_the_card() -> None:
    def keys(said: dict[str, Any] | None) -> list[str]:
        card = None if said is None else Card.model_validate(said)
        return [guess.key for guess in guesses(card, filled(card, MANY), MANY)]

    activation = "outputs.gender.activation"
    assert keys({"inputs": INPUTS, "outputs": OUTPUTS}) == ["inputs.left.scale", activation]
    scaled = {**INPUTS, "left": {"kind": "picture", "scale": "none"}}
    assert keys({"inputs": scaled, "outputs": OUTPUTS}) == [activation]
    assert keys({"outputs": OUTPUTS}) == [
        "inputs",
        "inputs.left.scale",
        "inputs.right.scale",
        "inputs.facts.fields",
        activation,
    ]
    kinds = [f"outputs.{name}.kind" for name in ("age", "gender", "features")]
    assert keys({"inputs": scaled}) == kinds
    assert keys(None)[0] == "inputs"
    assert keys(None)[-3:] == kinds


def test_a_bare_file_with_a_picture_among_its_inputs_takes_pictures() -> None:
    card = filled(None, MANY)
    assert card.task is None
    assert words(card.inputs or {}) == "2 pictures, fields, tensor"
    lists = signature(spec("a"), spec("b"), activation="linear")
    assert filled(None, lists).task == "tensor"
    # A SavedModel does not tell what its numbers are.
    unsaid = Signature(MANY.inputs, MANY.outputs)
    assert filled(None, unsaid).task == "tensor"
