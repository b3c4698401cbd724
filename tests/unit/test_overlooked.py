"""Files that were meant to be served and are not are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.serving.overlooked import overlooked
from app.serving.registry import Registry
from app.serving.tasks.base import Limits


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
    found = [line.partition(" is not looked at: ") for line in overlooked(tmp_path)]
    assert [path for path, _, _ in found] == [str(tmp_path / name) for name in told]
    assert all(why for _, _, why in found)


def test_the_log_tells_it_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _touch(tmp_path, "x.onnx")
    Registry(tmp_path, Limits()).find()
    assert [f"{tmp_path / 'x.onnx'} is not looked at" in m for m in caplog.messages] == [True]
