"""What the models folder holds, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import CardError, ModelNotFound, ModelUnavailable
from app.serving.registry import Entry, Registry, discover
from app.serving.tasks.base import Limits


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _found(folder: Path) -> dict[str, Entry]:
    return {entry.name: entry for entry in discover(folder)}


def test_files_folders_and_savedmodels_are_models(tmp_path: Path) -> None:
    _touch(tmp_path, "a.keras", "b.h5", "c.hdf5", "d/model.h5", "e/saved_model.pb", "f/g/model.h5")
    assert list(_found(tmp_path)) == ["a", "b", "c", "d", "e", "f"]


def test_other_files_hidden_and_underscored_ones_are_left_alone(tmp_path: Path) -> None:
    _touch(tmp_path, "README.md", ".gitkeep", ".a.h5", "_b/model.h5", "c.txt")
    assert _found(tmp_path) == {}


def test_the_latest_version_is_taken(tmp_path: Path) -> None:
    _touch(tmp_path, "m/2/model.h5", "m/10/model.h5", "m/9/model.h5", "m/model.yaml")
    entry = _found(tmp_path)["m"]
    assert (entry.version, entry.path.name, entry.home) == (10, "10", tmp_path / "m")


def test_version_numbers_may_have_leading_zeros(tmp_path: Path) -> None:
    _touch(tmp_path, "m/00000123/saved_model.pb")
    assert _found(tmp_path)["m"].version == 123


def test_a_savedmodel_is_no_folder_of_versions(tmp_path: Path) -> None:
    _touch(tmp_path, "m/saved_model.pb", "m/1/x")
    entry = _found(tmp_path)["m"]
    assert (entry.version, entry.path) == (1, tmp_path / "m")


def test_two_models_of_one_name_fail(tmp_path: Path) -> None:
    _touch(tmp_path, "m.h5", "m/model.h5")
    entry = _found(tmp_path)["m"]
    assert entry.state == "failed"
    assert "two models have this name" in str(entry.reason)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("models", "reserved: /api/models is the list of models"),
        ("status", "reserved: /api/status is"),
        ("with space", "letters, digits"),
        ("ümlaut", "letters, digits"),
    ],
)
def test_names_that_no_address_can_hold_fail(tmp_path: Path, name: str, says: str) -> None:
    _touch(tmp_path, f"{name}.h5")
    entry = _found(tmp_path)[name]
    assert entry.state == "failed"
    assert says in str(entry.reason)


def test_a_missing_folder_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="KERAPORT_MODELS_DIR"):
        discover(tmp_path / "none")


def test_what_is_not_ready_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("no model")
    registry = Registry(tmp_path, Limits())
    registry.load()
    assert registry.loaded
    with pytest.raises(ModelUnavailable, match="not a Keras model"):
        registry.get("m")
    with pytest.raises(ModelNotFound, match="the models are: m"):
        registry.get("n")
    registry.close()


def test_the_end_of_loading_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _touch(tmp_path, "models.h5", "with space.h5")
    registry = Registry(tmp_path, Limits())
    with caplog.at_level("INFO"):
        registry.load()
    assert "0 models ready, 2 failed" in caplog.messages
    registry.close()


def test_an_empty_folder_is_loaded_at_once(tmp_path: Path) -> None:
    registry = Registry(tmp_path, Limits())
    registry.load()
    assert (registry.loaded, registry.entries()) == (True, [])
    registry.close()


def test_stopping_while_loading_ends_the_loading(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"m{i}.h5").write_text("no model")
    registry = Registry(tmp_path, Limits())
    registry.find()
    registry.start()
    registry.stop()
    registry.close()
    assert registry.loaded
