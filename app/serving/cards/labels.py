"""Labels in files beside a model, in the forms that training scripts and tools leave them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from app.errors import CardError
from app.serving.cards.card import LABELS_FILE
from app.serving.cards.problems import one_line

# The first that is there counts. The JSON files hold a list, or `class_indices` of Keras's
# generators: each label with its index, or each index with its label.
LABEL_FILES = (LABELS_FILE, "class_names.txt", "classes.json", "class_indices.json")
# Of Google's Teachable Machine, whose pictures are scaled to -1..1 after a crop from the centre.
TEACHABLE_MACHINE_FILE = "keras_model.h5"
LABEL_MAP = ".pbtxt"
_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_ENTRY = re.compile(r"""(\w+)\s*:\s*(?:(['"])((?:\\.|(?!\2).)*)\2|(\d+))""")
_ESCAPED = re.compile(r"\\(.)")
_MOST_IDS = 100_000
_NUMBERED = re.compile(r"(\d+)(?:\s*[:,;]\s*|\s+)(.*\S)")


def labels_beside(folder: Path) -> list[str] | None:
    """Read the labels beside a model; None where there are none.

    Raises CardError for a file that cannot be read, or is none of labels.
    """
    for name in LABEL_FILES:
        path = folder / name
        if path.is_file():
            return _from_json(path) if path.suffix == ".json" else labels_in(path)
    return None


def label_map_beside(folder: Path) -> list[str] | None:
    """Read the label map of TensorFlow's Object Detection API beside a model; None where there is
    not exactly one. Raises CardError."""
    found = [path for path in sorted(folder.glob(f"*{LABEL_MAP}")) if path.is_file()]
    return labels_in(found[0]) if len(found) == 1 else None


def labels_in(path: Path) -> list[str]:
    """Read a text file of one label a line; indices before them, as in `0 cat`, are left out. Or a
    label map, whose ids begin at 1. Raises CardError."""
    if path.suffix == LABEL_MAP:
        return _from_label_map(path)
    lines = [line.strip() for line in _text(path).split("\n")]
    lines = [line for line in lines if line]
    return _without_numbers(lines) or lines


def is_teachable_machine(folder: Path) -> bool:
    """Tell whether the folder has the files of an export of Teachable Machine. Raises CardError for
    labels that cannot be read."""
    path = folder / LABELS_FILE
    if not (folder / TEACHABLE_MACHINE_FILE).is_file() or not path.is_file():
        return False
    return _without_numbers([x.strip() for x in _text(path).split("\n") if x.strip()]) is not None


def _without_numbers(lines: list[str]) -> list[str] | None:
    """Return the labels of lines that are numbered from 0 without a gap; None for any others, such
    as `0 stars`, `1 star`, `2 stars`."""
    found = [_NUMBERED.fullmatch(line) for line in lines]
    labels = [match[2] for number, match in enumerate(found) if match and int(match[1]) == number]
    return labels if labels and len(set(labels)) == len(lines) else None


def _from_json(path: Path) -> list[str]:
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    labels = _listed(value)
    if labels is None:
        raise CardError(
            f"{path.name}: expected a list of labels, or an object of each label's index from 0 "
            "without a gap"
        )
    return labels


def _from_label_map(path: Path) -> list[str]:
    """Read `item { id: 1 name: '/m/01g317' display_name: 'person' }`, as
    object_detection/protos/string_int_label_map.proto has it. An id that is left out is its own
    label."""
    labels: dict[int, str] = {}
    for item in _ITEM.findall(_text(path)):
        said = {
            key: _ESCAPED.sub(r"\1", quoted) or number
            for key, _, quoted, number in _ENTRY.findall(item)
        }
        label = said.get("display_name") or said.get("name")
        if label and said.get("id", "").isdigit():
            labels[int(said["id"])] = label
    highest = max(labels, default=0)
    if not 0 < highest <= _MOST_IDS:
        raise CardError(
            f"{path.name}: expected a label map, of items with an id from 1 on and a name"
        )
    return [labels.get(i, str(i)) for i in range(1, highest + 1)]


def _listed(value: Any) -> list[str] | None:
    if isinstance(value, dict):
        value = _by_index(value)
    if not isinstance(value, list) or not value or not all(map(_is_label, value)):
        return None
    return [str(label) for label in value]


def _by_index(value: dict[str, Any]) -> list[Any] | None:
    """Return the labels of `{"cat": 0}` or `{"0": "cat"}` in the order of their indices."""
    count = range(len(value))
    numbers = all(isinstance(index, int) for index in value.values())
    if not numbers and {str(i) for i in count} == value.keys():
        return [value[str(i)] for i in count]
    labels = {str(index): label for label, index in value.items()}
    return [labels[str(i)] for i in count] if {str(i) for i in count} == labels.keys() else None


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> CardError:
    return CardError(f"{path.name} cannot be read: {one_line(error)}")
