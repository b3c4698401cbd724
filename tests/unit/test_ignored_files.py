"""Files that look like models or cards and are ignored are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.serving.registry.ignored_files import ignored_files
from tests.registries import found


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["x.onnx", "y.PT"], ["x.onnx", "y.PT"]),
        (["model.yaml", "a.h5", "a.yml"], ["a.yml", "model.yaml"]),
        (["a/model.h5", "a/model.yml"], ["a/model.yml"]),
        (["a.h5", "labels.txt", "classes.json"], ["classes.json", "labels.txt"]),
        (["a/model.h5", "a/card.yaml"], ["a/card.yaml"]),
        (["a/model.h5", "a/model.yaml", "a/Model.yml", "a/training.yml"], ["a/Model.yml"]),
        (["a/2/model.h5", "a/2/model.yml", "a/model.h5"], ["a/model.h5", "a/2/model.yml"]),
        (["a/saved_model.pb", "a/1/x", "a/b.h5"], []),
        (["a.h5", "README.md", ".hidden.onnx", "_old/model.yml", "_x.onnx"], []),
        (["a/model.yaml", "a/model.h5", "a/model.onnx", "a/labels.txt", "a/custom.py"], []),
    ],
)
def test_what_looks_like_a_model_or_a_card(
    tmp_path: Path, names: list[str], told: list[str]
) -> None:
    _touch(tmp_path, *names)
    found = [line.partition(" is not looked at: ") for line in ignored_files(tmp_path)]
    assert [path for path, _, _ in found] == [str(tmp_path / name) for name in told]
    assert all(why for _, _, why in found)


def test_an_architecture_is_no_card_under_a_wrong_name(tmp_path: Path) -> None:
    _touch(tmp_path, "a/model.h5", "a/design.yaml", "b.h5", "b.yaml")
    for name in ("a/design.yaml", "b.yaml"):
        (tmp_path / name).write_text("backend: tensorflow\nclass_name: Model\nconfig: {}\n")
    assert ignored_files(tmp_path) == []


def test_the_log_tells_it_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _touch(tmp_path, "x.onnx")
    found(tmp_path)
    assert [f"{tmp_path / 'x.onnx'} is not looked at" in m for m in caplog.messages] == [True]
