"""Recognises model files by their names."""

from __future__ import annotations

from pathlib import Path

from app.errors import CardError
from app.serving.cards import architecture_files
from app.serving.cards.card import CARD_FILE, Card, is_inside

HDF5_SUFFIXES = (".h5", ".hdf5")
MODEL_SUFFIXES = (".keras", *HDF5_SUFFIXES)
# Folders that are models: a SavedModel, or the unzipped `.keras` file that
# `save_model(zipped=False)` writes and the Hugging Face Hub has.
SAVED_MODEL = "saved_model.pb"
UNZIPPED_CONFIG = "config.json"
UNZIPPED_WEIGHTS = ("model.weights.h5", "model.weights.npz")


def holds_model(folder: Path) -> bool:
    """Tell whether the folder itself is a model."""
    if (folder / SAVED_MODEL).is_file():
        return True
    weights = any((folder / name).is_file() for name in UNZIPPED_WEIGHTS)
    return weights and architecture_files.looks_like_one(folder / UNZIPPED_CONFIG)


def is_whole(path: Path) -> bool:
    """Tell whether the path is certainly a whole model, without opening HDF5 files."""
    return holds_model(path) if path.is_dir() else path.suffix.lower() == ".keras"


def find_model(folder: Path, card: Card | None) -> Path:
    """Return the model in `folder`: a file, a folder that is a model, or `folder` itself if only
    the contents of its files tell which of them is the model. Raises CardError."""
    if card is not None and card.file is not None:
        path = folder / card.file
        if not is_inside(card.file):
            raise CardError(f"{CARD_FILE}: file: {card.file!r} is outside this folder")
        if not path.exists():
            raise CardError(f"{CARD_FILE}: file: there is no {card.file!r} in this folder")
        parts = (UNZIPPED_CONFIG, *UNZIPPED_WEIGHTS)
        unzipped = path.name in parts and holds_model(path.parent)
        return path.with_name(UNZIPPED_CONFIG) if unzipped else path
    if (folder / SAVED_MODEL).is_file():
        return folder
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    whole = [p for p in entries if is_whole(p)]
    if holds_model(folder):
        whole.append(folder / UNZIPPED_CONFIG)
    # The process that reads them finds out whether these are models or only weights.
    hdf5 = [p for p in entries if p.is_file() and p.suffix.lower() in HDF5_SUFFIXES]
    if len(whole) > 1:
        names = ", ".join(sorted(p.name for p in whole + hdf5))
        raise CardError(f"several models ({names}): name one with 'file:' in {CARD_FILE}")
    if whole and whole[0].name == UNZIPPED_CONFIG:
        return folder
    found = whole + hdf5
    if not found:
        held = ", ".join(p.name for p in entries[:10]) or "nothing"
        raise CardError(
            "no model in this folder: expected one .keras, .h5 or .hdf5 file or a SavedModel "
            f"directory, found {held}"
        )
    apart = not whole and any(map(architecture_files.looks_like_one, entries))
    return folder if len(found) > 1 or apart else found[0]
