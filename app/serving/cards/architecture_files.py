"""Files that hold an architecture apart from its weights, found by their names and first bytes."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".json", ".yaml", ".yml")
# Keras writes `class_name` among the first keys, of the model or of its first layer.
_HEAD_BYTES = 4096
_IN_JSON = re.compile(rb'\A\s*"?\{.*"class_name\\?"\s*:', re.DOTALL)
_IN_YAML = re.compile(rb"^class_name:", re.MULTILINE)


def looks_like_one(path: Path) -> bool:
    """Tell whether the file's name and its first bytes are those of an architecture."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return bool((_IN_JSON if suffix == ".json" else _IN_YAML).search(head))


def beside(weights: Path) -> Path | None:
    """Find the architecture with the name of a file of weights: `model.json` of `model.h5` and of
    `model.weights.h5`."""
    stem = stem_of(weights)
    paths = (weights.with_name(f"{stem}{suffix}") for suffix in SUFFIXES)
    return next((path for path in paths if looks_like_one(path)), None)


def stem_of(weights: Path) -> str:
    """The stem of a file of weights, without the suffix that marks it as weights."""
    return re.sub(r"[._-]weights$", "", weights.stem)
