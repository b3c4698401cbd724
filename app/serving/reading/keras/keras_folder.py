"""Reads unzipped `.keras` files: folders of `save_model(zipped=False)` and of the Hugging Face Hub,
and unpacked archives."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.errors import LoadError
from app.serving.reading.model_files import UNZIPPED_CONFIG, UNZIPPED_WEIGHTS

METADATA = "metadata.json"
ASSETS = "assets"


def read_config(folder: Path) -> tuple[Any, str]:
    """Return the configuration of the model, and the version of Keras that saved it. Raises
    LoadError."""
    config = json.loads((folder / UNZIPPED_CONFIG).read_text(encoding="utf-8"))
    if not isinstance(config, dict) or "class_name" not in config:
        raise LoadError(f"not a Keras model: {UNZIPPED_CONFIG} describes none")
    metadata = folder / METADATA
    found = json.loads(metadata.read_text(encoding="utf-8")) if metadata.is_file() else {}
    return config, str(found.get("keras_version", "") if isinstance(found, dict) else "")


def link_files(folder: Path, scratch: Path) -> Path:
    """Make a folder of links to the files that Keras reads, and no others: Keras decides by the
    files there whether to look for assets. Raises LoadError."""
    target = scratch / "model"
    target.mkdir()
    for name, path in _members(folder):
        link = target / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return target


def write_archive(folder: Path, scratch: Path) -> Path:
    """Write the folder as a `.keras` file, since tf_keras reads no folders. Raises LoadError."""
    target = scratch / "model.keras"
    with zipfile.ZipFile(target, "w") as file:
        for name, path in _members(folder):
            file.write(path, name)
    return target


def _members(folder: Path) -> Iterator[tuple[str, Path]]:
    for name in (UNZIPPED_CONFIG, METADATA, *UNZIPPED_WEIGHTS):
        if (folder / name).is_file():
            yield name, folder / name
    # Assets become vocabularies, which answers may quote: no files from elsewhere on this machine.
    inside = folder.resolve()
    for path in sorted((folder / ASSETS).rglob("*")):
        name = str(path.relative_to(folder))
        if not path.resolve().is_relative_to(inside):
            raise LoadError(f"the asset {name!r} is a link to what is not part of the model")
        if path.is_file():
            yield name, path
