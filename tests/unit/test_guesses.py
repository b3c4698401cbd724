"""Which settings are guesses: those that only the file suggests, and none that the card states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.serving.cards.card import Card, FieldSpec, ImageInput, Output
from app.serving.cards.inference import guesses as made
from app.serving.cards.inference.infer import infer_card
from app.serving.cards.inference.picture_settings import settle_pictures
from app.serving.signature import PictureEvidence, Signature
from tests.unit.signatures import signature, spec

GUESS = PictureEvidence("0..1", False, "most models take it", ("-1..1", "none"))
PICTURES = signature(
    spec("picture", shape=(None, 32, 32, 3)), classes=2, activation="softmax", pictures=GUESS
)
ROWS = signature(spec("x", shape=(None, 3)), activation="linear")


def guesses(stated: Card | None, card: Card, of: Signature) -> list[str]:
    return [str(guess) for guess in made.guesses(stated, card, of)]


def test_a_bare_file_of_pictures() -> None:
    assert guesses(None, infer_card(PICTURES), PICTURES) == [
        "the task image-classification is a guess: set task",
        "the input scale 0..1 is a guess (most models take it): set input.scale",
        "the labels 0, 1, … are a guess: set labels",
    ]


def test_what_the_file_shows_is_no_guess() -> None:
    shown = replace(PICTURES, pictures={"picture": replace(GUESS, proven=True)})
    assert not any("scale" in each for each in guesses(None, infer_card(shown), shown))
    # A SavedModel shows nothing.
    card = Card(task="image-classification")
    unsaid = replace(PICTURES, pictures={})
    assert "the input scale none is a guess: set input.scale" in guesses(
        card, settle_pictures(card, unsaid), unsaid
    )


def test_the_size_of_a_model_that_takes_any_is_a_guess() -> None:
    any_size = replace(PICTURES, inputs=(spec("picture", shape=(None, None, None, 3)),))
    found = guesses(None, infer_card(any_size), any_size)
    assert "the input size [224, 224] is a guess: set input.size" in found
    card = Card(task="image-classification", input=ImageInput(size=(9, 9)))
    assert not any("size" in each for each in guesses(card, card, any_size))


def test_a_bare_file_of_rows() -> None:
    assert guesses(None, infer_card(ROWS), ROWS) == [
        "the task tabular-regression is a guess (the last layer has no activation; they may also "
        "be scores of classes): set task",
        "the names and ranges of the fields are a guess: set fields",
    ]


@pytest.mark.parametrize(
    ("stated", "keys"),
    [
        ({}, ["input.scale", "labels"]),
        ({"labels": ["a", "b"]}, ["input.scale"]),
        ({"input": ImageInput(scale="none")}, ["labels"]),
        ({"input": ImageInput(scale="0..1"), "labels": ["a", "b"]}, []),
        # The size alone says nothing of the scale.
        ({"input": ImageInput(size=(32, 32)), "labels": ["a", "b"]}, ["input.scale"]),
    ],
)
def test_a_card_of_pictures(stated: dict[str, object], keys: list[str]) -> None:
    card = Card(task="image-classification", **stated)  # type: ignore[arg-type]
    found = guesses(card, settle_pictures(card, PICTURES), PICTURES)
    assert [sentence.rpartition("set ")[2] for sentence in found] == keys


@pytest.mark.parametrize("activation", [None, "none", "softmax"])
def test_scores_of_a_file_that_does_not_say_what_they_are(activation: str | None) -> None:
    unsaid = replace(PICTURES, meanings=())
    card = Card(
        task="image-classification",
        labels=["a", "b"],
        input=ImageInput(scale="none"),
        output=Output(activation=activation),  # type: ignore[arg-type]
    )
    found = guesses(card, card, unsaid)
    assert found == (
        ["what the outputs are is a guess: set output.activation"] if activation is None else []
    )


def test_stated_fields_and_raw_tensors_are_no_guesses() -> None:
    card = Card(task="tabular-regression", fields=[FieldSpec(name=n) for n in "abc"])
    assert guesses(card, card, ROWS) == []
    assert guesses(None, Card(task="tensor"), ROWS) == []
