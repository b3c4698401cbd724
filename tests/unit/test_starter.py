"""Starter cards: valid as they are, and what is a guess stays one until its author knows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from app.cli.starter import _title, starter_of
from app.serving.cards.card import Card
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.read import parse_card
from app.serving.signature import OutputMeaning, PictureEvidence, Signature
from tests.unit.signatures import signature, spec

GUESS = PictureEvidence("0..1", False, "most models take it", ("-1..1", "none"))
LOGITS = OutputMeaning("logits", True, False, "the last layer has no activation")
PICTURE = spec("picture", shape=(None, 32, 32, 3))
ANY_SIZE = spec("left.eye", shape=(None, None, None, 3))
COLUMNS = spec("b", shape=(None, 3))
ONE, TWO = spec("y", shape=(None, 1)), spec("z", shape=(None, 2))
MODELS = {
    "pictures": signature(PICTURE, classes=2, activation="softmax", pictures=GUESS),
    "any size": signature(ANY_SIZE, classes=2, activation="softmax", pictures=GUESS),
    "logits": replace(
        signature(PICTURE, classes=2, activation="softmax", pictures=GUESS), meanings=(LOGITS,)
    ),
    "two inputs": signature(
        ANY_SIZE, COLUMNS, outputs=(ONE, TWO), activation="sigmoid", pictures=GUESS
    ),
    "numbers": signature(PICTURE, outputs=(ONE, TWO), activation="linear", pictures=GUESS),
    "logits of two": replace(
        signature(PICTURE, outputs=(ONE, TWO), activation="softmax", pictures=GUESS),
        meanings=(LOGITS, LOGITS),
    ),
    "rows": signature(COLUMNS, activation="linear"),
    "lists": signature(spec("x", shape=(None, 3, 7)), activation="linear"),
    "a SavedModel": signature(PICTURE, classes=2),
}
OPTIONAL = ("scale", "size", "resize", "activation")


def keys(stated: Card | None, of: Signature) -> set[str]:
    card, of = completed(stated, of)
    found = {guess.key for guess in guesses(stated, card, of)}
    return {key for key in found if key.rpartition(".")[2] in OPTIONAL}


def read(text: str, folder: Path) -> Card:
    (folder / "model.yaml").write_text(text)
    card = parse_card(folder)
    assert card is not None
    return card


@pytest.mark.parametrize("name", MODELS)
def test_what_is_a_guess_stays_one_until_its_line_is_no_comment(name: str, tmp_path: Path) -> None:
    of = MODELS[name]
    card, of = completed(None, of)
    starter = starter_of(card, of, "A title")
    assert [g.key for g in starter.guesses] == [g.key for g in guesses(None, card, of)]
    assert keys(read(starter.text, tmp_path), of) == keys(None, of)
    known = re.sub(r"^( *)# (.*)  # remove .*", r"\1\2", starter.text, flags=re.M)
    assert keys(read(known, tmp_path), of) == set()


@pytest.mark.parametrize("name", MODELS)
def test_each_guess_is_marked_above_its_line(name: str) -> None:
    card, of = completed(None, MODELS[name])
    starter = starter_of(card, of, "A title")
    marks = [line for line in starter.text.splitlines() if line.lstrip().startswith("# Check this")]
    assert len(marks) == len(starter.guesses)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rows", "# output: {name: value, unit: kg, decimals: 1}  # for people, if you like"),
        ("numbers", "    # unit: kg  # for people, if you like"),
        ("logits", "# output: {activation: softmax}  # remove the first # once you know"),
        ("logits of two", "    # activation: sigmoid  # remove the first # once you know"),
        ("any size", "  # size: [224, 224]  # remove the first # once you know"),
    ],
)
def test_settings_are_there_to_be_uncommented(name: str, line: str) -> None:
    card, of = completed(None, MODELS[name])
    if name == "logits of two":
        assert {each.kind for each in (card.outputs or {}).values()} == {"classes"}
    assert line in starter_of(card, of, "A title").text.splitlines()


def test_units_and_decimals_of_numbers_are_valid_once_uncommented(tmp_path: Path) -> None:
    for name in ("rows", "numbers"):
        card, of = completed(None, MODELS[name])
        text = starter_of(card, of, "A title").text
        said = read(re.sub(r"^( *)# (.*)  # for .*", r"\1\2", text, flags=re.M), tmp_path)
        assert completed(said, of)
        assert "kg" in yaml.safe_dump(said.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("pets/keras_model.h5", "Pets"),
        ("two-pets/model.keras", "Two pets"),
        ("pets/3/model.keras", "Pets"),
        ("pets/model.savedmodel", "Pets"),
        ("pets/cats_or_dogs.keras", "Cats or dogs"),
    ],
)
def test_the_title_is_the_folders_where_the_file_has_a_usual_name(path: str, title: str) -> None:
    assert _title(Path(path), Path(path).parent) == title
    assert _title(Path("models/model.h5"), None) == "Model"
