"""What the models folder holds, and who may use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.errors import ModelNotFound, ModelUnavailable
from app.serving.entry import Entry
from app.serving.registry import Registry
from app.serving.tasks.base import Limits


@contextmanager
def loaded(folder: Path) -> Iterator[Registry]:
    registry = Registry(folder, Limits())
    registry.load()
    try:
        yield registry
    finally:
        registry.close()


def test_what_is_not_ready_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("no model")
    with loaded(tmp_path) as registry:
        assert registry.loaded
        with pytest.raises(ModelUnavailable, match="not a Keras model"), registry.using("m"):
            pass
        with pytest.raises(ModelNotFound, match="the models are: m"), registry.using("n"):
            pass


def test_the_end_of_loading_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models.h5").write_bytes(b"")
    (tmp_path / "with space.h5").write_bytes(b"")
    with caplog.at_level("INFO"), loaded(tmp_path):
        assert "0 models ready, 2 failed" in caplog.messages


def test_an_empty_folder_is_loaded_at_once(tmp_path: Path) -> None:
    with loaded(tmp_path) as registry:
        assert (registry.loaded, registry.entries()) == (True, [])


def test_stopping_while_loading_ends_the_loading(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"m{i}.h5").write_text("no model")
    registry = Registry(tmp_path, Limits())
    registry.find()
    registry.start()
    registry.stop()
    registry.close()
    assert registry.loaded


def _entry(registry: Registry, name: str) -> Entry:
    return next(entry for entry in registry.entries() if entry.name == name)
