"""A folder's model file, and the card of a model that has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.errors import CardError
from app.serving.card import MAX_INFERRED_FIELDS, Card, find_model, infer_card, with_scale
from app.serving.signature import Signature
from tests.unit.signatures import Shape, signature, spec

# --- the model's file


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a.h5", "labels.txt", "model.yaml"], "a.h5"),
        (["a.keras"], "a.keras"),
        (["a.HDF5", ".b.h5"], "a.HDF5"),
        (["saved_model.pb", "variables/x", "a.h5"], "."),
        (["export/saved_model.pb"], "export"),
    ],
)
def test_the_only_model_is_the_model(tmp_path: Path, names: list[str], found: str) -> None:
    assert find_model(folder_with(tmp_path, *names), None) == tmp_path / found


def test_several_models_need_a_name(tmp_path: Path) -> None:
    folder_with(tmp_path, "a.h5", "b.keras", "c/saved_model.pb")
    with pytest.raises(CardError, match=r"a\.h5, b\.keras, c.*'file:' in model\.yaml"):
        find_model(tmp_path, Card(task="tensor"))
    for name in ("a.h5", "b.keras", "c", "./a.h5"):
        assert find_model(tmp_path, Card(task="tensor", file=name)) == tmp_path / name


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"no model in this folder: .* found nothing$"):
        find_model(tmp_path, None)
    folder_with(tmp_path, "model.yaml", "model.pt", ".hidden.h5")
    with pytest.raises(CardError, match=r"one \.keras, .* found model\.pt, model\.yaml$"):
        find_model(tmp_path, None)
    with pytest.raises(CardError, match=r"file: there is no 'x\.h5' in this folder"):
        find_model(tmp_path, Card(task="tensor", file="x.h5"))


@pytest.mark.parametrize("name", ["../a.h5", "/a.h5", "b/../../a.h5", ".", ""])
def test_a_model_outside_the_folder(tmp_path: Path, name: str) -> None:
    folder_with(tmp_path, "a.h5", "home/b/c.h5")
    with pytest.raises(CardError, match=r"file: .* is outside this folder|file: .*not a file"):
        find_model(tmp_path / "home", Card(task="tensor", file=name))


def test_a_model_may_be_a_link(tmp_path: Path) -> None:
    folder_with(tmp_path, "store/big.h5")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "model.h5").symlink_to("../store/big.h5")
    for found in (None, Card(task="tensor", file="model.h5")):
        assert find_model(tmp_path / "home", found) == tmp_path / "home" / "model.h5"


# --- cards of models that have none


@pytest.mark.parametrize(
    ("shape", "dtype", "activation", "task"),
    [
        ((None, 32, 32, 3), "float32", "softmax", "image-classification"),
        ((None, 32, 32, 1), "uint8", "sigmoid", "image-classification"),
        ((None, None, None, 3), "float32", "linear", "image-classification"),
        ((None, 32, 32, 4), "float32", "softmax", "tensor"),
        ((None, 32, 32, 3), "string", "softmax", "tensor"),
        ((None, 7), "float32", "linear", "tabular-regression"),
        ((None, 7), "int64", "relu", "tabular-regression"),
        ((None, 7), "float32", "softmax", "tabular-classification"),
        ((None, 7), "float32", "sigmoid", "tabular-classification"),
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
    shape: Shape, dtype: str, activation: str | None, task: str
) -> None:
    found = infer_card(signature(spec(dtype=dtype, shape=shape), classes=3, activation=activation))
    assert found.task == task
    if task.startswith("tabular"):
        assert shape is not None
        assert [f.name for f in found.fields or []] == [f"x{i}" for i in range(shape[1] or 0)]


@pytest.mark.parametrize("output", [None, (), (None,), (None, None), (None, 5, 3)])
def test_an_output_that_is_no_row_of_scores_stays_a_tensor(output: Shape) -> None:
    outputs = (spec("y", shape=output),)
    assert infer_card(signature(outputs=outputs, activation="softmax")).task == "tensor"


def test_pictures_are_scaled_unless_the_model_does_it() -> None:
    for rescales, scale in ((False, "0..1"), (True, "none")):
        image = spec(shape=(None, 8, 8, 3))
        found = infer_card(signature(image, activation="softmax", rescales=rescales))
        assert found.input.scale == scale


def test_none_or_several_inputs_or_outputs_are_tensors() -> None:
    assert infer_card(signature(spec("a"), spec("b"), activation="linear")).task == "tensor"
    two = (spec("y"), spec("z"))
    assert infer_card(signature(outputs=two, activation="linear")).task == "tensor"
    assert infer_card(Signature((), (spec("y"),), "linear")).task == "tensor"


@pytest.mark.parametrize(
    ("card", "about", "scale"),
    [
        ({}, {}, "0..1"),
        ({}, {"rescales": True}, "none"),
        ({}, {"activation": None}, "none"),  # a SavedModel
        ({}, {"dtype": "uint8"}, "none"),
        ({"input": {"size": [8, 8]}}, {}, "0..1"),
        ({"input": {"scale": "none"}}, {}, "none"),
        ({"input": {"scale": "torch"}}, {"rescales": True}, "torch"),
    ],
)
def test_the_scale_of_pictures_is_what_the_card_says_or_the_common_case(
    card: dict[str, Any], about: dict[str, Any], scale: str
) -> None:
    said = Card.model_validate({"task": "image-classification", **card})
    about = {"activation": "softmax", **about}
    pictures = spec(dtype=about.pop("dtype", "float32"), shape=(None, 8, 8, 3))
    assert with_scale(said, signature(pictures, **about)).input.scale == scale
