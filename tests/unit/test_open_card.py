"""Cards that leave open what the model takes and gives: completed as for a bare file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.errors import CardError
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import read_card
from app.serving.limits import Limits
from app.serving.signature import PictureEvidence, Signature
from app.serving.tasks import RowTask
from tests.unit.signatures import signature, spec

GUESS = PictureEvidence("0..1", False, "most models take it", ("-1..1", "none"))
PICTURE, COLUMNS = spec("face", shape=(None, 8, 8, 3)), spec("x", shape=(None, 3))
CLASSIFIER = signature(PICTURE, classes=2, activation="softmax", pictures=GUESS)
REGRESSION = signature(PICTURE, activation="relu", pictures=GUESS)
ROWS = signature(COLUMNS, activation="relu")
ROWS_OF_CLASSES = signature(COLUMNS, classes=3, activation="softmax")
SAVED_MODEL = signature(PICTURE, classes=2)
EVERY = [CLASSIFIER, REGRESSION, ROWS, ROWS_OF_CLASSES, SAVED_MODEL]


def read(folder: Path, text: str) -> Card:
    (folder / "model.yaml").write_text(text)
    card = read_card(folder)
    assert card is not None
    return card


def served(folder: Path, text: str, of: Signature) -> dict[str, Any]:
    card, of = completed(read(folder, text), of, [folder])
    RowTask(card, of, Limits())
    return card.model_dump(exclude_unset=True)


@pytest.mark.parametrize("of", EVERY)
def test_a_title_alone_changes_nothing_else(of: Signature, tmp_path: Path) -> None:
    stated = read(tmp_path, "title: Flowers\ndescription: Which?\n")
    card, settled = completed(stated, of, [tmp_path])
    bare, _ = completed(None, of)
    assert card == bare.model_copy(update={"title": "Flowers", "description": "Which?"})
    found = [str(guess) for guess in guesses(stated, card, settled)]
    assert found == [str(guess) for guess in guesses(None, bare, of)]


def test_settings_of_the_short_form_go_with_the_task_that_is_inferred(tmp_path: Path) -> None:
    found = served(tmp_path, "labels: [a, b]\ninput: {scale: none}\ntop: 1\n", CLASSIFIER)
    assert found["labels"] == ["a", "b"]
    assert (found["task"], found["top"]) == ("image-classification", 1)
    assert found["input"]["scale"] == "none"
    found = served(tmp_path, "output: {name: mpg, unit: miles}\n", ROWS)
    assert (found["task"], found["output"]) == (
        "tabular-regression",
        {"name": "mpg", "unit": "miles"},
    )
    fields = "fields: [{name: a}, {name: b}, {name: c}]\nlabels: [x, y, z]\n"
    found = served(tmp_path, fields, ROWS_OF_CLASSES)
    assert found["task"] == "tabular-classification"
    assert [field["name"] for field in found["fields"]] == ["a", "b", "c"]


def test_labels_beside_the_card_are_those_of_a_bare_file(tmp_path: Path) -> None:
    (tmp_path / "class_names.txt").write_text("rose\ntulip\n")
    assert served(tmp_path, "title: Flowers\n", CLASSIFIER)["labels"] == ["rose", "tulip"]


@pytest.mark.parametrize(
    ("of", "text", "words"),
    [
        (
            REGRESSION,
            "output: {name: age, unit: years}",
            "write 'outputs: {age: {kind: number, unit: years}}'. The model's inputs are face, its "
            "outputs are y",
        ),
        (
            REGRESSION,
            "input: {scale: none}",
            "write 'inputs: {NAME: {kind: picture, scale: none}}'.",
        ),
        (ROWS, "top: 3", "top: the file does not show what these are for: add the line 'task: …'"),
        (SAVED_MODEL, "labels: [a, b]", "add the line 'task: …' (image-classification, tabular"),
        (CLASSIFIER, "text: {window: 9}", "'task: text-generation'"),
        (CLASSIFIER, "labels: [a, b, c]", "3 labels do not match the model's output of 2 units"),
    ],
)
def test_settings_that_do_not_go_with_the_model(
    of: Signature, text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(CardError) as caught:
        served(tmp_path, text, of)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("of", "text", "words"),
    [
        (
            signature(PICTURE, outputs=(spec("a"), spec("b")), activation="relu"),
            "task: image-classification",
            "write 'outputs: {a: {kind: …}, b: {kind: …}}' in the place of 'task'",
        ),
        (
            REGRESSION,
            "task: tabular-regression",
            "the model's input face has the shape (None, 8, 8, 3), that of pictures: write "
            "'inputs: {face: {kind: picture}}' in the place of 'task'",
        ),
        (
            REGRESSION,
            "task: tabular-regression\nfields: [{name: a}, {name: b}]",
            "that of pictures: write 'inputs: {face: {kind: picture}}' in the place of 'task'",
        ),
        (
            CLASSIFIER,
            "task: tabular-classification",
            "that of pictures: use 'task: image-classification'",
        ),
        (
            signature(spec("x", shape=(None, 5, 7)), activation="relu"),
            "task: tabular-regression",
            "tabular-regression needs a row of values, the model's input x has the shape "
            "(None, 5, 7): use 'task: tensor'",
        ),
        (REGRESSION, "inputs: {face: {kind: fields}}", "that of pictures: use 'kind: picture'"),
    ],
)
def test_a_task_that_does_not_fit_is_told_what_to_write(
    of: Signature, text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(CardError) as caught:
        served(tmp_path, text, of)
    assert words in caught.value.message


def test_a_body_that_is_no_list_is_told_how_the_model_takes_pictures() -> None:
    task = RowTask(Card(task="tensor"), REGRESSION, Limits())
    assert "'inputs: {face: {kind: picture}}' makes it take pictures" in task.hint
