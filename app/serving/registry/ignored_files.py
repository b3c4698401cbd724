"""Finds files that look like models, cards or labels but will be ignored."""

from __future__ import annotations

from pathlib import Path

from app.serving.cards import architecture_files
from app.serving.cards.card import CARD_FILE
from app.serving.cards.labels import LABEL_FILES
from app.serving.reading.model_files import MODEL_SUFFIXES
from app.serving.registry.folder import numbered_folders

_CARD_SUFFIXES = (".yaml", ".yml")
# Models as other libraries write them.
_FOREIGN_SUFFIXES = frozenset(
    {".onnx", ".pb", ".tflite", ".pt", ".pth", ".safetensors", ".pkl", ".joblib", ".zip"}
)


def ignored_files(folder: Path) -> list[str]:
    """Return a warning for each ignored file in the models folder and in those of the models."""
    found = []
    for path in _visible(folder):
        if path.is_dir():
            found += ignored_files_of_model(path)
        elif path.suffix.lower() in _FOREIGN_SUFFIXES:
            read = ", ".join(MODEL_SUFFIXES)
            found.append(f"{path} is not looked at: expected {read} or the folder of a SavedModel")
        elif path.suffix.lower() in _CARD_SUFFIXES and not architecture_files.looks_like_one(path):
            found.append(f"{path} is not looked at: a card goes into its model's own folder")
        elif path.name in LABEL_FILES:
            found.append(f"{path} is not looked at: labels go into their model's own folder")
    return found


def ignored_files_of_model(folder: Path) -> list[str]:
    """Return a warning for each ignored file in the folder of one model."""
    paths = _visible(folder)
    versions = numbered_folders(folder) if paths else []
    has_card = (folder / CARD_FILE).is_file()
    found = []
    for path in paths:
        suffix = path.suffix.lower()
        if path.name == CARD_FILE or path.is_dir() or architecture_files.looks_like_one(path):
            continue
        # Beside a card, other YAML is the author's own business.
        if suffix in _CARD_SUFFIXES and (not has_card or path.stem.lower() == "model"):
            found.append(f"{path} is not looked at: the name of a card is {CARD_FILE}")
        elif suffix in MODEL_SUFFIXES and versions:
            found.append(f"{path} is not looked at: the numbered folders beside it are")
    for version in versions:
        found += ignored_files_of_model(version)
    return found


def _visible(folder: Path) -> list[Path]:
    """List the visible paths in `folder`; empty if it cannot be read, which the model's own error
    reports."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
    except OSError:
        return []
