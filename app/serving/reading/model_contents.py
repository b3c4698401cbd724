"""Finds the model among the files of a folder, by their contents.

Training leaves files behind: the best weights, checkpoints, the state of the optimizer. Names alone
do not distinguish these from a model (`app.serving.reading.model_files.find_model`), so they are
opened here, in the process that reads models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import h5py

from app.errors import LoadError
from app.serving.cards import architecture_files
from app.serving.cards.card import CARD_FILE
from app.serving.reading.model_files import (
    HDF5_SUFFIXES,
    SAVED_MODEL,
    UNZIPPED_CONFIG,
    holds_model,
    is_whole,
)

Contents = Literal["model", "weights", "other"]


def choose(source: Path) -> tuple[Path, Path | None]:
    """Find the model that `source` is, or that is in the folder `source`. Returns its path, and the
    file with its architecture if it has only weights. Raises LoadError."""
    if not source.is_dir():
        return source.parent if source.name == UNZIPPED_CONFIG else source, None
    if (source / SAVED_MODEL).is_file():
        return source, None
    paths = sorted(p for p in source.iterdir() if not p.name.startswith("."))
    kinds = {p: contents_of(p) for p in paths if p.suffix.lower() in HDF5_SUFFIXES and p.is_file()}
    whole = [p for p in paths if is_whole(p) or kinds.get(p) == "model"]
    if holds_model(source):
        whole.append(source / UNZIPPED_CONFIG)
    if len(whole) == 1:
        return choose(whole[0])
    if whole:
        raise LoadError(_several("models", whole))
    weights = [p for p in paths if kinds.get(p) == "weights"]
    designs = [p for p in paths if architecture_files.looks_like_one(p)]
    if designs and weights:
        return _pair(designs, weights)
    # Reading a file that is no model gives the most precise error.
    candidates = weights or list(kinds)
    if len(candidates) == 1:
        return candidates[0], None
    if not candidates:
        raise LoadError("no model in this folder")
    raise LoadError(
        f"{_listed(candidates)} hold weights alone, none of them an architecture: add the "
        "model.json that model.to_json() gives, or save the whole model with "
        "model.save('model.keras')"
    )


def _pair(designs: list[Path], weights: list[Path]) -> tuple[Path, Path]:
    """Return the weights of the model, and their architecture."""
    named = [(w, d) for w in weights if (d := architecture_files.beside(w)) is not None]
    if len(named) == 1:
        return named[0]
    if len(weights) > 1:
        raise LoadError(_several("files with weights", [w for w, _ in named] or weights))
    if len(designs) > 1:
        raise LoadError(
            f"several architectures ({_listed(designs)}): give the one of {weights[0].name} the "
            f"name {architecture_files.stem_of(weights[0])}{designs[0].suffix}"
        )
    return weights[0], designs[0]


def contents_of(path: Path) -> Contents:
    """Return the contents of an HDF5 file: a whole model, weights alone, or anything else."""
    try:
        with h5py.File(path, "r") as file:
            if "model_config" in file.attrs:
                return "model"
            return "weights" if holds_weights(file) else "other"
    except Exception:  # h5py raises several kinds for damaged files
        return "other"


def holds_weights(file: Any) -> bool:
    """Tell whether the HDF5 file holds the weights of a model: Keras 1 and 2 list the names of its
    layers, later versions have a group for each."""
    if "layer_names" in file.attrs:
        return True
    return any(name.startswith(("layers", "_layer_checkpoint_dependencies")) for name in file)


def _several(what: str, paths: list[Path]) -> str:
    return f"several {what} ({_listed(paths)}): name one with 'file:' in {CARD_FILE}"


def _listed(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths)
