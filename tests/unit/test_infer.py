"""Cards inferred for models that have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import CardError
from app.serving.cards.card import Card, ClassesOutput, ImageInput, PictureInput
from app.serving.cards.inference.guesses import guesses
from app.serving.cards.inference.infer import MAX_INFERRED_FIELDS, completed, infer_card
from app.serving.cards.inference.picture_settings import USUAL_SIZE, settle_pictures
from app.serving.cards.kinds import kinds_of
from app.serving.signature import PictureEvidence
from tests.unit.signatures import Shape, signature, spec

SHOWN = PictureEvidence("-1..1", True, "statistics of the file show it")


@pytest.mark.parametrize(
    ("shape", "dtype", "activation", "task"),
    [
        ((None, 32, 32, 3), "float32", "softmax", "image-classification"),
        ((None, 32, 32, 1), "uint8", "sigmoid", "image-classification"),
        ((None, None, None, 3), "float32", "softmax", "image-classification"),
        ((None, 32, 32, 4), "float32", "softmax", "image-classification"),
        ((None, 32, 32, 3), "bfloat16", "softmax", "image-classification"),
        ((None, 32, 32, 2), "float32", "softmax", "tensor"),
        ((None, 32, 32, 3), "float32", "linear", None),  # a vector from a picture
        ((None, 32, 32, 3), "float32", None, "tensor"),
        ((None, 32, 32, 3), "string", "softmax", "tensor"),
        ((None, 7), "float32", "linear", "tabular-regression"),
        ((None, 7), "int64", "relu", "tabular-regression"),
        ((None, 7), "float32", "softmax", "tabular-classification"),
        ((None, 7), "float32", "sigmoid", "tabular-classification"),
        ((None, 7), "float32", "log_softmax", "tabular-classification"),
        ((None, 7), "float32", None, "tensor"),
        ((None, 7), "string", "softmax", "tensor"),
        ((None, MAX_INFERRED_FIELDS), "float32", "linear", "tabular-regression"),
        ((None, MAX_INFERRED_FIELDS + 1), "float32", "linear", "tensor"),
        ((None, None), "float32", "linear", "tensor"),
        ((None, 10, 7), "float32", "softmax", "tensor"),
        ((None,), "float32", "softmax", "tensor"),
        ((), "float32", "softmax", "tensor"),
        (None, "float32", "softmax", "tensor"),
    ],
)
def test_the_task_is_guessed_from_the_signature(
    shape: Shape, dtype: str, activation: str | None, task: str | None
) -> None:
    found = infer_card(signature(spec(dtype=dtype, shape=shape), classes=3, activation=activation))
    assert found.task == task
    if task is None:
        assert [each.kind for each in (found.inputs or {}).values()] == ["picture"]
        assert [each.kind for each in (found.outputs or {}).values()] == ["vector"]
    elif task.startswith("tabular"):
        assert shape is not None
        assert [f.name for f in found.fields or []] == [f"x{i}" for i in range(shape[1] or 0)]


@pytest.mark.parametrize("output", [None, (), (None,), (None, None), (None, 5, 3)])
def test_an_output_that_is_no_row_of_scores_stays_a_tensor(output: Shape) -> None:
    outputs = (spec("y", shape=output),)
    assert infer_card(signature(outputs=outputs, activation="softmax")).task == "tensor"


def test_rows_of_rows_are_pictures_if_the_file_shows_it() -> None:
    rows = spec(shape=(None, 28, 28))
    assert infer_card(signature(rows, classes=3, activation="softmax")).task == "tensor"
    found = infer_card(signature(rows, classes=3, activation="softmax", pictures=SHOWN))
    assert (found.task, found.input.scale) == ("image-classification", "-1..1")


def test_a_card_of_pictures_for_a_model_without_inputs_stays_as_it_is() -> None:
    card = Card(task="image-classification")
    assert settle_pictures(card, replace(signature(), inputs=())) is card


def test_none_or_several_inputs_or_outputs_are_tensors() -> None:
    assert infer_card(signature(spec("a"), spec("b"), activation="linear")).task == "tensor"
    two = (spec("y"), spec("z"))
    assert infer_card(signature(outputs=two, activation="linear")).task == "tensor"
    assert infer_card(replace(signature(activation="linear"), inputs=())).task == "tensor"


@pytest.mark.parametrize(
    ("said", "pictures", "found"),
    [
        ({}, SHOWN, {"scale": "-1..1"}),
        ({"scale": "none"}, SHOWN, {"scale": "none"}),
        ({"scale": "torch"}, SHOWN, {"scale": "torch"}),
        ({"resize": "crop"}, SHOWN, {"scale": "-1..1"}),
        ({}, None, {"scale": "none"}),  # a SavedModel
        ({}, replace(SHOWN, order="bgr"), {"scale": "-1..1", "color": "bgr"}),
        ({}, replace(SHOWN, order="rgb"), {"scale": "-1..1", "color": None}),
        ({"color": "rgb"}, replace(SHOWN, order="bgr"), {"scale": "-1..1", "color": "rgb"}),
        ({"color": "bgr"}, SHOWN, {"scale": "-1..1", "color": "bgr"}),
        # This scale is one of BGR, whatever the card says.
        ({"color": "bgr"}, replace(SHOWN, scale="caffe"), {"scale": "caffe", "color": "rgb"}),
        # A card that gives the scale was written with care; it has meant RGB so far.
        ({"scale": "0..1"}, replace(SHOWN, order="bgr"), {"scale": "0..1", "color": None}),
    ],
)
def test_what_the_card_leaves_open_is_what_the_file_shows(
    said: dict[str, Any], pictures: PictureEvidence | None, found: dict[str, Any]
) -> None:
    card = Card.model_validate({"task": "image-classification", "input": said})
    about = signature(spec(shape=(None, 8, 8, 3)), activation="softmax", pictures=pictures)
    filled = settle_pictures(card, about).input
    assert {key: getattr(filled, key) for key in found} == found
    assert filled.size is None
    other = Card(task="tensor")
    assert settle_pictures(other, about) is other


@pytest.mark.parametrize(
    ("shape", "said", "usual", "size"),
    [
        ((None, None), None, None, USUAL_SIZE),
        ((None, None), None, (299, 299), (299, 299)),
        ((None, None), (50, 60), (299, 299), (50, 60)),
        ((None, 96), None, None, (224, 96)),
        ((80, 96), None, (299, 299), None),
    ],
)
def test_a_model_that_takes_any_size_gets_its_usual_one(
    shape: tuple[int | None, int | None],
    said: tuple[int, int] | None,
    usual: tuple[int, int] | None,
    size: tuple[int, int] | None,
) -> None:
    card = Card(task="image-classification", input=ImageInput(size=said))
    evidence = replace(SHOWN, size=usual)
    about = signature(spec(shape=(None, *shape, 3)), activation="softmax", pictures=evidence)
    assert settle_pictures(card, about).input.size == size
    # Without evidence, the task says what is missing.
    assert settle_pictures(card, replace(about, pictures={})).input.size == said


@pytest.mark.parametrize(
    ("shape", "units", "labels"),
    [
        ((None, 8, 8, 3), 3, ["a", "b", "c"]),
        ((None, 8, 8, 3), 1, ["a", "b"]),
        ((None, 4), 3, ["a", "b", "c"]),
    ],
)
def test_labels_beside_the_model_are_taken(shape: Shape, units: int, labels: list[str]) -> None:
    about = signature(spec(shape=shape), classes=units, activation="softmax", pictures=SHOWN)
    assert infer_card(about, labels).labels == labels
    with pytest.raises(CardError, match=r"labels.txt.* has 4 labels: expected [23] for its output"):
        infer_card(about, ["a", "b", "c", "d"])


def test_labels_beside_a_regression_are_none_of_its() -> None:
    about = signature(spec(shape=(None, 4)), activation="linear")
    assert infer_card(about, ["a", "b", "c"]).labels is None


GUESS = PictureEvidence("0..1", False, "most are")


BUILT = replace(GUESS, scale="-1..1", cropped=True)
EXPORT = {"keras_model.h5": "", "labels.txt": "0 a\n1 b\n"}


@pytest.mark.parametrize(
    ("evidence", "files", "resize", "guessed"),
    [
        (BUILT, EXPORT, "crop", []),
        (BUILT, {"birds.h5": "", "labels.txt": "0 a\n1 b\n"}, "crop", ["scale", "resize"]),
        (replace(BUILT, proven=True), {"birds.h5": ""}, "crop", ["resize"]),
        # Its layers are not those of an export.
        (GUESS, EXPORT, "stretch", ["scale"]),
        (SHOWN, EXPORT, "stretch", []),
    ],
)
@pytest.mark.parametrize(
    "stated",
    [
        None,
        Card(task="image-classification", title="Pets"),
        Card(task=None, outputs={"y": ClassesOutput(kind="classes", labels=["a", "b"])}),
    ],
    ids=["no card", "a task", "outputs"],
)
def test_an_export_of_teachable_machine(
    stated: Card | None,
    evidence: PictureEvidence,
    files: dict[str, str],
    resize: str,
    guessed: list[str],
    tmp_path: Path,
) -> None:
    """A card changes nothing that it does not say."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    about = signature(
        spec(shape=(None, 224, 224, 3)), classes=2, activation="softmax", pictures=evidence
    )
    card, found = completed(stated, about, [tmp_path])
    (taken,) = kinds_of(card, found).inputs
    assert isinstance(taken.card, ImageInput | PictureInput)
    assert (taken.card.scale, taken.card.resize) == (evidence.scale, resize)
    marked = [guess.key for guess in guesses(stated, card, found)]
    assert [
        key.rpartition(".")[2] for key in marked if "resize" in key or "scale" in key
    ] == guessed


def test_a_card_has_the_last_word_on_cropping(tmp_path: Path) -> None:
    about = signature(spec(shape=(None, 224, 224, 3)), classes=2, pictures=BUILT)
    stated = Card(task="image-classification", input=ImageInput(resize="pad"))
    card, found = completed(stated, about, [tmp_path])
    assert card.input.resize == "pad"
    assert "input.resize" not in [guess.key for guess in guesses(stated, card, found)]
