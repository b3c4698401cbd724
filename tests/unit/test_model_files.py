"""Which file of a folder is the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import CardError
from app.serving.cards.card import Card
from app.serving.reading.model_files import find_model


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
