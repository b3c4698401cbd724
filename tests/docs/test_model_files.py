"""Each kind of folder that docs/models.md lists is read as it says."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest

from app.errors import LoadError
from app.serving.reading.convert import convert
from app.serving.reading.model_files import find_model
from tests.models.fixtures import assert_as_expected, fixture
from tests.support import ROOT

# By the first words of the row: models in `tests/data` of that kind.
READ = {
    "`config.json`, `metadata.json`": ["keras3_unzipped", "keras3_unzipped_text"],
    "a `.keras` file that was unpacked": ["tf215_zip", "keras3_lookup"],
    "`model.json` beside": [
        "keras1_json",
        "keras2_json",
        "tf213_json",
        "tf215_json",
        "keras3_json",
    ],
    "`model.yaml` of Keras 1 or 2": ["keras1_yaml", "keras2_yaml"],
    "`best.weights.h5`, checkpoints": ["keras3_leftovers"],
    "a `.keras` file that Keras 2 saved on Windows": ["tf213_windows", "tf215_windows"],
    "a functional or `Sequential` model": [
        "keras3_train_step",
        "keras3_train_step_inside",
        "tf213_train_step_h5",
        "tf213_train_step_keras",
        "tf215_train_step_h5",
        "tf215_train_step_keras",
    ],
    "a `Sequential` of nothing but": ["keras3_only_text"],
    "activations that TensorFlow renames": [
        "keras3_log_softmax",
        "tf213_log_softmax_h5",
        "tf213_log_softmax_keras",
        "tf215_log_softmax_h5",
        "tf215_log_softmax_keras",
    ],
    "AutoKeras's": ["autokeras"],
}
# What is refused, what the reason says, and a model that follows the advice.
REFUSED = {
    "a `TFSMLayer`": ("keras3_tfsm", "copy that folder", "tf2_savedmodel_keras2"),
    "an `STFTSpectrogram`": ("keras3_stft", r"model\.export\(\)", "keras3_stft_exported"),
}


def rows() -> list[str]:
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    section = text.split("### Folders that hold a model in parts")[1].split("\n\n")[1]
    return re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[2:]


def test_every_row_has_a_model() -> None:
    kinds = [*READ, *REFUSED]
    assert [[k for k in kinds if row.startswith(k)] for row in rows()] == [[k] for k in kinds]


def _in_a_folder(name: str, tmp_path: Path) -> Path:
    """The model as it lies in a folder of its own."""
    source, folder = fixture(name), tmp_path / "model"
    if source.is_dir():
        shutil.copytree(source, folder)
    else:
        folder.mkdir()
        shutil.copy(source, folder)
    (tmp_path / "out").mkdir()
    return folder


@pytest.mark.parametrize(
    ("row", "name"), [(row, name) for row, names in READ.items() for name in names]
)
def test_a_row_is_read_as_it_says(row: str, name: str, tmp_path: Path) -> None:
    folder = _in_a_folder(name, tmp_path)
    if "unpacked" in row:
        file = next(folder.iterdir())
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
        file.unlink()
    source = find_model(folder, None)
    assert_as_expected(name, convert(source, tmp_path / "out", trusted=False))


@pytest.mark.parametrize("row", REFUSED)
def test_a_row_is_refused_and_its_advice_helps(row: str, tmp_path: Path) -> None:
    name, reason, instead = REFUSED[row]
    folder = _in_a_folder(name, tmp_path)
    with pytest.raises(LoadError, match=reason):
        convert(find_model(folder, None), tmp_path / "out", trusted=False)
    (tmp_path / "instead").mkdir()
    found = convert(find_model(fixture(instead), None), tmp_path / "instead", trusted=False)
    assert_as_expected(instead, found)
