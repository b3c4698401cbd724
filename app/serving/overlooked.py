"""Files that were meant to be served, by their looks, and are not looked at."""

from __future__ import annotations

from pathlib import Path

from app.serving.card import CARD_FILE, MODEL_SUFFIXES
from app.serving.discovery import numbered_folders

_CARD_SUFFIXES = (".yaml", ".yml")
# Models as other libraries write them.
_FOREIGN_SUFFIXES = frozenset(
    {".onnx", ".pb", ".tflite", ".pt", ".pth", ".safetensors", ".pkl", ".joblib", ".zip"}
)


def overlooked(folder: Path) -> list[str]:
    """One line for each such file in the folder of models and in those of the models."""
    found = []
    for path in _visible(folder):
        if path.is_dir():
            found += overlooked_of_model(path)
        elif path.suffix.lower() in _FOREIGN_SUFFIXES:
            read = ", ".join(MODEL_SUFFIXES)
            found.append(f"{path} is not looked at: expected {read} or the folder of a SavedModel")
        elif path.suffix.lower() in _CARD_SUFFIXES:
            found.append(f"{path} is not looked at: a card goes into its model's own folder")
    return found


def overlooked_of_model(folder: Path) -> list[str]:
    """One line for each such file in the folder of one model."""
    paths = _visible(folder)
    versions = numbered_folders(folder) if paths else []
    has_card = (folder / CARD_FILE).is_file()
    found = []
    for path in paths:
        suffix = path.suffix.lower()
        if path.name == CARD_FILE or path.is_dir():
            continue
        # Beside a card, other YAML is the author's own business.
        if suffix in _CARD_SUFFIXES and (not has_card or path.stem.lower() == "model"):
            found.append(f"{path} is not looked at: the name of a card is {CARD_FILE}")
        elif suffix in MODEL_SUFFIXES and versions:
            found.append(f"{path} is not looked at: the numbered folders beside it are")
    for version in versions:
        found += overlooked_of_model(version)
    return found


def _visible(folder: Path) -> list[Path]:
    """None where the folder cannot be read, which its model has for a reason to fail."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
    except OSError:
        return []
